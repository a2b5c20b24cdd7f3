"""Foreign input: the catalogue of what can be wrong with a message, and random bytes."""

import json
import math
import tracemalloc
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_lstm.errors import PayloadError
from edge_lstm.messages import Message, Sample
from edge_lstm.stages.decode import REASONS, Decoder, Format, Source

V = {"v": "v"}
CATALOGUE: list[tuple[str, bytes, str | float]] = [  # what, payload, reason or the value read
    ("NaN literal", b'{"v":NaN}', "not_finite"),
    ("Infinity literal", b'{"v":-Infinity}', "not_finite"),
    ("printf of a NaN", b'{"v":nan}', "not_finite"),
    ("1e400", b'{"v":1e400}', "not_finite"),
    ("400-digit integer", b'{"v":' + b"1" * 400 + b"}", "not_finite"),
    ("5,000-digit integer", b'{"v":' + b"1" * 5000 + b"}", "not_finite"),
    ("2^63", b'{"v":9223372036854775808}', 2.0**63),
    ("number in a string", b'{"v":"21.5"}', "bad_type"),
    ("true", b'{"v":true}', "bad_type"),
    ("null", b'{"v":null}', "missing"),
    ("bare true", b"true", "bad_type"),
    ("bare null", b"null", "bad_type"),
    ("duplicate key: the last wins", b'{"v":1,"v":2}', 2.0),
    ("100,000 nested arrays", b"[" * 50_000, "too_deep"),
    ("deep nesting in an unused field", b'{"x":' + b"[" * 30_000 + b"]" * 30_000, "too_deep"),
    ("trailing garbage", b'{"v":1} x', "bad_json"),
    ("byte order mark", b'\xef\xbb\xbf{"v":1}', "bad_json"),
    ("invalid UTF-8 in an unused field", b'{"v":1,"x":"\xff"}', "bad_utf8"),
    ("lone surrogate", b'{"v":"\\ud800"}', "bad_json"),
    ("1 MB of spaces", b" " * 1_000_000 + b'{"v":1}', "too_large"),
    ("64 KiB and one byte", b'{"v":1}' + b" " * 65_530, "too_large"),
    ("64 KiB", b'{"v":1}' + b" " * 65_529, 1.0),
    ("decimal comma", b'{"v":21,5}', "bad_json"),
    ("plain number", b"21.5", "bad_type"),
    ("denormal", b'{"v":5e-324}', 5e-324),
    ("negative zero", b'{"v":-0.0}', -0.0),
    ("unknown", b'{"v":"unknown"}', "missing"),
    ("unavailable", b'{"v":"unavailable"}', "missing"),
    ("None", b'{"v":"None"}', "missing"),
    ("ON without a map", b'{"v":"ON"}', "bad_type"),
    ("array of 4,097 samples", b"[" + b'{"v":1},' * 4096 + b'{"v":1}]', "too_many"),
    ("gzip", b"\x1f\x8b\x08\x00\x00", "bad_json"),
    ("CBOR", b"\xa1\x61v\x01", "bad_json"),
    ("protobuf", b"\x08\x96\x01", "bad_json"),
    ("template text", b'{"v":"{{ 7*7 }}"}', "bad_type"),
    ("field gone after an update", b'{"w":1}', "missing_field"),
    ("field of another type", b'{"v":{"value":1}}', "bad_type"),
    ("zero bytes", b"", "empty"),
    ("NUL", b"\x00", "bad_json"),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in CATALOGUE])
def test_catalogue(payload: bytes, expected: str | float) -> None:
    decoder = Decoder(Source("a", channels=V))
    if isinstance(expected, float):
        assert decoder.decode(Message("a", payload)) == [Sample("a", 0.0, {"v": expected})]
        return
    with pytest.raises(PayloadError) as caught:
        decoder.decode(Message("a", payload))
    assert caught.value.reason == expected
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("topic", "stream"),
    [
        ("a/b", "a/b"),
        ("/a", "/a"),
        ("a//b", "a//b"),
        ("a/../b", "a/../b"),
        ("a/%2e%2e/CON", "a/%2e%2e/CON"),
        ("a/\N{THERMOMETER}", "a/\N{THERMOMETER}"),
        ("a" * 512, "a" * 512),
        ("a" * 513, None),
        ("\N{THERMOMETER}" * 200, None),
        ("a" * 65_535, None),
        ("a\x00", None),
        ("a\r\nb", None),
        ("a\x1b[31m", None),
        ("a\u202eb", None),
        ("a\udc80", None),
        ("a\u061cb", None),
        ("a\ufdd0", None),
        ("a\ufffe", None),
        ("a\U0010ffff", None),
        ("/".join("a" * 64), "/".join("a" * 64)),
        ("/".join("a" * 65), None),
        ("/" * 200, None),
        ("", None),
        ("$SYS/broker/load", None),
    ],
)
def test_topics(topic: str, stream: str | None) -> None:
    decoder = Decoder(Source("#", "number"))
    if stream is not None:
        assert decoder.decode(Message(topic, b"1")) == [Sample(stream, 0.0, {"value": 1.0})]
        return
    with pytest.raises(PayloadError) as caught:
        decoder.decode(Message(topic, b"1"))
    assert caught.value.reason == "bad_topic"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "key", ["\x00", "\r\n", "\x1b", "\u202e", "\ufffe", "\ufdd0", "\U0001ffff", "/" * 17, "k" * 129, "k" * 60_000]
)
@pytest.mark.parametrize("value", [1, {"a": 1}, [[], 1]])
def test_keys_that_can_t_name_a_channel(key: str, value: object) -> None:
    """They would become part of a topic, and a broker may cut us off for it."""
    for fmt, document in (("json", {key: value}), ("tasmota", {key: value}), ("senml", [{"n": key, "v": 1}])):
        with pytest.raises(PayloadError) as caught:
            Decoder(Source("a", fmt)).decode(Message("a", json.dumps(document, ensure_ascii=False).encode()))  # type: ignore[arg-type]
        assert caught.value.reason == "bad_type"
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("fmt", "payload"),
    [
        ("json", b'{"%s":[%s[]]}' % (b"k" * 30_000, b"[]," * 11_000)),
        ("json", b'{"%s":{%s"a":{}}}' % (b"k" * 30_000, b'"b":{},' * 4_000)),
        ("senml", b'[{"bn":"%s"}%s]' % (b"b" * 30_000, b',{"v":1}' * 4_000)),
    ],
)
def test_a_long_name_is_refused_before_it_stands_in_front_of_others(fmt: Format, payload: bytes) -> None:
    with pytest.raises(PayloadError, match="too long") as caught:
        Decoder(Source("a", fmt)).decode(Message("a", payload))
    assert caught.value.reason == "bad_type"


