"""A device: physics, the sensor's rounding and range, and faults. Knows no clock, no network."""

from collections.abc import Iterable
from random import Random

from firmware_sim.faults import DISTURB, Fault
from firmware_sim.kinds import KINDS, Channel


class Device:
    """One simulated device; the same kind, seed and faults give the same samples, always."""

    def __init__(
        self,
        kind: str,
        seed: int | str,
        faults: Iterable[Fault] = (),
        day_start_s: float = 0.0,
    ) -> None:
        """Build a device; no sample is taken yet.

        Args:
            kind: a name in ``KINDS``.
            seed: which individual of its kind.
            faults: may overlap.
            day_start_s: seconds since midnight at the first sample, where day and night matter.

        Raises:
            ValueError: unknown kind, or a fault on a channel the kind does not have.
        """
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}, expected one of: {', '.join(KINDS)}")
        self.kind = KINDS[kind]
        self.channels = tuple(channel.name for channel in self.kind.channels)
        self.period_s = self.kind.period_s
        self.elapsed_s = 0.0  # device time of the next sample
        self.begun: tuple[Fault, ...] = ()  # faults whose first moment was the latest sample
        self._index = 0
        self._physics = self.kind.build(Random(f"{kind}:{seed}"), day_start_s)
        self._fault_rng = Random(f"{kind}:{seed}:faults")
        self._decimals = tuple(_decimals(c.resolution) for c in self.kind.channels)
        self._latest: tuple[float, ...] = ()
        self._waiting = sorted(faults, key=lambda fault: fault.start_s, reverse=True)
        self._active: list[tuple[Fault, int]] = []
        for fault in self._waiting:
            self._channel_index(fault)

    def sample(self) -> dict[str, float] | None:
        """Advance by one natural period; return the values, None if the device is silent."""
        elapsed_s = self.elapsed_s
        self._index += 1
        self.elapsed_s = self._index * self.period_s
        if self._waiting or self._active or self.begun:
            return self._sample_with_faults(elapsed_s)
        self._latest = self._sense(self._physics.step())
        return dict(zip(self.channels, self._latest, strict=True))

    def _sample_with_faults(self, elapsed_s: float) -> dict[str, float] | None:
        self._update_active(elapsed_s)
        self._physics.wear = max((f.magnitude * f.progress(elapsed_s) ** 2 for f, _ in self._worn()), default=0.0)
        values = list(self._physics.step())
        stuck = set()
        for fault, index in self._active:
            if fault.kind == "stuck":
                stuck.add(index)
            elif fault.kind in DISTURB and not self._in_physics(fault):
                values[index] = DISTURB[fault.kind](
                    values[index],
                    fault,
                    self.kind.channels[index],
                    fault.progress(elapsed_s),
                    self._fault_rng,
                )
        sensed = list(self._sense(values))
        for index in stuck if self._latest else ():
            sensed[index] = self._latest[index]
        self._latest = tuple(sensed)
        if any(fault.kind == "dropout" for fault, _ in self._active):
            return None
        return dict(zip(self.channels, sensed, strict=True))

    def _update_active(self, elapsed_s: float) -> None:
        moment = elapsed_s + 1e-6  # fault times are often sums of floats
        self._active = [(fault, index) for fault, index in self._active if fault.end_s > moment]
        begun = []
        while self._waiting and self._waiting[-1].start_s <= moment:
            begun.append(self._waiting.pop())
        self._active += [(fault, self._channel_index(fault)) for fault in begun]
        self.begun = tuple(begun)

    def _worn(self) -> list[tuple[Fault, int]]:
        return [(f, i) for f, i in self._active if f.kind == "wear" and self._in_physics(f)]

    def _in_physics(self, fault: Fault) -> bool:
        return fault.kind == "wear" and fault.channel == self.kind.wear_channel

    def _channel_index(self, fault: Fault) -> int:
        return 0 if fault.channel is None else self.kind.channel_index(fault.channel)

    def _sense(self, values: Iterable[float]) -> tuple[float, ...]:
        """Round to the resolution and clip to the range, as the sensor does."""
        return tuple(
            _round(value, channel, decimals)
            for value, channel, decimals in zip(values, self.kind.channels, self._decimals, strict=True)
        )


def _round(value: float, channel: Channel, decimals: int) -> float:
    if value < channel.low:
        value = channel.low
    elif value > channel.high:
        value = channel.high
    steps = round(value / channel.resolution)
    return round(steps * channel.resolution, decimals) + 0.0  # no negative zero


def _decimals(resolution: float) -> int:
    """Return the digits after the point that ``resolution`` needs."""
    return len(f"{resolution:.9f}".rstrip("0").split(".")[1])
