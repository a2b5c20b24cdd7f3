"""SenML packs: the examples of RFC 8428 where they have numbers, and its rules one by one."""

import json
from typing import Any

import pytest

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.messages import Message
from edge_lstm.stages.decode import Decoder, Source

ARRIVED = 1_700_000_000.5
Rows = list[tuple[float, dict[str, float]]]


def encode(base_name: str, rows: Rows) -> bytes:
    """Write a resolved pack with the base name once, as a simple device would."""
    pack: list[dict[str, Any]] = [
        {"n": name, "t": t, "v": value} for t, values in rows for name, value in values.items()
    ]
    pack[0] = {"bn": base_name, **pack[0]}
    return json.dumps(pack, separators=(",", ":")).encode()


CANONICAL: list[tuple[bytes, Rows]] = [
    (
        b'[{"bn":"urn:dev:1:","n":"temp","t":1700000000.25,"v":21.5},'
        b'{"n":"hum","t":1700000000.25,"v":40.0},{"n":"temp","t":1700000001.25,"v":21.75}]',
        [(1700000000.25, {"temp": 21.5, "hum": 40.0}), (1700000001.25, {"temp": 21.75})],
    ),
]


def read(payload: bytes, **source: Any) -> Rows:
    samples = Decoder(Source("a", "senml", **source)).decode(Message("a", payload, ARRIVED))
    return [(sample.t, sample.values) for sample in samples]


@pytest.mark.parametrize(("payload", "rows"), CANONICAL)
def test_both_directions(payload: bytes, rows: Rows) -> None:
    assert read(payload) == rows
    assert encode("urn:dev:1:", rows) == payload


CASES: list[tuple[dict[str, Any], bytes, Rows]] = [
    # Section 5.1.1: a single data point, without a time of its own.
    ({}, b'[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]',
     [(ARRIVED, {"urn:dev:ow:10e2073a01080063": 23.1})]),
    # Section 5.1.2: base time, relative records.
    (
        {},
        b'[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,'
        b'"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},'
        b'{"n":"current","t":-4,"v":1.3},{"n":"current","v":1.7}]',
        [
            (1276020071.001, {"current": 1.2}),
            (1276020072.001, {"current": 1.3}),
            (1276020076.001, {"voltage": 120.1, "current": 1.7}),
        ],
    ),
    # Section 5.1.3: one quantity of one device, the base name being all of its name.
    (
        {},
        b'[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":21.2},'
        b'{"t":10,"v":21.3}]',
        [(1320067464.0, {"value": 21.2}), (1320067474.0, {"value": 21.3})],
    ),
    # Relative to now: below 2**28, also when it comes from the base.
    ({}, b'[{"n":"a","t":-10,"v":1},{"n":"a","v":2}]', [(ARRIVED - 10, {"a": 1}), (ARRIVED, {"a": 2})]),
    ({}, b'[{"n":"a","bt":-60,"t":10,"v":1}]', [(ARRIVED - 50, {"a": 1.0})]),
    ({}, b'[{"n":"a","t":268435455,"v":1}]', [(ARRIVED + 268435455, {"a": 1.0})]),
    ({}, b'[{"n":"a","t":268435456,"v":1}]', [(268435456.0, {"a": 1.0})]),
    # Base value; it says nothing about words.
    ({}, b'[{"bv":20,"n":"a","v":1.5},{"n":"b","v":-0.5}]', [(ARRIVED, {"a": 21.5, "b": 19.5})]),
    ({"values": {"ON": 1.0, "true": 1.0}}, b'[{"bv":20,"n":"a","vs":"ON"},{"n":"b","vb":true}]',
     [(ARRIVED, {"a": 1.0, "b": 1.0})]),
    # What has no number is passed over: strings, booleans, data, sums, unknown fields.
    (
        {},
        b'[{"n":"a","vs":"x"},{"n":"b","vb":true},{"n":"c","vd":"aGk"},{"n":"d","s":5},'
        b'{"n":"e","v":1,"ut":5,"note":"x"}]',
        [(ARRIVED, {"e": 1.0})],
    ),
    # Two devices in one pack: the second keeps its name.
    ({}, b'[{"bn":"d1:","n":"a","v":1},{"bn":"d2:","n":"a","v":2}]', [(ARRIVED, {"a": 1, "d2:a": 2})]),
    # Channels by short or full name.
    ({"channels": {"x": "a", "y": "d1:b"}}, b'[{"bn":"d1:","n":"a","v":1},{"n":"b","v":2},{"n":"c","v":3}]',
     [(ARRIVED, {"x": 1.0, "y": 2.0})]),
    ({}, b'[{"n":"a","v":null},{"n":"b","v":1}]', [(ARRIVED, {"b": 1.0})]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "payload", "rows"), CASES)
def test_reads(source: dict[str, Any], payload: bytes, rows: Rows) -> None:
    assert read(payload, **source) == rows


REFUSED = [
    (b'{"n":"a","v":1}', "bad_type"),
    (b"[1]", "bad_type"),
    (b'[{"n":"a","v":1,"x_":2}]', "bad_type"),
    (b'[{"bver":11,"n":"a","v":1}]', "bad_type"),
    (b'[{"n":5,"v":1}]', "bad_type"),
    (b'[{"n":"a","t":"now","v":1}]', "bad_type"),
    (b'[{"n":"a\\n","v":1}]', "bad_type"),
    (b'[{"bv":1e308,"n":"a","v":1.7e308}]', "not_finite"),
    (b'[{"bt":1' + b"0" * 400 + b',"n":"a","v":1}]', "not_finite"),
    (b'[{"n":"a","t":1e300,"v":1}]', "bad_time"),
    (b'[{"n":"a","vs":"x"}]', "missing_field"),
    (b"[]", "missing_field"),
    (b'[{"n":"a","v":null}]', "missing"),
    (b"[" + b"{}," * 4096 + b"{}]", "too_many"),
    (b"[" + b",".join(b'{"n":"%d","v":1}' % i for i in range(257)) + b"]", "too_many"),
    (b"\x9f\x02", "bad_json"),  # SenML in CBOR
]


@pytest.mark.parametrize(("payload", "reason"), REFUSED)
def test_refuses(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read(payload)
    assert caught.value.reason == reason


def test_a_named_channel_must_be_a_number() -> None:
    with pytest.raises(PayloadError) as caught:
        read(b'[{"n":"a","vs":"x"}]', channels={"a": "a"})
    assert caught.value.reason == "bad_type"


@pytest.mark.parametrize("setting", [{"time": "t"}, {"records": "r"}, {"period_s": 1.0}])
def test_refused_sources(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="senml"):
        Decoder(Source("a", "senml", **setting))
