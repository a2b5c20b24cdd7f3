"""Two bundles over a recording that is repeated: whether they drift apart, and how long a sample takes."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import SCORED

Floats = NDArray[np.float64]
BLOCK = 10_000


@dataclass(frozen=True)
class LongRun:
    """What a long run of both gave.

    Attributes:
        steps: samples.
        rms: (blocks,) root mean square difference of the forecasts, of each ``BLOCK`` samples, in standard deviations
            of the recording; empty where there are no forecasts.
        us: microseconds a sample of A, of B: the median block's.
    """

    steps: int
    rms: Floats
    us: tuple[float, float]


def long_run(a: Bundle, b: Bundle, x: Floats, steps: int, period_s: float = 1.0) -> LongRun:
    """Run both on the rows x (n, C), finite, repeated without a gap until there were ``steps`` samples."""
    deviation = np.where(x.std(0) > 0.0, x.std(0), 1.0)
    engines = [Engine(bundle.weights, 1) for bundle in (a, b)]
    rows = np.zeros(BLOCK, np.int64)
    rms, seconds = [], []
    for start in range(0, steps, BLOCK):
        n = min(BLOCK, steps - start)
        at = np.arange(start, start + n)
        block = np.ascontiguousarray(x[at % len(x)])
        forecasts, took = [], []
        for engine in engines:
            begun = time.perf_counter()
            results = engine.advance(rows[:n], np.asarray(at * period_s, np.float64), block)
            took.append((time.perf_counter() - begun) / n)
            forecasts.append((results.forecast.copy(), results.outcome == SCORED))
        seconds.append(took)
        (ours, taken), (theirs, _) = forecasts
        if a.metadata.horizon != b.metadata.horizon:
            continue  # what they say is of other samples
        known = taken[:, None] & (ours[..., 1] > 0.0) & (theirs[..., 1] > 0.0)
        if known.any():
            rms.append(float(np.sqrt(np.square((ours - theirs)[..., 0] / deviation)[known].mean())))
    us = 1e6 * np.median(np.array(seconds), axis=0)
    return LongRun(steps, np.array(rms), (float(us[0]), float(us[1])))
