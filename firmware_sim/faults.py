"""Faults: what goes wrong, when, and what it does to a reading.

Times are seconds of device time since the first sample; a fault covers [start_s, start_s +
duration_s). Magnitudes count in units of ``Channel.typical`` (for ``noise`` the standard deviation
of what is added), but for ``wear``: 0 is new, 1 is due for replacement. Randomness of faults is
apart from that of physics, so a fault changes what it says and only that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, get_args

from firmware_sim.kinds import Channel

FaultKind = Literal["spike", "drift", "stuck", "dropout", "level_shift", "wear", "noise"]
FAULT_KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)

DEFAULT_MAGNITUDE: Final[dict[FaultKind, float]] = {
    "spike": 8.0,
    "drift": 6.0,
    "stuck": 0.0,
    "dropout": 0.0,
    "level_shift": 5.0,
    "wear": 1.0,
    "noise": 1.0,
}
_WORST_WEAR = 1.5  # beyond, a pump would deliver nothing
_WEAR_ON_CHANNEL = 6.0  # typicals at wear 1, where physics has no wear model


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one device; ``dropout`` silences the device and has no channel."""

    kind: FaultKind
    channel: str | None
    start_s: float
    duration_s: float
    magnitude: float

    def __post_init__(self) -> None:
        """Refuse what can't be simulated.

        Raises:
            ValueError: unknown kind, a channel missing or too many, no duration, or too much wear.
        """
        if self.kind not in FAULT_KINDS:
            raise ValueError(f"fault {self.kind!r}, expected one of: {', '.join(FAULT_KINDS)}")
        if (self.channel is None) != (self.kind == "dropout"):
            raise ValueError(f"{self.kind} with channel {self.channel!r}")
        if self.kind == "wear" and not 0.0 < self.magnitude <= _WORST_WEAR:
            raise ValueError(f"wear of {self.magnitude}, expected above 0, at most {_WORST_WEAR}")
        if self.start_s < 0.0 or self.duration_s <= 0.0:
            raise ValueError(f"{self.kind} at {self.start_s} s for {self.duration_s} s")

    @property
    def end_s(self) -> float:
        """The first moment after the fault."""
        return self.start_s + self.duration_s

    def progress(self, elapsed_s: float) -> float:
        """Return how far the fault has come: 0 at its start, 1 at its end."""
        return (elapsed_s - self.start_s) / self.duration_s


Disturb = Callable[[float, Fault, Channel, float, Random], float]


def _constant(value: float, fault: Fault, channel: Channel, progress: float, rng: Random) -> float:
    return value + fault.magnitude * channel.typical


def _drift(value: float, fault: Fault, channel: Channel, progress: float, rng: Random) -> float:
    return value + fault.magnitude * channel.typical * progress


def _noise(value: float, fault: Fault, channel: Channel, progress: float, rng: Random) -> float:
    return value + rng.gauss(0.0, fault.magnitude * channel.typical)


def _wear(value: float, fault: Fault, channel: Channel, progress: float, rng: Random) -> float:
    return value + _WEAR_ON_CHANNEL * fault.magnitude * channel.typical * progress * progress


# Faults that add to one channel. Stuck and dropout need the device's memory and live there.
DISTURB: Final[dict[FaultKind, Disturb]] = {
    "spike": _constant,
    "level_shift": _constant,
    "drift": _drift,
    "noise": _noise,
    "wear": _wear,
}
