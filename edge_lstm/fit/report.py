"""What came of a fit: errors, the cost of quantization, and what a person should look at."""

from typing import NamedTuple

import numpy as np

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import Engine
from edge_lstm.fit.calibrate import Floats, calibrate, residuals
from edge_lstm.fit.normal import SCALE_FLOOR, Forecast, Normal
from edge_lstm.fit.recordings import Sequence

UNLIKE = 4.0  # usual deviations between the levels of two recordings of one configuration, at most
WORSE = 4.0  # held-back squared error over that of the rows before, at most
FEW = 400  # held-back rows


class Replay(NamedTuple):
    """What the engine said to one sequence.

    Attributes:
        forecast: (n, C, 2) location and spread for the next sample, data units.
    """

    forecast: Floats
    surprise: Floats
    score: Floats


class FitReport(NamedTuple):
    """What came of a fit.

    Attributes:
        rows: normal rows used; ``held_back`` of them were kept from the weights.
        constant: channels that never change and take no part.
        errors: held-back squared error of each weight decay tried, in squared scales.
        seen_error: squared error of the bundle on the rows that the weights saw.
        held_back_error: and on those they did not.
        persistence_error: held-back squared error of "the next sample is like this one".
        forecast_difference: largest difference between the float network's forecasts and the bundle's, in scales.
        forecast_difference_rms: its root mean square.
        surprise_difference: largest difference between the surprise of the float network under a calibration of its
            own and the bundle's, on held-back rows.
        warnings: what a person should look at.
        dropped: rows of the files that were left out.
    """

    sequences: int
    rows: int
    held_back: int
    constant: tuple[str, ...]
    errors: dict[float, float]
    seen_error: float
    held_back_error: float
    persistence_error: float
    forecast_difference: float
    forecast_difference_rms: float
    surprise_difference: float
    warnings: tuple[str, ...]
    dropped: int = 0


def replay(bundle: Bundle, sequence: Sequence) -> Replay:
    """Run one sequence through a fresh row of the engine."""
    x = np.ascontiguousarray(sequence.x)
    results = Engine(bundle.weights, 1).advance(np.zeros(len(x), np.int64), sequence.t, x)
    return Replay(results.forecast.copy(), results.surprise.copy(), results.score.copy())


def report(bundle: Bundle, normal: Normal, float_forecast: Forecast, errors: dict[float, float]) -> FitReport:
    """Compare the finished bundle with the network it was made from, and the sequences with each other."""
    replays = [replay(bundle, sequence) for sequence in normal.sequences]
    located = {id(z): (r.forecast[..., 0] - normal.mean) / normal.scale for z, r in zip(normal.z, replays, strict=True)}
    difference = np.concatenate([(located[id(z)] - float_forecast(z))[:, ~normal.constant] for z in normal.z])
    held = normal.held
    float_residuals = [residuals(z, float_forecast(z), h) for z, h in zip(normal.z, held, strict=True)]
    float_judge = calibrate(float_residuals, normal.constant, bundle.metadata.tau_b, bundle.metadata.tau_c)
    surprise = [
        np.abs(r.surprise[h:] - float_judge.surprise(e)[h - 1 :]).max()
        for r, (e, _), h in zip(replays, float_residuals, held, strict=True)
    ]
    seen, unseen = normal.seen_error(lambda z: located[id(z)]), normal.held_back_errors(lambda z: located[id(z)])
    return FitReport(
        sequences=len(normal.z),
        rows=normal.rows,
        held_back=normal.rows - sum(held),
        constant=tuple(
            name for name, constant in zip(bundle.metadata.channel_names, normal.constant, strict=True) if constant
        ),
        errors=errors,
        seen_error=seen,
        held_back_error=float(np.mean(np.concatenate(unseen))),
        persistence_error=normal.held_back_error(lambda z: z),
        forecast_difference=float(np.abs(difference).max()),
        forecast_difference_rms=float(np.sqrt(np.square(difference).mean())),
        surprise_difference=float(max(surprise)),
        warnings=tuple(_warnings(normal, seen, unseen)),
    )


def _warnings(normal: Normal, seen: float, unseen: list[Floats]) -> list[str]:
    """Say where normal rows disagree with each other, or are too few."""
    found = [
        f"{source}: most channels are on another level than in the other recordings; "
        "one bundle serves one system in one configuration"
        for source in _unlike(normal)
    ]
    total = float(np.mean(np.concatenate(unseen)))
    if total > WORSE * seen:
        found.append(
            f"held-back rows are forecast {total / seen:.1f} times worse than the rows before them: "
            "normal operation changes over the recordings, or there is too little of it"
        )
    rows = sum(map(len, unseen))
    if rows < FEW:
        found.append(f"only {rows} held-back rows to calibrate the score on; {FEW} or more are better")
    return found


def _unlike(normal: Normal) -> list[str]:
    """Return the sources whose mean is far from the others' in half of the channels or more.

    Far is in units of what a channel usually moves within a recording.
    """
    changing = ~normal.constant
    mean = np.array([sequence.x.mean(0) for sequence in normal.sequences])[:, changing]
    within = np.median([sequence.x.std(0) for sequence in normal.sequences], axis=0)[changing]
    usual = np.maximum(within, SCALE_FLOOR * np.abs(normal.mean[changing]))
    distance = np.abs(mean - np.median(mean, axis=0)) / np.maximum(usual, 1e-300)
    far = np.median(distance, axis=1) > UNLIKE
    return sorted({sequence.source for sequence, odd in zip(normal.sequences, far, strict=True) if odd})
