"""The topic mapper: from foreign topics under any pattern to names of streams, and to the topics that we publish to."""

import re
from random import Random

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.messages import Message
from edge_lstm.stages.align import Align
from edge_lstm.stages.decode import Decoder, Source
from edge_lstm.stages.encode import alert_topic, score_topic
from tests.fuzz import mutate

PATTERNS = (
    "#", "+", "a/+/b", "{stream}", "home/{room}/{channel}", "{stream}/sensor/{channel}/state", "a/{channel}/#",
    "$SYS/#", "{stream}/#", "+/+/#", "/+//{stream}/", "zigbee2mqtt/+", "\N{THERMOMETER}/+", "{channel}", "a.c/(+)/[x]*",
)  # fmt: skip
TOPICS = (
    "a", "a/b", "a/x/b", "/a//b/", "home/kitchen/temperature", "box/sensor/hum/state", "$SYS/broker/load", "//",
    "zigbee2mqtt/\N{THERMOMETER}", "edge-lstm/a/score", "a/%2e%2e/CON", "x" * 300, "l/" * 63 + "l", "l/" * 190,
)  # fmt: skip
LEVELS = ("a", "kitchen", "", "\N{THERMOMETER}", "a.b", "%2B", "..", "value", *mutate.TEXTS)
CORPUS = tuple(topic.encode() for topic in TOPICS)
PAYLOADS = (
    '{"v":1}', '{"a/b":1}', '{"a":1,"\ufffe":2}', '{"value":3,"%2F":4,"+":5,"#":6}', '{"\u202e":1}',
    '{"' + "/" * 60 + '":1}',
)  # fmt: skip
# What Mosquitto ends a connection for: wildcards, control characters, those that are none, and more than 200 levels.
FATAL = re.compile("[+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff\U0010ffff]")
SEPARATOR = b"\x1e"


def _match(rng: Random, pattern: str) -> bytes:
    """Return a topic that matches a pattern, whatever stands for its wildcards."""
    levels = [rng.choice(LEVELS) if level in "+#" or level[:1] == "{" else level for level in pattern.split("/")]
    return "/".join(levels).encode("utf-8", "replace")


class Topics:
    """A pattern, a topic and a payload, with a separator between."""

    refusal = (PayloadError, ConfigError)

    def __init__(self) -> None:
        self._decoders: dict[str, Decoder] = {}
        self._align = Align((), 0.0, each=True)

    def case(self, rng: Random) -> bytes:
        """Return a pattern and a topic that nearly match."""
        pattern = rng.choice(PATTERNS)
        topic = _match(rng, pattern) if rng.random() < 0.6 else rng.choice(CORPUS)
        if rng.random() < 0.6:
            topic = mutate.bytes_of(rng, topic, CORPUS)
        written = pattern.encode()
        if rng.random() < 0.1:
            written = mutate.bytes_of(rng, written, CORPUS)
        return SEPARATOR.join((written, topic, rng.choice(PAYLOADS).encode()))

    def run(self, case: bytes) -> str:
        """Go from the topic that came to those that are published to."""
        pattern, topic, payload = (*case.split(SEPARATOR), b"", b"", b"")[:3]
        samples = self._decoder(pattern.decode("utf-8", "replace")).decode(
            Message(topic.decode("utf-8", "replace"), payload, 1e9)
        )
        for sample in samples:
            for stream, _, _ in self._align.push(sample):
                assert stream
                for out in (score_topic("edge-lstm", stream), alert_topic("edge-lstm", stream)):
                    assert not FATAL.search(out), out
                    assert out.count("/") < 128, out
                    assert len(out.encode()) < 4096, out
        return "streams"

    def _decoder(self, pattern: str) -> Decoder:
        """Return the decoder of a pattern; those of the list are made once."""
        known = self._decoders.get(pattern)
        if known is None:
            known = Decoder(Source(pattern))
            if pattern in PATTERNS:
                self._decoders[pattern] = known
        return known
