"""JSON with paths: objects, blocks of records, columns, times."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.messages import Message, Sample
from edge_lstm.stages.decode import Decoder, Source

ARRIVED = 1_700_000_000.5
Rows = list[tuple[float, dict[str, float]]]


def encode(rows: Rows) -> bytes:
    """Write what a device with a clock would: one flat object a sample, an array for a block."""
    records = [{"t": t, **values} for t, values in rows]
    whole: Any = records if len(records) > 1 else records[0]
    return json.dumps(whole, separators=(",", ":")).encode()


CANONICAL: list[tuple[bytes, Rows]] = [
    (b'{"t":1700000000.25,"temp":21.5}', [(1700000000.25, {"temp": 21.5})]),
    (b'{"t":1.0,"a":-0.0,"b":5e-324,"c":0.1}', [(1.0, {"a": -0.0, "b": 5e-324, "c": 0.1})]),
    (b'[{"t":1.0,"a":1.5},{"t":2.0,"a":2.5}]', [(1.0, {"a": 1.5}), (2.0, {"a": 2.5})]),
]


@pytest.mark.parametrize(("payload", "rows"), CANONICAL)
def test_both_directions(payload: bytes, rows: Rows) -> None:
    assert read(payload) == rows
    assert encode(rows) == payload


def read(payload: bytes, **source: Any) -> Rows:
    samples = Decoder(Source("a", **source)).decode(Message("a", payload, ARRIVED))
    return [(sample.t, sample.values) for sample in samples]


A = {"a": "a"}
CASES: list[tuple[dict[str, Any], bytes, Rows]] = [
    # Channels: named, or all numbers there are.
    ({"channels": A}, b'{"a":1,"b":2}', [(ARRIVED, {"a": 1.0})]),
    ({"channels": {"x": "a.b[1].c"}}, b'{"a":{"b":[0,{"c":3}]}}', [(ARRIVED, {"x": 3.0})]),
    ({"channels": {"x": "a[-1]"}}, b'{"a":[1,2]}', [(ARRIVED, {"x": 2.0})]),
    ({"channels": {"x": '"a.b".c'}}, b'{"a.b":{"c":3}}', [(ARRIVED, {"x": 3.0})]),
    ({"channels": {"x": "[1]", "y": "[0]"}}, b"[1,2]", [(ARRIVED, {"x": 2.0, "y": 1.0})]),
    ({"channels": {"x": ""}}, b"21.5", [(ARRIVED, {"x": 21.5})]),
    ({"channels": {"a": "a", "b": "b"}}, b'{"b":2}', [(ARRIVED, {"b": 2.0})]),
    ({"channels": {"a": "a", "b": "b"}}, b'{"a":null,"b":2}', [(ARRIVED, {"b": 2.0})]),
    (
        {},
        b'{"a":{"b":1},"c":[2,{"d":3}],"x.y":4,"s":"5","f":true,"n":null}',
        [(ARRIVED, {"a.b": 1.0, "c[0]": 2.0, "c[1].d": 3.0, '"x.y"': 4.0})],
    ),
    ({}, b'{"a":9223372036854775808}', [(ARRIVED, {"a": 2.0**63})]),
    ({}, b'{"a":1,"a":2}', [(ARRIVED, {"a": 2.0})]),
    # Words.
    ({"coerce": True}, b'{"a":"21.5","s":"x"}', [(ARRIVED, {"a": 21.5})]),
    ({"channels": A, "coerce": True}, b'{"a":"21.5"}', [(ARRIVED, {"a": 21.5})]),
    ({"values": {"ON": 1.0, "true": 2.0}}, b'{"a":"ON","b":true}', [(ARRIVED, {"a": 1, "b": 2})]),
    ({"channels": A, "values": {"false": 0.0}}, b'{"a":false}', [(ARRIVED, {"a": 0.0})]),
    ({"channels": A, "values": {"unknown": -1.0}}, b'{"a":"unknown"}', [(ARRIVED, {"a": -1.0})]),
    # Time.
    ({}, b'{"ts":1700000000,"a":1}', [(1.7e9, {"a": 1.0})]),
    ({}, b'{"timestamp":"2023-11-14T22:13:20Z","a":1}', [(1.7e9, {"a": 1.0})]),
    ({}, b'{"time":"2023-11-14T23:13:20.5+01:00","a":1}', [(1700000000.5, {"a": 1.0})]),
    ({}, b'{"time":"2023-11-14 22:13:20","a":1}', [(1.7e9, {"a": 1.0})]),
    ({}, b'{"t":null,"a":1}', [(ARRIVED, {"a": 1.0})]),
    ({"time": "arrival"}, b'{"ts":5,"a":1}', [(ARRIVED, {"a": 1.0})]),
    ({"time": "m.when"}, b'{"m":{"when":5},"a":1}', [(5.0, {"a": 1.0})]),
    ({"channels": {"temp": "t"}}, b'{"t":21.5}', [(ARRIVED, {"temp": 21.5})]),
    ({"time_unit": "ms"}, b'{"t":1700000000250,"a":1}', [(1700000000.25, {"a": 1.0})]),
    ({"time_unit": "us"}, b'{"t":1700000000250000,"a":1}', [(1700000000.25, {"a": 1.0})]),
    ({"time_unit": "ns"}, b'{"t":1700000000250000000,"a":1}', [(1700000000.25, {"a": 1.0})]),
    ({"coerce": True}, b'{"t":"1700000000","a":1}', [(1.7e9, {"a": 1.0})]),
    # Blocks of records.
    ({}, b'[{"ts":2,"a":20},{"ts":1,"a":10}]', [(1.0, {"a": 10.0}), (2.0, {"a": 20.0})]),
    ({"records": "d.r"}, b'{"d":{"r":[{"t":1,"a":2}]}}', [(1.0, {"a": 2.0})]),
    (
        {"records": "r", "period_s": 0.5},
        b'{"t":100,"r":[{"a":1},{"a":2}]}',
        [(100.0, {"a": 1.0}), (100.5, {"a": 2.0})],
    ),
    ({"period_s": 0.5}, b'[{"a":1},{"a":2}]', [(ARRIVED - 0.5, {"a": 1.0}), (ARRIVED, {"a": 2.0})]),
    ({}, b'[{"a":1}]', [(ARRIVED, {"a": 1.0})]),
    (
        {"records": "r", "time": "[0]", "channels": {"x": "[1]"}},
        b'{"r":[[1,10],[2,null],[3,30]]}',
        [(1.0, {"x": 10.0}), (3.0, {"x": 30.0})],
    ),
    # Columns.
    (
        {"channels": {"x": "x", "y": "y"}, "period_s": 0.25},
        b'{"t":100,"x":[1,2],"y":[3,null]}',
        [(100.0, {"x": 1.0, "y": 3.0}), (100.25, {"x": 2.0})],
    ),
    (
        {"channels": {"x": "x"}, "period_s": 0.25},
        b'{"x":[1,2]}',
        [(ARRIVED - 0.25, {"x": 1.0}), (ARRIVED, {"x": 2.0})],
    ),
    ({"channels": {"x": "x"}}, b'{"t":[5,6],"x":[1,2]}', [(5.0, {"x": 1.0}), (6.0, {"x": 2.0})]),
    (
        {"channels": {"x": ""}, "period_s": 1},
        b"[1,2]",
        [(ARRIVED - 1, {"x": 1}), (ARRIVED, {"x": 2})],
    ),
]


@pytest.mark.parametrize(("source", "payload", "rows"), CASES)
def test_reads(source: dict[str, Any], payload: bytes, rows: Rows) -> None:
    assert read(payload, **source) == rows


REFUSED: list[tuple[dict[str, Any], bytes, str]] = [
    ({"channels": A}, b'{"b":1}', "missing_field"),
    ({"channels": {"x": "a.b"}}, b'{"a":"text"}', "missing_field"),
    ({"channels": {"x": "a[0]"}}, b'{"a":"5"}', "missing_field"),
    ({"channels": {"x": "a[2]"}}, b'{"a":[1,2]}', "missing_field"),
    ({}, b'{"ts":1,"s":"x"}', "missing_field"),
    ({}, b"{}", "missing_field"),
    ({}, b"[]", "missing_field"),
    ({"channels": A}, b'{"a":null}', "missing"),
    ({"channels": A}, b'{"a":"unavailable"}', "missing"),
    ({}, b'{"a":"nan"}', "missing"),
    ({}, b'[{"a":null,"t":1},{"a":"","t":2}]', "missing"),
    ({"channels": A}, b'{"a":{}}', "bad_type"),
    ({"channels": A}, b'{"a":true}', "bad_type"),
    ({"channels": A}, b'{"a":"ON"}', "bad_type"),
    ({"channels": A, "coerce": True}, b'{"a":"1_0"}', "bad_type"),
    ({"channels": A}, b'[{"a":[1],"t":1}]', "bad_type"),
    ({"channels": A}, b'[{"a":1,"t":1},null]', "bad_type"),
    ({}, b"[1,2]", "bad_type"),
    ({}, b'{"\\u0007":1}', "bad_type"),
    ({"channels": {"x": "x", "y": "y"}}, b'{"x":[1],"y":[1,2]}', "bad_type"),
    ({"channels": {"x": "x", "y": "y"}}, b'{"x":[1],"y":1}', "bad_type"),
    ({"records": "r"}, b'{"r":{"a":1}}', "bad_type"),
    ({"records": "r"}, b'{"a":1}', "missing_field"),
    ({}, b'{"t":1700000000000,"a":1}', "bad_time"),
    ({}, b'{"t":-1e300,"a":1}', "bad_time"),
    ({}, b'{"t":true,"a":1}', "bad_time"),
    ({}, b'{"t":"1700000000","a":1}', "bad_time"),
    ({}, b'{"t":"2023-13-14T22:13:20Z","a":1}', "bad_time"),
    ({}, b'{"t":"2023-11-14","a":1}', "bad_time"),
    ({"time_unit": "iso"}, b'{"t":1,"a":1}', "bad_time"),
    ({"time": "when"}, b'{"t":1,"a":1}', "bad_time"),
    ({"time": "when"}, b'{"when":null,"a":1}', "bad_time"),
    ({"time": "when", "period_s": 1}, b'[{"a":1},{"a":2}]', "bad_time"),
    ({}, b'[{"a":1},{"a":2}]', "bad_time"),
    ({}, b'[{"a":1,"t":1},{"a":2}]', "bad_time"),
    ({"channels": {"x": "x"}}, b'{"t":[1],"x":[1,2]}', "bad_time"),
    ({}, b"[" + b'{"t":1,"a":1},' * 4096 + b'{"t":1,"a":1}]', "too_many"),
    ({"channels": {"x": "x"}}, b'{"x":[' + b"1," * 4096 + b"1]}", "too_many"),
    ({}, b'{"x":[' + b"1," * 256 + b"1]}", "too_many"),
    ({}, b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep"),
]


@pytest.mark.parametrize(("source", "payload", "reason"), REFUSED)
def test_refuses(source: dict[str, Any], payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read(payload, **source)
    assert caught.value.reason == reason


def test_the_topics_channel_stands_in_front() -> None:
    decoder = Decoder(Source("home/{stream}/{channel}"))
    payload = b'{"value":21.5,"max":25}'
    assert decoder.decode(Message("home/x/temp", payload, ARRIVED)) == [
        Sample("x", ARRIVED, {"temp": 21.5, "temp.max": 25.0})
    ]


@pytest.mark.parametrize("path", ["a.", "a..b", ".a", "a[", "a[x]", 'a"b"', '"a', "a]", "a[0]b"])
def test_refused_paths(path: str) -> None:
    with pytest.raises(ConfigError, match="path"):
        Decoder(Source("a", channels={"x": path}))


@pytest.mark.parametrize("period_s", [-1.0, float("nan"), float("inf")])
def test_refused_periods(period_s: float) -> None:
    with pytest.raises(ConfigError, match="period_s"):
        Decoder(Source("a", period_s=period_s))


# ---- The short way through plain objects ---------------------------------------------------------

KEYS = st.sampled_from(["t", "ts", "time", "seq", "a", "b", "value", "a.b", "ON", "", "x\x07"])
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70), st.booleans(), st.none(),
    st.sampled_from(["ON", "unknown", "21.5", "text", "2026-01-31T12:00:00Z"]), st.just([1.0]), st.just({"c": 2.0}),
)  # fmt: skip
SOURCES: list[dict[str, Any]] = [
    {},
    {"time": "arrival"},
    {"time": "ts", "time_unit": "ms"},
    {"time": "a.t"},
    {"channels": {"a": "a", "q": "b"}},
    {"channels": {"t": "t", "c": "a.c"}},
    {"values": {"ON": 1.0, "true": 1.0}, "coerce": True},
    {"format": "zigbee2mqtt"},
    {"format": "tasmota"},
]


def outcome(decoder: Decoder, message: Message) -> Any:
    try:
        return [(sample.t, list(sample.values.items())) for sample in decoder.decode(message)]
    except PayloadError as error:
        return error.reason, str(error)


@pytest.mark.parametrize("source", SOURCES)
@given(fields=st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=3))
def test_both_ways_say_the_same(source: dict[str, Any], fields: list[dict[str, Any]]) -> None:
    short, long = Decoder(Source("a", **source)), Decoder(Source("a", **source))
    long._read.__self__._flat = None  # type: ignore[attr-defined]
    for each in fields:
        message = Message("a", json.dumps(each).encode(), ARRIVED)
        assert outcome(short, message) == outcome(long, message)
