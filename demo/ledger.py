"""What was sent, what came back, which faults were found: from messages alone, as a user would see them."""

import statistics
from collections import deque
from dataclasses import dataclass, field

SPARK = 28  # scores a sparkline shows
AFTER_SAMPLES = 40  # an alert this long after a fault still belongs to it: the way back to normal is a jump too


@dataclass
class Fault:
    """An injected fault, as the ground truth tells it; times in Unix seconds of the device."""

    stream: str
    kind: str
    channel: str
    start: float
    end: float
    told: float  # when the truth arrived, seconds
    found: float | None = None  # when its first alert arrived
    reason: str = ""


@dataclass
class Stream:
    """One device as the view shows it."""

    name: str
    kind: str
    samples: int = 0
    scores: int = 0
    last_t: float = 0.0
    step: float = 1.0
    values: dict[str, float] = field(default_factory=dict)
    surprises: deque[float] = field(default_factory=lambda: deque(maxlen=SPARK))
    score: float | None = None
    quality: str = ""
    alert: str = ""  # reason of the alert that is on


@dataclass
class Alert:
    """An alert that started."""

    stream: str
    start: float
    t: float
    arrived: float
    reason: str
    channel: str
    fault: Fault | None = None


class Ledger:
    """Keeps the books of one demo run."""

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.faults: list[Fault] = []
        self.alerts: list[Alert] = []
        self.sent: set[tuple[str, float]] = set()
        self.scored: set[tuple[str, float]] = set()
        self.unread = 0  # messages that are not what they should be
        self.closed = False  # the sensors are off: from now on their silence is no news

    def _stream(self, name: str) -> Stream:
        if name not in self.streams:
            self.streams[name] = Stream(name, name.split("/")[1])
        return self.streams[name]

    def telemetry(self, name: str, payload: dict[str, float]) -> None:
        """Note a sample that a device sent."""
        stream = self._stream(name)
        t = payload["t"]
        if (name, t) not in self.sent:  # real firmware repeats itself
            stream.samples += 1
            self.sent.add((name, t))
        if stream.last_t and t > stream.last_t:
            stream.step = t - stream.last_t if stream.samples < 5 else min(stream.step, t - stream.last_t)
        stream.last_t = max(stream.last_t, t)
        stream.values = {k: v for k, v in payload.items() if k not in ("t", "seq")}

    def score(self, payload: dict[str, object]) -> None:
        """Note a score that the daemon published."""
        stream = self._stream(str(payload["stream"]))
        self.scored.add((stream.name, float(payload["t"])))  # type: ignore[arg-type]
        stream.scores += 1
        stream.quality = str(payload["quality"])
        score, surprise = payload["score"], payload["surprise"]
        stream.score = float(score) if isinstance(score, float | int) else None
        stream.surprises.append(float(surprise) if isinstance(surprise, float | int) else 0.0)
        if not payload["alert"] and stream.alert != "silence":
            stream.alert = ""

    def truth(self, name: str, payload: dict[str, object], now: float) -> None:
        """Note a fault that a device injected into itself."""
        start, end = float(payload["start"]), float(payload["end"])  # type: ignore[arg-type]
        channel = str(payload["channel"] or "device")
        self.faults.append(Fault(name, str(payload["fault"]), channel, start, end, now))

    def alert(self, payload: dict[str, object], now: float) -> None:
        """Note an alert, and which fault it belongs to."""
        stream = self._stream(str(payload["stream"]))
        if payload["phase"] != "start":
            stream.alert = ""
            return
        if self.closed and payload["reason"] == "silence":
            return
        causes = payload["causes"]
        channel = str(causes[0]["channel"]) if isinstance(causes, list) and causes else ""
        t = float(payload["t"])  # type: ignore[arg-type]
        stream.alert = str(payload["reason"])
        alert = Alert(stream.name, float(payload["start"]), t, now, stream.alert, channel)  # type: ignore[arg-type]
        alert.fault = self._fault_of(stream, alert)
        self.alerts.append(alert)

    def _fault_of(self, stream: Stream, alert: Alert) -> Fault | None:
        """Return the fault that explains an alert; the truth came before it, on the same connection."""
        for fault in self.faults:
            if fault.stream != stream.name:
                continue
            slack = AFTER_SAMPLES * stream.step
            by_clock = fault.start <= alert.t <= fault.end + slack
            silent = alert.reason in ("silence", "gap") and fault.kind == "dropout" and fault.told <= alert.arrived
            if by_clock or silent:
                if fault.found is None:
                    fault.found, fault.reason = alert.arrived, alert.reason
                return fault
        return None

    def summary(self) -> dict[str, object]:
        """Return the figures of the run."""
        found = [fault for fault in self.faults if fault.found is not None]
        delays = [fault.found - fault.told for fault in found if fault.found is not None]
        return {
            "devices": len(self.streams),
            "samples": len(self.sent),
            "lost": len(self.sent - self.scored),
            "injected": len(self.faults),
            "found": len(found),
            "false_alerts": sum(alert.fault is None for alert in self.alerts),
            "median_delay_s": round(statistics.median(delays), 3) if delays else None,
        }
