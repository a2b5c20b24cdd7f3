"""What the configuration says about one kind of message."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Format = Literal["number", "json", "zigbee2mqtt", "tasmota", "esphome", "statestream", "senml"]
TimeUnit = Literal["s", "ms", "us", "ns", "iso"]

Rows = list[tuple[float, dict[str, float]]]
Read = Callable[[bytes, float], Rows]

MAX_SAMPLES = 4096  # of one message
MAX_CHANNELS = 256  # found in one payload by looking for numbers


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of message: where it comes from and how to read it.

    Attributes:
        topic: filter with ``+``, ``#`` and names such as ``{stream}`` and ``{channel}``.
        format: the payload's format. ``esphome`` and ``statestream`` are bare numbers by other
            names; ``zigbee2mqtt`` and ``tasmota`` are JSON with a known place of time and noise.
        channels: channel name to its path in the payload. Empty: every number found is a channel
            named by its path, but for ``t``, ``ts``, ``time``, ``timestamp`` and ``seq`` (json);
            ``last_seen``, ``elapsed``, ``linkquality``, ``battery`` and all below the first level
            (zigbee2mqtt); ``Time`` and ``Epoch`` (tasmota). For SenML the path is a record's name;
            for a bare number it is the topic's ``{channel}``, or nothing.
            With ``{channel}`` in the topic, a channel called ``value`` (as a bare number is) takes
            its text for a name, and any other has it put in front, with a dot.
        time: path of the timestamp, or ``arrival``. Empty: a top-level ``t``, ``ts``, ``time`` or
            ``timestamp`` that is not a channel (json), ``last_seen`` (zigbee2mqtt), what RFC 8428
            says (senml), else arrival. Tasmota's ``Time`` has no zone and whole seconds: set it
            here to have it, taken as UTC.
        time_unit: of numbers; strings are ISO 8601, UTC where they name no zone.
        records: path of a list of records, each a sample; a payload that is an array is one.
        period_s: spacing of a block's samples that carry no time of their own. A time in the
            payload is then the first sample's; arrival is the last one's.
        coerce: take numbers in strings.
        values: what words stand for, such as ``{"ON": 1, "OFF": 0, "true": 1}``.
        retained: what to do with a message that the broker had kept; it is old news.
    """

    topic: str
    format: Format = "json"
    channels: dict[str, str] = {}
    time: str = ""
    time_unit: TimeUnit = "s"
    records: str = ""
    period_s: float = 0.0
    coerce: bool = False
    values: dict[str, float] = {}
    retained: Literal["drop", "process"] = "drop"
