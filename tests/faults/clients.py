"""The ledger's two clients: one publishes numbered samples, one collects what the daemon publishes.

Both have sessions that the broker keeps, and reach it without detours, so what is lost is never lost by them. Their
keepalive is so long that they stay connected to a broker that hangs.
"""

import json
import math
import threading
import time
from collections import defaultdict
from itertools import count
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.daemon.conftest import WAIT_S, wait_for

EPOCH = 1_700_000_000  # event time of sample 0, Unix seconds; the next is a second later
KEEPALIVE_S = 7200
OUTSTANDING = 20_000  # samples that wait for the broker, at most: packet ids end at 65,535
_numbers = count()


def session(role: str, port: int) -> Client:
    """Return a client whose session the broker keeps, not yet connected."""
    client = Client(CallbackAPIVersion.VERSION2, f"{role}-{next(_numbers)}", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.max_inflight_messages_set(0)
    client.connect_async("127.0.0.1", port, KEEPALIVE_S)
    return client


def sample(stream: str, seq: int) -> tuple[str, bytes]:
    """Return the message that carries a stream's sample; always the same for the same numbers."""
    phase = hash_of(stream) + 0.1 * seq
    values = {f"c{channel}": round(8.0 * math.sin(phase * (channel + 1)), 2) for channel in range(3)}
    return f"plant/{stream}/data", json.dumps({"t": float(EPOCH + seq), **values}).encode()


def hash_of(stream: str) -> int:
    return sum(stream.encode())


class Publisher:
    """Publishes at QoS 1, and in order.

    After a loss of the connection paho sends again what was not acknowledged, but what it is given between the socket's
    opening and that would go out before. So nothing is published until the first of the old ones is acknowledged.

    Attributes:
        sent: streams, numbers and packet ids, in order.
    """

    def __init__(self, port: int) -> None:
        self.sent: list[tuple[str, int, int]] = []
        self._acknowledged: list[tuple[int, float]] = []
        self._ready = threading.Event()
        self._client = session("publisher", port)
        self._client.on_publish = self._on_publish
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *rest: self._ready.clear()
        self._client.loop_start()
        assert self._ready.wait(WAIT_S), "the publisher is not connected"

    def _on_connect(self, *rest: object) -> None:
        if not self.outstanding():
            self._ready.set()

    def _on_publish(self, client: Client, userdata: Any, mid: int, *rest: object) -> None:
        self._acknowledged.append((mid, time.monotonic()))
        self._ready.set()

    def publish(self, stream: str, seq: int) -> None:
        """Send a sample as soon as there is a connection, and room for it."""
        self._ready.wait()
        while self.outstanding() >= OUTSTANDING:
            time.sleep(0.01)
        info = self._client.publish(*sample(stream, seq), qos=1)
        self.sent.append((stream, seq, info.mid))

    def outstanding(self) -> int:
        """Return how many samples the broker has not taken over."""
        return len(self.sent) - len(self._acknowledged)

    def taken_over(self) -> dict[tuple[str, int], float]:
        """Return the samples that are the broker's responsibility, and since when, seconds on the steady clock."""
        times = defaultdict(list)
        for mid, at in self._acknowledged:
            times[mid].append(at)
        uses: dict[int, Any] = {mid: iter(at) for mid, at in times.items()}  # a packet id is used again and again
        found = ((stream, seq, next(uses.get(mid, iter(())), None)) for stream, seq, mid in self.sent)
        return {(stream, seq): at for stream, seq, at in found if at is not None}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Arrival(NamedTuple):
    """A message as it reached the collector."""

    at: float  # seconds on the steady clock
    topic: str
    payload: bytes
    again: bool  # the broker says that it may have sent it before: not the daemon's doing


class Collector:
    """Keeps everything that is published below a topic, at QoS 1.

    Attributes:
        arrivals: in order.
    """

    def __init__(self, port: int, topic: str = "edge-lstm/#") -> None:
        self.arrivals: list[Arrival] = []
        self._subscribed = False
        self._client = session("collector", port)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *rest: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *rest: setattr(self, "_subscribed", True)
        self._client.loop_start()
        wait_for(lambda: self._subscribed, "the collector's subscription")

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self.arrivals.append(Arrival(time.monotonic(), message.topic, message.payload, message.dup))

    def last(self, topic: str) -> bytes:
        """Return what came last to a topic; nothing if nothing did."""
        return next((arrival.payload for arrival in reversed(self.arrivals) if arrival.topic == topic), b"")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
