"""The decoder: payloads of all formats, under sources of all kinds."""

import json
import math
from random import Random
from typing import Any, get_args

from edge_lstm.errors import PayloadError
from edge_lstm.messages import Message
from edge_lstm.stages.decode import REASONS, Decoder, Format, Source
from tests.fuzz import mutate

ARRIVED = 1_700_000_000.5
ON_OFF = {"ON": 1.0, "OFF": 0.0, "true": 1.0}
DECODERS = [
    *(Decoder(Source("{stream}/{channel}", fmt)) for fmt in get_args(Format)),
    *(Decoder(Source("#", fmt, coerce=True, values=ON_OFF)) for fmt in get_args(Format)),
    Decoder(Source("#", channels={"a": "a", "b": "b[0].a"}, time="t", time_unit="ms")),
    Decoder(Source("#", channels={"a": "a", "b": "b"}, period_s=0.1, coerce=True)),
    Decoder(Source("#", channels={"a": "[0]"}, records="b", time="[1]")),
    Decoder(Source("#", records="b", period_s=1e300)),
    Decoder(Source("#", "senml", channels={"a": "a"})),
]
DOCUMENTS: list[Any] = [
    {"ts": 1763638200, "hydraulics": {"pressure": [4.2, 4.3]}, "flow": 81.25, "seq": 7},
    {"a": 1.5, "b": [{"a": 2}], "t": 1700000000000},
    {"temperature": 21.5, "humidity": 40, "linkquality": 90, "last_seen": "2026-01-31T12:00:00Z", "update": {"x": 1}},
    {"Time": "2026-01-31T12:00:00", "AM2301": {"Temperature": 21.5, "Humidity": 40.25}, "TempUnit": "C"},
    [
        {"bn": "urn:dev:1:", "bt": 1.7e9, "bv": 20, "n": "a", "v": 1.5},
        {"n": "b", "t": -5, "vs": "ON"},
        {"t": 2, "v": 1},
    ],
    [{"t": 5, "a": 1}, {"t": 6, "a": 2.5, "b": None}, {"t": 7, "a": "unavailable"}],
    {"b": [[1.5, 1700000000], [1.6, 1700000001]], "a": [1, 2]},
    {"a": [1, 2, 3], "b": [4, 5, 6], "ts": [1, 2, 3]},
    {"state": "ON", "v": "21.5", "w": True, "x": None, "y": "nan", "deep": {"a": {"b": {"c": [[[1]]]}}}},
]
BARE = (b"21.5", b"-0.0", b"unknown", b"ON", b"1e308", b"nan", b"5e-324", b"007", b".5")
CORPUS = (*BARE, *(json.dumps(document).encode() for document in DOCUMENTS))


class Payloads:
    """Bytes as they may come from a sensor; the first one says under which source they are read."""

    refusal = PayloadError

    def case(self, rng: Random) -> bytes:
        """Return a payload that is nearly one."""
        which = bytes((rng.randrange(len(DECODERS)),))
        if rng.random() < 0.5:
            return which + mutate.bytes_of(rng, rng.choice(CORPUS), CORPUS)
        document = mutate.tree_of(rng, rng.choice(DOCUMENTS), rng.choice((1, 1, 2, 4)))
        return which + json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")

    def run(self, case: bytes) -> str:
        """Decode; whatever comes must be in the contract."""
        decoder = DECODERS[(case[0] if case else 0) % len(DECODERS)]
        samples, refused = [], None
        try:
            samples = decoder.decode(Message("s/c", case[1:], ARRIVED))
        except PayloadError as error:
            refused = error
        if refused is not None:
            assert refused.reason in REASONS, refused.reason
            assert str(refused).isprintable(), str(refused)
            raise refused
        assert samples
        last = -math.inf
        for sample in samples:
            assert last <= sample.t < math.inf, sample
            last = sample.t
            assert sample.values, sample
            for value in sample.values.values():
                assert type(value) is float, sample
                assert math.isfinite(value), sample
        return "samples"
