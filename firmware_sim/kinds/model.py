"""The nouns of a device kind: what it measures, and the physics behind it.

Physics advances by one natural period a step and never reads a clock. It returns what an ideal
converter would see, sensor noise included; rounding to the sensor's resolution and faults belong
to ``firmware_sim.device``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol


class Physics(Protocol):
    """One physical thing with sensors on it."""

    wear: float  # 0 new, 1 due for replacement; kinds without a wear model ignore it

    def step(self) -> tuple[float, ...]:
        """Advance by one natural period; return one value per channel."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """One measured quantity."""

    name: str  # ends in its unit
    resolution: float  # smallest step the sensor reports
    typical: float  # what one unit of fault magnitude is worth; README, "Faults"
    low: float  # the sensor's range; no reading is ever outside it
    high: float
    bipolar: bool = False  # faults may push it down as well as up


@dataclass(frozen=True, slots=True)
class Kind:
    """A device kind: its channels and how to build its physics."""

    name: str
    period_s: float  # natural sample period
    channels: tuple[Channel, ...]
    build: Callable[[Random, float], Physics]  # (rng, seconds since midnight at the first sample)
    wear_channel: str | None = None  # where wear shows first; None: no wear model

    def channel_index(self, name: str) -> int:
        """Return the position of the channel ``name``.

        Raises:
            ValueError: no such channel.
        """
        for index, channel in enumerate(self.channels):
            if channel.name == name:
                return index
        known = ", ".join(channel.name for channel in self.channels)
        raise ValueError(f"{self.name} has no channel {name!r}, expected one of: {known}")