def test_foreign_names_leave_little_behind() -> None:
    """Thousands of keys and topics, never the same: what is remembered of them is bounded, in bytes as well."""
    decoder = Decoder(Source("#"))
    tracemalloc.start()
    for k in range(60):
        keys = b",".join(b'"%d":1' % (k * 5000 + j) for j in range(60 if k % 2 else 5000))
        with suppress(PayloadError):
            decoder.decode(Message("a", b"{%s}" % keys))
    for k in range(9_000):
        decoder.decode(Message(f"{k:06d}{'x' * (500 if k % 2 else 100)}", b'{"v":1}'))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 * 2**20


def test_a_topic_of_another_source_is_refused() -> None:
    with pytest.raises(PayloadError) as caught:
        Decoder(Source("a/+")).decode(Message("b/c", b'{"v":1}'))
    assert caught.value.reason == "bad_topic"


def test_retained() -> None:
    message = Message("a", b"1", retain=True)
    with pytest.raises(PayloadError) as caught:
        Decoder(Source("a", "number")).decode(message)
    assert caught.value.reason == "retained_ignored"
    kept = Decoder(Source("a", "number", retained="process"))
    assert kept.decode(message) == [Sample("a", 0.0, {"value": 1.0})]


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
ARRIVED = 1_700_000_000.5


def check(decoder: Decoder, payload: bytes) -> None:
    """Decode; whatever happens must be in the contract."""
    samples, refusal = [], None
    try:
        samples = decoder.decode(Message("s/c", payload, ARRIVED))
    except PayloadError as error:
        refusal = error
    if refusal is not None:
        assert refusal.reason in REASONS
        assert str(refusal).isprintable()
    assert bool(samples) is (refusal is None)
    assert samples == sorted(samples, key=lambda sample: sample.t)
    for sample in samples:
        assert math.isfinite(sample.t)
        assert sample.values
        assert all(type(v) is float and math.isfinite(v) for v in sample.values.values())


@pytest.mark.parametrize("payload", [case[1] for case in CATALOGUE])
def test_every_decoder_stands_the_catalogue(payload: bytes) -> None:
    for decoder in DECODERS:
        check(decoder, payload)


@settings(max_examples=200)
@given(st.binary(max_size=64))
def test_any_bytes(payload: bytes) -> None:
    for decoder in DECODERS:
        check(decoder, payload)


keys = st.sampled_from(["a", "b", "t", "ts", "Time", "last_seen", "n", "v", "bn", "bt", "bv", "vs", "x_", "", "a.b"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["ON", "21.5", "nan", "", "2023-11-14T22:13:20Z", "1" * 30, "a"]),
    st.text(max_size=5),
)
documents: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(keys, below, max_size=5)),
    max_leaves=12,
)


@settings(max_examples=300)
@given(documents)
def test_any_document(document: Any) -> None:
    payload = json.dumps(document).encode()  # with NaN and Infinity, which JSON has not
    for decoder in DECODERS:
        check(decoder, payload)


@settings(max_examples=300)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_exact(value: float) -> None:
    text = repr(value).encode()
    for decoder, payload in (
        (Decoder(Source("a", "number")), text),
        (Decoder(Source("a", channels={"value": "v"})), b'{"v":' + text + b"}"),
        (Decoder(Source("a", coerce=True, channels={"value": "v"})), b'{"v":"' + text + b'"}'),
        (Decoder(Source("a", "senml")), b'[{"v":' + text + b"}]"),
    ):
        (sample,) = decoder.decode(Message("a", payload))
        assert sample.values["value"] == value
        assert math.copysign(1, sample.values["value"]) == math.copysign(1, value)
