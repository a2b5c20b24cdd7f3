"""A message to samples, under a source's rules.

Rules:
1. Whatever the bytes, ``PayloadError`` is all that comes out, or finite samples.
2. The decoder is never guessed from the bytes; nothing is decompressed or executed.
3. A block is taken whole or not at all.
4. The reason of a refusal is one of ``REASONS``: a closed set, fit for a metric label.
"""

from functools import lru_cache
from typing import Final

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.messages import Message, Sample
from edge_lstm.stages.formats.document import Document
from edge_lstm.stages.formats.number import compile_number
from edge_lstm.stages.formats.scalar import quote
from edge_lstm.stages.formats.senml import Pack
from edge_lstm.stages.formats.source import Format, Read, Rows, Source, TimeUnit
from edge_lstm.stages.topics import REMEMBERED, SHORT, TopicPattern, is_sound

__all__ = ["REASONS", "Decoder", "Format", "Source", "TimeUnit"]

REASONS: Final = (
    "bad_topic",
    "retained_ignored",
    "empty",
    "too_large",
    "bad_utf8",
    "bad_json",
    "too_deep",
    "too_many",
    "bad_type",
    "not_finite",
    "missing",  # every value is null, or a word for none
    "missing_field",
    "bad_time",
)
MAX_PAYLOAD_BYTES = 65_536
_LATEST_TIME = 1e11  # the year 5138; milliseconds taken for seconds lie beyond
_NUMBERS: Final = ("number", "esphome", "statestream")


class Decoder:
    """Decodes the messages of one source.

    Attributes:
        pattern: which topics are its own.

    Raises:
        ConfigError: the source can't be read that way.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.pattern = TopicPattern(source.topic)
        self._read = _compile(source)
        self._bare = source.format in _NUMBERS
        self._renamed = {path: name for name, path in source.channels.items()}
        # Bounded: topics are foreign, and a broker may carry any number of them.
        self._names = lru_cache(maxsize=REMEMBERED)(self._name)

    def decode(self, message: Message) -> list[Sample]:
        """Return the samples of one message, oldest first; at least one.

        Raises:
            PayloadError: with one of ``REASONS``.
        """
        topic, payload = message.topic, message.payload
        stream, channel = self._names(topic) if len(topic) <= SHORT else self._name(topic)
        if message.retain and self.source.retained == "drop":
            raise PayloadError("retained_ignored", "kept by the broker; retained = 'process' takes it")
        if not payload:
            raise PayloadError("empty", "the payload has no bytes")
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise PayloadError("too_large", f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES}")
        rows = self._read(payload, message.arrived)
        if channel:
            rows = self._rename(rows, channel)
        samples = []
        for t, values in rows:
            if not -_LATEST_TIME < t < _LATEST_TIME:
                raise PayloadError("bad_time", f"time {t:g} s is no date; check time_unit")
            samples.append(Sample(stream, t, values))
        return samples

    def _name(self, topic: str) -> tuple[str, str]:
        """Return a topic's stream, and what it says of the channel."""
        if not is_sound(topic):
            raise PayloadError("bad_topic", f"{quote(topic)} is empty, too long or too deep, or has odd characters")
        parts = self.pattern.match(topic)
        if parts is None:
            raise PayloadError("bad_topic", f"{quote(topic)} does not match {self.pattern.pattern}")
        channel = parts.get("channel", "")
        if self._bare and self._renamed:
            if channel not in self._renamed:
                expected = ", ".join(self._renamed)
                raise PayloadError("missing_field", f"{quote(channel)} is not one of {expected}")
            channel = self._renamed[channel]
        return self.pattern.stream_name(topic, parts), channel

    @staticmethod
    def _rename(rows: Rows, channel: str) -> Rows:
        """Put the topic's channel in front of the payload's."""
        names = {name for _, values in rows for name in values}
        renamed = {name: channel if name == "value" else f"{channel}.{name}" for name in names}
        return [(t, {renamed[name]: v for name, v in values.items()}) for t, values in rows]


def _compile(source: Source) -> Read:
    """Return the reader of a source's format."""
    if "" in source.channels:
        raise ConfigError(f"source {source.topic!r}: a channel has an empty name")
    paths = list(source.channels.values())
    if len(set(paths)) < len(paths):
        raise ConfigError(f"source {source.topic!r}: two channels have one path, of {paths}")
    if source.format in _NUMBERS:
        return compile_number(source)
    if source.format == "senml":
        return Pack(source).read
    return Document(source).read
