"""A ledger for runs too long to remember: what is settled is forgotten, so that it takes no more memory after hours.

What a sample's score has to be is worked out when it is sent, by a pipeline that nothing ever happens to.
"""

import json
import threading
import time
from typing import Any

from paho.mqtt.client import Client, MQTTMessage

from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline
from tests.daemon.conftest import wait_for
from tests.faults.clients import session
from tests.faults.ledger import same_score

REMEMBERED = 100_000  # scores that can still be told from a second one that says something else

Key = tuple[str, float]  # topic of the score, and the sample's time


class RollingLedger:
    """Sends samples, and holds their scores against those of an undisturbed pipeline as they come.

    Args:
        port: the broker's, on this machine.
        pipeline: set up as the daemon's.

    Attributes:
        sent: samples.
        garbage: messages that are none.
        scored: samples that have their score.
        wrong: scores other than the pipeline's, or of a sample that was never sent.
        flagged: scores whose quality is another than the pipeline's.
        duplicates: second scores of a sample.
        differing: of these, those that say something else than the first.
        reordered: scores that came after one of a later sample.
        alerts: messages about alerts.
        last: the last message on each of the daemon's own topics.
    """

    COUNTS = ("sent", "garbage", "scored", "wrong", "flagged", "duplicates", "differing", "reordered", "alerts")

    def __init__(self, port: int, pipeline: Pipeline) -> None:
        self.sent = self.garbage = self.scored = self.wrong = self.flagged = 0
        self.duplicates = self.differing = self.reordered = self.alerts = 0
        self.last: dict[str, bytes] = {}
        self._pipeline = pipeline
        self._open: dict[Key, bytes] = {}  # what is yet to come
        self._done: dict[Key, bytes] = {}
        self._latest: dict[str, float] = {}
        self._lock = threading.Lock()  # around the two above
        self._unconfirmed = 0
        self._subscribed = threading.Event()
        self._publisher = session("publisher", port)
        self._publisher.on_publish = self._on_publish
        self._collector = session("collector", port)
        self._collector.on_message = self._on_message
        self._collector.on_connect = lambda client, *rest: client.subscribe("edge-lstm/#", 1)
        self._collector.on_subscribe = lambda *rest: self._subscribed.set()
        for client in (self._publisher, self._collector):
            client.loop_start()
        wait_for(self._publisher.is_connected, "the publisher's connection")
        wait_for(self._subscribed.is_set, "the collector's subscription")

    # sending

    def send(self, samples: list[Message]) -> None:
        """Publish samples."""
        expected = {key_of(score): score.payload for score in self._pipeline.handle(samples) if is_score(score.topic)}
        with self._lock:
            self._open |= expected
        self.sent += len(expected)
        for sample in samples:
            self._publish(sample.topic, sample.payload)

    def litter(self, topic: str, payload: bytes) -> None:
        """Publish something that is no sample."""
        self.garbage += 1
        self._publish(topic, payload)

    def _publish(self, topic: str, payload: bytes) -> None:
        with self._lock:
            self._unconfirmed += 1
        self._publisher.publish(topic, payload, qos=1)

    def _on_publish(self, client: Client, userdata: Any, *rest: object) -> None:
        with self._lock:
            self._unconfirmed -= 1

    # collecting

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if is_score(message.topic):
            with self._lock:
                self._settle(message)
        elif message.topic.endswith("/alert"):
            self.alerts += 1
        else:
            self.last[message.topic] = message.payload

    def _settle(self, message: MQTTMessage) -> None:
        """Cross a score off."""
        came = Message(message.topic, message.payload)
        key = key_of(came)
        expected = self._open.pop(key, None)
        if expected is None:
            self._again(key, came.payload, message.dup)
            return
        self.scored += 1
        self.wrong += not same_score(came.payload, expected)
        self.flagged += json.loads(came.payload)["quality"] != json.loads(expected)["quality"]
        self.reordered += key[1] < self._latest.get(key[0], key[1])
        self._latest[key[0]] = key[1]
        self._done[key] = came.payload
        if len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]

    def _again(self, key: Key, payload: bytes, by_broker: bool) -> None:
        """Note a score of a sample that has one, or never was."""
        if key not in self._done:
            self.wrong += 1
        elif not by_broker:  # which may send what it had sent before
            self.duplicates += 1
            self.differing += payload != self._done[key]

    # the books

    @property
    def waiting(self) -> int:
        """How many samples have no score yet."""
        return len(self._open)

    def settle(self, timeout_s: float = 120.0) -> None:
        """Wait until the broker has all samples; and every sample its score, or the time is up."""
        wait_for(lambda: not self._unconfirmed, "the broker to take over all samples", timeout_s)
        deadline = time.monotonic() + timeout_s
        while self._open and time.monotonic() < deadline:
            time.sleep(0.05)

    def figures(self) -> dict[str, int]:
        """Return what was counted so far."""
        return {name: getattr(self, name) for name in self.COUNTS} | {"waiting": self.waiting}

    def stats(self) -> dict[str, Any]:
        """Return the daemon's last counts."""
        return dict(json.loads(self.last.get("edge-lstm/stats", b"{}")))

    def close(self) -> None:
        """Leave the broker."""
        for client in (self._publisher, self._collector):
            client.disconnect()
            client.loop_stop()


def is_score(topic: str) -> bool:
    """Tell whether a score is published there."""
    return topic.endswith("/score")


def key_of(score: Message) -> Key:
    """Return whose score it is."""
    return score.topic, json.loads(score.payload)["t"]
