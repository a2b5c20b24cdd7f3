"""Who gets which fault, and when: drawn at random, reproducible from the seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from random import Random
from typing import Final, Literal

from firmware_sim.faults import DEFAULT_MAGNITUDE, FAULT_KINDS, Fault, FaultKind
from firmware_sim.kinds import Kind

PlanMode = Literal["none", "one-each", "random"]

_SPIKE_SAMPLES = (1, 3)
_FAULT_SAMPLES = (60, 120)
_DROPOUT_WALL_S = (10.0, 15.0)  # silence is judged by the wall clock
_RANDOM_GAP_SAMPLES = 1_000  # mean time between random faults of a device
_RANDOM_LIMIT = 1_000  # faults of one device; they are planned before the run
_ENDLESS_WALL_S = 86_400.0  # random faults of a run without an end are planned for a day


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which faults a run shall have; times are wall seconds after the run's start."""

    mode: PlanMode = "none"
    kinds: Sequence[FaultKind] = FAULT_KINDS
    after_s: float = 0.0
    before_s: float = _ENDLESS_WALL_S  # faults begin before
    end_s: float = _ENDLESS_WALL_S  # faults end before, where they can

    def faults(self, kind: Kind, number: int, speed: float, rng: Random) -> list[Fault]:
        """Return the faults of the fleet's ``number``-th device.

        Args:
            kind: of the device.
            number: counts all devices of the run; fault kinds are dealt out in turn.
            speed: device seconds per wall second.
            rng: decides the rest.
        """
        if self.mode == "none":
            return []
        if self.mode == "random":
            return list(islice(self._at_random(kind, speed, rng), _RANDOM_LIMIT))
        chosen = self.kinds[number % len(self.kinds)]
        duration_s = draw_duration_s(chosen, kind, speed, rng)
        latest_s = min(self.before_s, self.end_s - duration_s / speed)
        start_s = rng.uniform(self.after_s, max(self.after_s, latest_s)) * speed
        return [draw_fault(chosen, kind, start_s, duration_s, rng)]

    def _at_random(self, kind: Kind, speed: float, rng: Random) -> Iterator[Fault]:
        start_s = self.after_s * speed
        mean_gap_s = _RANDOM_GAP_SAMPLES * kind.period_s
        while (start_s := start_s + rng.expovariate(1.0 / mean_gap_s)) < self.before_s * speed:
            chosen = rng.choice(self.kinds)
            duration_s = draw_duration_s(chosen, kind, speed, rng)
            yield draw_fault(chosen, kind, start_s, duration_s, rng)
            start_s += duration_s


def draw_duration_s(fault: FaultKind, kind: Kind, speed: float, rng: Random) -> float:
    """Return a duration that suits the fault, in device seconds: a whole number of samples."""
    samples = float(rng.randint(*(_SPIKE_SAMPLES if fault == "spike" else _FAULT_SAMPLES)))
    if fault == "dropout":
        samples = max(3, ceil(rng.uniform(*_DROPOUT_WALL_S) * speed / kind.period_s))
    return samples * kind.period_s


def draw_fault(fault: FaultKind, kind: Kind, start_s: float, duration_s: float, rng: Random) -> Fault:
    """Return a fault of default magnitude on a channel that suits it, starting on a sample."""
    channel = rng.choice(kind.channels)
    if fault == "wear" and kind.wear_channel is not None:
        channel = kind.channels[kind.channel_index(kind.wear_channel)]
    up = not channel.bipolar or fault not in _SIGNED or rng.random() < 0.5
    return Fault(
        kind=fault,
        channel=None if fault == "dropout" else channel.name,
        start_s=ceil(start_s / kind.period_s) * kind.period_s,
        duration_s=duration_s,
        magnitude=DEFAULT_MAGNITUDE[fault] * (1.0 if up else -1.0),
    )


_SIGNED: Final = ("spike", "drift", "level_shift")


def parse_fault(text: str, kind: Kind, start_s: float, rng: Random) -> Fault:
    """Read ``KIND[:CHANNEL[:START_S[:DURATION_S[:MAGNITUDE]]]]``; what is left out is drawn.

    Args:
        text: as typed.
        kind: of the device that gets it.
        start_s: used if the text has none, in device seconds.
        rng: draws.

    Raises:
        ValueError: no such kind, no such channel, or a number that is none.
    """
    name, channel, start, duration, magnitude = (text.split(":") + [""] * 4)[:5]
    chosen = fault_kind(name)
    drawn = draw_fault(
        chosen,
        kind,
        float(start or start_s),
        float(duration or draw_duration_s(chosen, kind, 1.0, rng)),
        rng,
    )
    return Fault(
        kind=chosen,
        channel=channel or drawn.channel,
        start_s=drawn.start_s,
        duration_s=drawn.duration_s,
        magnitude=float(magnitude or drawn.magnitude),
    )


def fault_kind(name: str) -> FaultKind:
    """Return ``name`` if it is a fault.

    Raises:
        ValueError: it is not.
    """
    for known in FAULT_KINDS:
        if name == known:
            return known
    raise ValueError(f"fault {name!r}, expected one of: {', '.join(FAULT_KINDS)}")
