"""The nouns: what travels between the stages. Frozen, plain, no behavior."""

from typing import Literal

from msgspec import Struct

Quality = Literal["ok", "warming_up", "recovering", "suspect"]
Phase = Literal["start", "end"]

# What no topic should hold (MQTT 3.1.1, 1.5.3), for a regular expression: control characters, halves of characters, and
# code points that are none. Mosquitto cuts off whoever sends one of the last.
_NONCHARACTERS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
NO_TEXT = f"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}"


class Message(Struct, frozen=True, gc=False):
    """One MQTT message, in or out.

    Attributes:
        arrived: wall clock on arrival, Unix seconds; 0 for a message that goes out.
    """

    topic: str
    payload: bytes
    arrived: float = 0.0
    retain: bool = False
    qos: int = 0


class Sample(Struct, frozen=True, gc=False):
    """One message's decoded content, or one record of a block.

    Attributes:
        stream: name of the stream it belongs to.
        t: event time, Unix seconds.
        values: channel name to value; a channel may be missing.
    """

    stream: str
    t: float
    values: dict[str, float]


class Score(Struct, frozen=True, gc=False):
    """How improbable one sample was under its stream's own history.

    Attributes:
        score: in [0, 1], high is anomalous; ``None`` while there is none.
        surprise: ``-log10(1 - score)``; ``None`` while there is none.
        reason: the evidence that spoke loudest; empty when nothing did.
    """

    stream: str
    t: float
    score: float | None
    surprise: float | None
    quality: Quality
    alert: bool
    reason: str
    model: str


class Cause(Struct, frozen=True, gc=False):
    """One channel's part in an alert, at its peak.

    Attributes:
        blame: in standard deviations of the channel's own normal residual, or a rule's strength.
        expected: forecast for the peak sample; ``None`` without one.
        low: lower edge of the 95 % band around it.
        high: upper edge.
    """

    channel: str
    blame: float
    observed: float
    expected: float | None
    low: float | None
    high: float | None
    unit: str


class Alert(Struct, frozen=True, gc=False):
    """An event: start, peak, end, and why.

    Attributes:
        phase: ``start`` when it begins, ``end`` when it is over.
        t: time of the sample that caused this message, Unix seconds.
        end: ``None`` until it is over.
        strength: the peak's surprise, or its rule's strength; comparable with ``level``.
        level: what had to be exceeded, from the budget.
        causes: channels in order of blame.
    """

    stream: str
    phase: Phase
    t: float
    start: float
    peak: float
    end: float | None
    duration_s: float
    strength: float
    level: float
    reason: str
    causes: tuple[Cause, ...]
    model: str
