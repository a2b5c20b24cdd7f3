"""The JSON dialects of zigbee2mqtt and Tasmota, with payloads as their manuals show them."""

import json

import pytest

from edge_lstm.errors import PayloadError
from edge_lstm.messages import Message, Sample
from edge_lstm.stages.decode import Decoder, Source

ARRIVED = 1_700_000_000.5

ZIGBEE: list[tuple[bytes, float, dict[str, float]]] = [
    (b'{"humidity":44.72,"temperature":27.34}', ARRIVED, {"humidity": 44.72, "temperature": 27.34}),
    (
        b'{"battery":97,"last_seen":1699999999250,"linkquality":120,"temperature":27.34,'
        b'"update":{"installed_version":16777241,"state":"idle"},"voltage":3015}',
        1699999999.25,
        {"temperature": 27.34, "voltage": 3015.0},
    ),
    (
        b'{"last_seen":"2023-11-14T23:13:19+01:00","elapsed":60,"power":4.5,"state":"ON"}',
        1699999999.0,
        {"power": 4.5},
    ),
    (b'{"temperature":null,"humidity":40}', ARRIVED, {"humidity": 40.0}),
]


@pytest.mark.parametrize(("payload", "t", "values"), ZIGBEE)
def test_zigbee2mqtt(payload: bytes, t: float, values: dict[str, float]) -> None:
    decoder = Decoder(Source("zigbee2mqtt/{stream}", "zigbee2mqtt"))
    message = Message("zigbee2mqtt/cellar", payload, ARRIVED)
    assert decoder.decode(message) == [Sample("cellar", t, values)]


def test_zigbee2mqtt_canonical_payload_is_what_it_would_publish() -> None:
    payload, _, values = ZIGBEE[0]
    assert json.dumps(values, separators=(",", ":")).encode() == payload


def test_zigbee2mqtt_channels_may_name_what_is_else_left_out() -> None:
    source = Source(
        "z/+",
        "zigbee2mqtt",
        channels={"battery": "battery", "on": "state", "version": "update.version"},
        values={"ON": 1.0},
    )
    payload = b'{"battery":97,"state":"ON","update":{"version":3}}'
    assert Decoder(source).decode(Message("z/a", payload, ARRIVED)) == [
        Sample("z/a", ARRIVED, {"battery": 97.0, "on": 1.0, "version": 3.0})
    ]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"action":"single","linkquality":78}', "missing_field"),
        (b'{"state":"online"}', "missing_field"),
        (b'{"last_seen":"yesterday","temperature":1}', "bad_time"),
        (b"online", "bad_json"),
    ],
)
def test_zigbee2mqtt_refuses(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        Decoder(Source("z/#", "zigbee2mqtt")).decode(Message("z/a", payload))
    assert caught.value.reason == reason


TASMOTA: list[tuple[bytes, dict[str, float]]] = [
    (
        b'{"Time":"2023-11-14T22:13:19","AM2301":{"Temperature":21.5,"Humidity":40.2}}',
        {"AM2301.Temperature": 21.5, "AM2301.Humidity": 40.2},
    ),
    (
        b'{"Time":"2023-11-14T22:13:19","DS18B20":{"Id":"0000083FA57C","Temperature":20.5},"TempUnit":"C"}',
        {"DS18B20.Temperature": 20.5},
    ),
    (
        b'{"Time":"2023-11-14T22:13:19","Epoch":1699999999,"ENERGY":{"TotalStartTime":'
        b'"2019-08-25T10:30:00","Total":0.5,"Power":[10,20]}}',
        {"ENERGY.Total": 0.5, "ENERGY.Power[0]": 10.0, "ENERGY.Power[1]": 20.0},
    ),
]


@pytest.mark.parametrize(("payload", "values"), TASMOTA)
def test_tasmota(payload: bytes, values: dict[str, float]) -> None:
    message = Message("tele/boiler/SENSOR", payload, ARRIVED)
    for time, t in (("", ARRIVED), ("Time", 1699999999.0)):
        decoder = Decoder(Source("tele/{stream}/SENSOR", "tasmota", time=time))
        assert decoder.decode(message) == [Sample("boiler", t, values)]


def test_tasmota_canonical_payload_is_what_it_would_publish() -> None:
    payload, values = TASMOTA[0]
    nested = {"Temperature": values["AM2301.Temperature"], "Humidity": values["AM2301.Humidity"]}
    whole = {"Time": "2023-11-14T22:13:19", "AM2301": nested}
    assert json.dumps(whole, separators=(",", ":")).encode() == payload


def test_tasmota_null_from_a_broken_sensor_is_missing() -> None:
    payload = b'{"Time":"2023-11-14T22:13:19","AM2301":{"Temperature":null,"Humidity":null}}'
    with pytest.raises(PayloadError) as caught:
        Decoder(Source("tele/+/SENSOR", "tasmota")).decode(Message("tele/a/SENSOR", payload))
    assert caught.value.reason == "missing"
