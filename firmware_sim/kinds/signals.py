"""Building blocks of physics: slow wandering, operating programs, the hours of a day."""

from collections.abc import Sequence
from math import exp, sqrt
from random import Random

DAY_S = 86_400.0
_LANDING = 0.35  # share of the remaining gap closed in one step


class Wander:
    """Slow random variation around zero (an Ornstein-Uhlenbeck process)."""

    __slots__ = ("_gauss", "_keep", "_kick", "value")

    def __init__(self, rng: Random, sd: float, tau: float) -> None:
        """Start somewhere typical.

        Args:
            rng: shared with the rest of the device.
            sd: long-run standard deviation.
            tau: correlation time in steps.
        """
        self._gauss = rng.gauss
        self._keep = exp(-1.0 / tau)
        self._kick = sd * sqrt(1.0 - self._keep**2)
        self.value = rng.gauss(0.0, sd)

    def step(self) -> float:
        """Advance one step and return the new value."""
        self.value = self._keep * self.value + self._gauss(0.0, self._kick)
        return self.value


class Program:
    """Setpoints held in turn, for ever, each reached at a limited rate and with a soft landing.

    With no ``slew`` it is a switch: each setpoint is reached at once.

    Hold times and levels vary a little from one round to the next, as they do under human hands.
    """

    __slots__ = (
        "_holds",
        "_index",
        "_left",
        "_levels",
        "_rng",
        "_slew",
        "_spread",
        "_target",
        "value",
    )

    def __init__(
        self,
        rng: Random,
        stages: Sequence[tuple[float, float]],
        slew: float | None = None,
        spread: float = 0.03,
    ) -> None:
        """Start at a random stage.

        Args:
            rng: shared with the rest of the device.
            stages: (level, hold time in steps).
            slew: largest change of the level in one step; None: no limit.
            spread: relative variation of levels and hold times.
        """
        pace = rng.uniform(0.9, 1.1)
        self._rng = rng
        self._levels = [level for level, _ in stages]
        self._holds = [hold * pace for _, hold in stages]
        self._slew = slew
        self._spread = spread
        self._index = rng.randrange(len(stages))
        self._target = self.value = self._levels[self._index]
        self._left = rng.random() * self._holds[self._index]

    def step(self) -> float:
        """Advance one step and return the new level."""
        self._left -= 1.0
        if self._left <= 0.0:
            self._next_stage()
        if self._slew is None:
            self.value = self._target
        else:
            gap = _LANDING * (self._target - self.value)
            self.value += min(self._slew, max(-self._slew, gap))
        return self.value

    def _next_stage(self) -> None:
        self._index = (self._index + 1) % len(self._levels)
        varied = self._rng.gauss(1.0, self._spread)
        self._target = self._levels[self._index] * varied
        self._left += self._holds[self._index] * self._rng.gauss(1.0, self._spread)


def between(hour: float, start: float, end: float) -> bool:
    """Say whether ``hour`` lies in [start, end), over midnight if end < start."""
    return start <= hour < end if start <= end else hour >= start or hour < end
