"""What real firmware does to a perfect stream of samples on its way to the network.

Pure: samples go in, messages to send and the moments to send them come out. All moments are
seconds of wall time since the start of the run, except ``t``, the device's own stamp in unix
seconds.
"""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from firmware_sim import wire

_FLUSH_GAP_S = 0.002  # between two messages of a flushed buffer
_OUTAGE_S = (5.0, 15.0)  # wall time
_OUTAGE_SAMPLES = (5.0, 20.0)  # whichever is longer
_REBOOT_S = (2.0, 6.0)
_REBOOT_SAMPLES = (2.0, 5.0)
_BUFFER_SAMPLES = 2_000  # then the oldest is overwritten, as in flash


@dataclass(frozen=True, slots=True)
class Habits:
    """How well behaved a device is; probabilities are per sample."""

    jitter: float = 0.02  # standard deviation of the sending delay, as a share of the sample period
    drift_ppm: float = 0.0  # standard deviation, over devices, of the clock's rate error
    reboot: float = 0.0
    outage: float = 0.0  # the network is gone; samples are buffered and flushed late
    duplicate: float = 0.0
    reorder: float = 0.0


MESSY: Final = Habits(jitter=0.08, drift_ppm=30.0, reboot=0.0003, outage=0.0005, duplicate=0.005, reorder=0.003)


class Emission(NamedTuple):
    """One message and when to send it."""

    at_s: float
    leaf: str
    payload: bytes


class Firmware:
    """The firmware of one device."""

    def __init__(self, habits: Habits, seed: int | str, period_s: float, start: float) -> None:
        """Power up.

        Args:
            habits: what goes wrong, and how often.
            seed: same seed, same mishaps.
            period_s: wall time between two samples.
            start: unix seconds of the first sample.
        """
        self._habits = habits
        self._rng = Random(f"firmware:{seed}")
        self._period_s = period_s
        self._start = start
        self._rate = 1.0 + self._rng.gauss(0.0, habits.drift_ppm) * 1e-6
        self._seq = 0
        self._boots = 0
        self._booted = start
        self._down = 0  # samples until it is up again
        self._offline = 0  # samples until the network is back
        self._buffer: deque[bytes] = deque(maxlen=_BUFFER_SAMPLES)
        self._held: bytes | None = None  # waits for its successor to overtake it
        self._last_at_s = 0.0

    def stamp(self, elapsed_s: float) -> float:
        """Return what the device's clock shows ``elapsed_s`` after the start, in unix seconds."""
        return self._start + elapsed_s * self._rate

    def handle(self, due_s: float, elapsed_s: float, values: dict[str, float] | None) -> list[Emission]:
        """Take one sample, None if the device is silent; return what to send."""
        t = self.stamp(elapsed_s)
        if self._down:
            return self._boot(due_s, t)
        if self._happens(self._habits.reboot):
            self._crash(t)
            return []
        message = None if values is None else wire.telemetry(t, self._seq, values)
        self._seq += 1
        if not self._offline and self._happens(self._habits.outage):
            self._offline = self._samples(_OUTAGE_S, _OUTAGE_SAMPLES)
        if self._offline:
            return self._store(due_s, message)
        return [] if message is None else self._send(due_s, message)

    def close(self, due_s: float) -> list[Emission]:
        """Return what is still held back, as at an orderly shutdown."""
        flushed = [*self._buffer] if self._held is None else [self._held, *self._buffer]
        self._buffer.clear()
        self._held = None
        return self._in_a_row(due_s, flushed)

    def _send(self, due_s: float, message: bytes) -> list[Emission]:
        if self._held is None and self._happens(self._habits.reorder):
            self._held = message
            return []
        messages = [message]
        if self._held is not None:
            messages.append(self._held)
            self._held = None
        if self._happens(self._habits.duplicate):
            messages.append(messages[-1])
        delay_s = 0.0
        if self._habits.jitter:
            delay_s = min(abs(self._rng.gauss(0.0, self._habits.jitter)), 0.9) * self._period_s
        return self._in_a_row(due_s + delay_s, messages)

    def _store(self, due_s: float, message: bytes | None) -> list[Emission]:
        if self._held is not None:
            self._buffer.append(self._held)
            self._held = None
        if message is not None:
            self._buffer.append(message)
        self._offline -= 1
        return [] if self._offline else self.close(due_s)

    def _crash(self, t: float) -> None:
        """Lose power: what was in memory is gone."""
        self._down = self._samples(_REBOOT_S, _REBOOT_SAMPLES)
        self._uptime_s = t - self._booted
        self._offline = 0
        self._held = None
        self._buffer.clear()

    def _boot(self, due_s: float, t: float) -> list[Emission]:
        self._down -= 1
        if self._down:
            return []
        self._seq = 0
        self._boots += 1
        self._booted = t
        return [Emission(due_s, "boot", wire.boot(t, self._uptime_s, self._boots))]

    def _in_a_row(self, at_s: float, messages: list[bytes]) -> list[Emission]:
        """Send in this order, never before what was sent earlier."""
        row = []
        for message in messages:
            self._last_at_s = at_s = max(at_s, self._last_at_s)
            row.append(Emission(at_s, "telemetry", message))
            at_s += _FLUSH_GAP_S
        return row

    def _happens(self, probability: float) -> bool:
        return probability > 0.0 and self._rng.random() < probability

    def _samples(self, wall_s: tuple[float, float], samples: tuple[float, float]) -> int:
        by_time = self._rng.uniform(*wall_s) / self._period_s
        return max(1, round(by_time), round(self._rng.uniform(*samples)))
