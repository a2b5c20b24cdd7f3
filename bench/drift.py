"""A bundle and its float64 network side by side over a million steps, their state never reset."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.floats import Fitted, Stream
from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import Engine

STEPS, WINDOW = 1_000_000, 10_000
NOISE = 0.1  # scales
Floats = NDArray[np.float64]


def errors(fitted: Fitted, bundle: Bundle, steps: int, noise: float) -> tuple[Floats, Floats]:
    """Return mean square and largest forecast difference of each step, in scales, over channels that change.

    The normal rows are repeated as often as it takes. What is fed the same again and again may settle, so noise, in
    scales, can make every turn another.
    """
    normal = fitted.normal
    x = np.concatenate([sequence.x for sequence in normal.sequences])
    engine, stream = Engine(bundle.weights, 1), Stream(fitted.model)
    channels, changing = len(normal.mean), ~normal.constant
    square, largest, rng = np.empty(steps), np.empty(steps), np.random.default_rng(0)
    for start in range(0, steps, WINDOW):
        k = np.arange(start, min(steps, start + WINDOW))
        block = x[k % len(x)] + noise * normal.scale * changing * rng.standard_normal((len(k), channels))
        results = engine.advance(np.zeros(len(k), np.int64), k * (normal.period_s or 1.0), block)
        ours = (results.forecast[..., 0] - normal.mean) / normal.scale
        apart = (ours - stream.advance(fitted.inputs(block))[:, :channels])[:, changing]
        square[k], largest[k] = np.square(apart).mean(1), np.abs(apart).max(1)
    return square, largest


def drift(fitted: Fitted, bundle: Bundle, steps: int, noise: float = 0.0) -> dict[str, Any]:
    """Return what becomes of the difference, in windows and in turns of the recording."""
    square, largest = errors(fitted, bundle, steps, noise)
    turn = fitted.normal.rows
    turns = square[: steps // turn * turn].reshape(-1, turn)
    rms = np.sqrt(square.reshape(-1, WINDOW).mean(1))
    tops = largest.reshape(-1, WINDOW).max(1)
    return {
        "steps": steps,
        "window": WINDOW,
        "noise": noise,
        "rms": rms.round(7).tolist(),
        "largest": tops.round(6).tolist(),
        "rows_of_the_recording": turn,
        "rms_of_first_turn": float(np.sqrt(turns[0].mean())),
        "rms_of_second_turn": float(np.sqrt(turns[1].mean())),
        "rms_of_last_turn": float(np.sqrt(turns[-1].mean())),
    }
