"""Normal operation, normalized: what the network learns from and what is kept from it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_lstm.errors import ConfigError
from edge_lstm.fit.calibrate import CLIP, Floats
from edge_lstm.fit.recordings import Sequence

Forecast = Callable[[Floats], Floats]

SCALE_FLOOR = 0.01  # of a channel's level: smaller movements are rounding


@dataclass(frozen=True)
class Normal:
    """Normalized sequences.

    Attributes:
        z: each (n, C), in scales, clipped to +-20.
        held: of each sequence, the first sample that the weights may not see.
        mean: (C,) data units.
        scale: (C,) data units, > 0.
        constant: (C,) channels that never change in the rows for the weights.
        still: (C,) channels that are constant or whose scale is the floor: 1 % of the level.
    """

    sequences: list[Sequence]
    z: list[Floats]
    held: list[int]
    mean: Floats
    scale: Floats
    constant: NDArray[np.bool_]
    still: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """Samples in all."""
        return sum(map(len, self.z))

    @property
    def period_s(self) -> float:
        """Median time between samples, seconds."""
        return float(np.median(np.concatenate([np.diff(sequence.t) for sequence in self.sequences])))

    def held_back_error(self, forecast: Forecast) -> float:
        """Return the mean squared error of forecasts of held-back samples, over the channels that change."""
        return float(np.mean(np.concatenate(self.held_back_errors(forecast))))

    def held_back_errors(self, forecast: Forecast) -> list[Floats]:
        """Return the squared errors of each sequence's held-back samples."""
        return self._errors(forecast, [slice(held - 1, None) for held in self.held])

    def seen_error(self, forecast: Forecast) -> float:
        """Return the same for the samples that the weights saw."""
        return float(np.mean(np.concatenate(self._errors(forecast, [slice(held - 1) for held in self.held]))))

    def _errors(self, forecast: Forecast, parts: list[slice]) -> list[Floats]:
        changing = ~self.constant
        return [np.square(z[1:] - forecast(z)[:-1])[part][:, changing] for z, part in zip(self.z, parts, strict=True)]


def normalize(sequences: list[Sequence], held_back: float) -> Normal:
    """Scale channels by mean and standard deviation over all normal rows, the latter at least 1 % of the level.

    A channel that is constantly zero has no level to tell small movements by; it counts as one of 1, so that the
    smallest step of a flag or a counter leaves its range.
    """
    held = [len(sequence.x) - max(1, round(held_back * len(sequence.x))) for sequence in sequences]
    seen = np.concatenate([sequence.x[:end] for sequence, end in zip(sequences, held, strict=True)])
    rows = np.concatenate([sequence.x for sequence in sequences])
    constant = seen.max(0) == seen.min(0)
    mean = np.where(constant, seen[0], rows.mean(0))
    deviation, floor = rows.std(0), SCALE_FLOOR * np.abs(mean)
    scale = np.where(constant & (floor == 0.0), SCALE_FLOOR, np.maximum(deviation, floor))
    z = [np.clip((sequence.x - mean) / scale, -CLIP, CLIP) for sequence in sequences]
    for part in z:
        part[:, constant] = 0.0
    return Normal(list(sequences), z, held, mean, scale, constant, constant | (deviation < floor))


def check_periods(normal: Normal) -> None:
    """Raise ConfigError where one sequence is sampled much faster or slower than the others."""
    for sequence in normal.sequences:
        period_s = float(np.median(np.diff(sequence.t)))
        if not 0.5 <= period_s / normal.period_s <= 2.0:
            message = (
                f"{sequence.source}: a sample every {period_s:g} s, but every {normal.period_s:g} s in the other "
                "recordings; one bundle serves one sampling period"
            )
            raise ConfigError(message)
