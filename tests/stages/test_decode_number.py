"""Bare numbers: plain, from ESPHome, from Home Assistant's statestream."""

import pytest

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.messages import Message, Sample
from edge_lstm.stages.decode import Decoder, Format, Source

ARRIVED = 1_700_000_000.5


def encode(sample: Sample) -> bytes:
    """Write what a device would: the shortest text that reads back the same."""
    (value,) = sample.values.values()
    return repr(value).encode()


CANONICAL = [  # format, pattern, topic, payload, stream, channel, value
    ("number", "a/+", "a/b", b"21.5", "a/b", "value", 21.5),
    ("number", "a/+", "a/b", b"-0.0", "a/b", "value", -0.0),
    ("number", "a/+", "a/b", b"5e-324", "a/b", "value", 5e-324),
    ("number", "a/+", "a/b", b"1.7976931348623157e+308", "a/b", "value", 1.7976931348623157e308),
    ("number", "a/{stream}/{channel}", "a/x/hum", b"40.25", "x", "hum", 40.25),
    (
        "esphome",
        "{stream}/sensor/{channel}/state",
        "kitchen/sensor/temperature/state",
        b"21.4",
        "kitchen",
        "temperature",
        21.4,
    ),
    (
        "statestream",
        "homeassistant/sensor/+/state",
        "homeassistant/sensor/cellar_humidity/state",
        b"61.7",
        "homeassistant/sensor/cellar_humidity/state",
        "value",
        61.7,
    ),
]


@pytest.mark.parametrize(("fmt", "pattern", "topic", "payload", "stream", "channel", "value"), CANONICAL)
def test_both_directions(
    fmt: Format, pattern: str, topic: str, payload: bytes, stream: str, channel: str, value: float
) -> None:
    sample = Sample(stream, ARRIVED, {channel: value})
    decoder = Decoder(Source(pattern, fmt))
    assert decoder.decode(Message(topic, payload, ARRIVED)) == [sample]
    assert encode(sample) == payload


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"21", 21.0),
        (b"+21", 21.0),
        (b"007", 7.0),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"1E3", 1000.0),
        (b"9223372036854775808", 2.0**63),
        (b"0.1000000000000000055511151231", 0.1),
        (b"ON", 1.0),
        (b"OFF", 0.0),
    ],
)
def test_also_reads(payload: bytes, value: float) -> None:
    decoder = Decoder(Source("a", "number", values={"ON": 1.0, "OFF": 0.0}))
    assert decoder.decode(Message("a", payload)) == [Sample("a", 0.0, {"value": value})]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b" ", "bad_type"),
        (b"1_000", "bad_type"),
        (b" 21.5\n", "bad_type"),
        (b"21.5\n", "bad_type"),
        (b"21,5", "bad_type"),
        (b"0x10", "bad_type"),
        (b"1e", "bad_type"),
        (b"True", "bad_type"),
        (b"ON", "bad_type"),
        (b"21.5 \xc2\xb0C", "bad_type"),
        ("٢١".encode(), "bad_type"),
        (b"\xef\xbb\xbf21.5", "bad_type"),
        (b"1" * 33, "bad_type"),
        (b'{"v": 1}', "bad_type"),
        (b"\xff\xfe", "bad_utf8"),
        (b"1e400", "not_finite"),
        (b"inf", "not_finite"),
        (b"-Infinity", "not_finite"),
        (b"nan", "missing"),
        (b"NaN", "missing"),
        (b"unknown", "missing"),
        (b"unavailable", "missing"),
        (b"None", "missing"),
        (b"1" * 65_537, "too_large"),
    ],
)
def test_refuses(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        Decoder(Source("a", "number")).decode(Message("a", payload))
    assert caught.value.reason == reason


def test_channels_pick_and_rename_the_topics_channel() -> None:
    source = Source("{stream}/sensor/{channel}/state", "esphome", channels={"temperature": "living_temp"})
    decoder = Decoder(source)
    assert decoder.decode(Message("box/sensor/living_temp/state", b"21.5", ARRIVED)) == [
        Sample("box", ARRIVED, {"temperature": 21.5})
    ]
    with pytest.raises(PayloadError, match="'wifi_signal' is not one of living_temp") as caught:
        decoder.decode(Message("box/sensor/wifi_signal/state", b"-61", ARRIVED))
    assert caught.value.reason == "missing_field"


def test_a_channel_without_path_names_the_value() -> None:
    decoder = Decoder(Source("a", "number", channels={"temperature": ""}))
    assert decoder.decode(Message("a", b"1")) == [Sample("a", 0.0, {"temperature": 1.0})]


@pytest.mark.parametrize(
    "source",
    [
        Source("a", "number", time="ts"),
        Source("a", "esphome", records="r"),
        Source("a", "statestream", period_s=1.0),
        Source("a", "number", values={"ON": float("nan")}),
        Source("a", "number", channels={"": ""}),
        Source("{channel}", "number", channels={"a": "x", "b": "x"}),
    ],
)
def test_refused_sources(source: Source) -> None:
    with pytest.raises(ConfigError):
        Decoder(source)
