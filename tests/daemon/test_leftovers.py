"""What a killed daemon left at the broker: alerts that nobody would ever end."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge_lstm.messages import Alert
from tests.daemon.conftest import Broker, Daemon, Listener, wait_for
from tests.daemon.test_end_to_end import online, options

pytestmark = pytest.mark.broker

Listen = Callable[..., Listener]
Start = Callable[..., Daemon]
STARTED = Alert("plant/pump/data", "start", 9.0, 5.0, 7.0, None, 0.0, 8.0, 6.0, "forecast", (), "model")


def ends(listener: Listener, topic: str) -> list[dict[str, object]]:
    return [alert for payload in listener.payloads(topic) if (alert := json.loads(payload))["phase"] == "end"]


def test_an_alert_that_was_left_is_ended(broker: Broker, listen: Listen, start: Start, weights: Path) -> None:
    listener = listen()
    left = "edge-lstm/plant/pump/data/alert"
    over = "edge-lstm/plant/fan/data/alert"
    ended = msgspec.structs.replace(STARTED, stream="plant/fan/data", phase="end", end=9.0)
    others = "somebody/else/alert"
    for topic, payload in (
        (left, msgspec.json.encode(STARTED)),
        (over, msgspec.json.encode(ended)),
        (others, msgspec.json.encode(STARTED)),
        ("edge-lstm/odd/alert", b"\xff not of ours"),
        ("edge-lstm/deep/alert", b'{"x":' + b"[" * 30_000),
    ):
        listener.publish(topic, payload, retain=True)
    daemon = start(*options(broker, weights))
    wait_for(lambda: ends(listener, left), "an end of what was left")
    [end] = ends(listener, left)
    assert (end["phase"], end["start"], end["end"], end["duration_s"]) == ("end", 5.0, 9.0, 4.0)
    online(daemon, listener)
    listener.publish("plant/pump/data", b'{"t": 1, "c0": 1, "c1": 2, "c2": 3}')
    wait_for(lambda: listener.payloads("edge-lstm/plant/pump/data/score"), "a score")
    code, log = daemon.end()
    assert code == 0, log
    stats = json.loads(listener.payloads("edge-lstm/stats")[-1])
    assert stats["received"] == 1
    assert "own_topic" not in stats["dropped"]
    late = listen("#")
    wait_for(lambda: late.payloads(others), "what is kept")
    assert ends(late, left) == [end]
    assert json.loads(late.payloads(others)[0])["phase"] == "start"


def test_nothing_of_ours_stays_subscribed(broker: Broker, listen: Listen, start: Start, weights: Path) -> None:
    """Our own scores would come back, for ever."""
    listener = listen()
    daemon = start(*options(broker, weights))
    online(daemon, listener)
    wait_for(lambda: listener.payloads("edge-lstm/stats"), "stats")
    before = len(listener.payloads("edge-lstm/x/score"))
    listener.publish("edge-lstm/x/score", b"1")
    wait_for(lambda: len(listener.payloads("edge-lstm/x/score")) > before, "it to come by")
    code, log = daemon.end(signal.SIGINT)
    assert code == 0, log
    assert json.loads(listener.payloads("edge-lstm/stats")[-1])["received"] == 0
