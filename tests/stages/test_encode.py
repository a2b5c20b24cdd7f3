"""Results to bytes: one table of results and their JSON, read in both directions."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_lstm.messages import Alert, Cause, Score
from edge_lstm.stages.encode import alert_topic, encode_alert, encode_score, score_topic

SCORES = [
    (
        Score("home/kitchen", 1700000000.25, 0.999, 3.0, "ok", True, "forecast", "ab12cd34"),
        b'{"stream":"home/kitchen","t":1700000000.25,"score":0.999,"surprise":3.0,"quality":"ok",'
        b'"alert":true,"reason":"forecast","model":"ab12cd34"}',
    ),
    (
        Score("s", 0.1, None, None, "warming_up", False, "", "m"),
        b'{"stream":"s","t":0.1,"score":null,"surprise":null,"quality":"warming_up",'
        b'"alert":false,"reason":"","model":"m"}',
    ),
]
ALERTS = [
    (
        Alert(
            "s", "start", 3.0, 1.0, 2.0, None, 2.0, 6.5, 5.0, "forecast",
            (Cause("temperature", 7.5, 80.0, 21.5, 20.0, 23.0, "Cel"),), "m",
        ),
        b'{"stream":"s","phase":"start","t":3.0,"start":1.0,"peak":2.0,"end":null,'
        b'"duration_s":2.0,"strength":6.5,"level":5.0,"reason":"forecast","causes":'
        b'[{"channel":"temperature","blame":7.5,"observed":80.0,"expected":21.5,"low":20.0,'
        b'"high":23.0,"unit":"Cel"}],"model":"m"}',
    ),
    (
        Alert("s", "end", 9.0, 1.0, 2.0, 9.0, 8.0, 6.5, 5.0, "silence", (), "m"),
        b'{"stream":"s","phase":"end","t":9.0,"start":1.0,"peak":2.0,"end":9.0,'
        b'"duration_s":8.0,"strength":6.5,"level":5.0,"reason":"silence","causes":[],"model":"m"}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("score", "payload"), SCORES)
def test_score(score: Score, payload: bytes) -> None:
    assert encode_score(score) == payload
    assert msgspec.json.decode(payload, type=Score) == score


@pytest.mark.parametrize(("alert", "payload"), ALERTS)
def test_alert(alert: Alert, payload: bytes) -> None:
    assert encode_alert(alert) == payload
    assert msgspec.json.decode(payload, type=Alert) == alert


@given(st.floats())
def test_floats_come_back_and_nan_never_goes_out(value: float) -> None:
    payload = encode_score(Score("s", 0.0, value, None, "ok", False, "", "m"))
    back: Any = msgspec.json.decode(payload)["score"]
    assert back == (value if math.isfinite(value) else None)


@pytest.mark.parametrize(
    ("stream", "topic"),
    [
        ("home/kitchen", "edge/home/kitchen/score"),
        ("/home/", "edge//home//score"),
        ("$SYS", "edge/$SYS/score"),
        ("a+b/#\x00\n", "edge/a%2Bb/%23%00%0A/score"),
        ("\udc80", "edge/%ED%B2%80/score"),
        ("a\x80\ufffe\ufdd0\U0010ffff", "edge/a%C2%80%EF%BF%BE%EF%B7%90%F4%8F%BF%BF/score"),
        ("a%2Bb", "edge/a%252Bb/score"),
    ],
)
def test_topics(stream: str, topic: str) -> None:
    assert score_topic("edge", stream) == topic
    assert alert_topic("edge", stream) == topic.removesuffix("score") + "alert"
