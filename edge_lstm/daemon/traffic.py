"""Messages over a connection: those that come in, their acknowledgement, and ours that go out.

Most go over the wire; those that paho has to see, and all where there is no wire, go through paho.
"""

import time
from collections import deque
from functools import lru_cache
from itertools import islice
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode

from edge_lstm.daemon.inbox import Inbox
from edge_lstm.daemon.packets import write_puback, write_publish
from edge_lstm.daemon.wire import Wire, WiredClient
from edge_lstm.messages import Message
from edge_lstm.stages.topics import MAX_TOPIC_BYTES

QUEUE = 4096  # of ours that wait for the broker's acknowledgement; more are dropped
HELD = QUEUE // 4  # beyond this, what we received stays unacknowledged, and is kept for later


class Traffic:
    """What goes to and fro over a client's connections.

    Args:
        client: paho's.
        five: MQTT 5 is spoken.
        inflight: messages sent before the broker acknowledged the first; 0 for any number.

    Attributes:
        inbox: what has arrived.
        bad_topics: messages dropped because their topic was not UTF-8.
        unsent: messages of ours dropped because the broker was away, or too slow.
        blocked: the socket did not take all that we wrote.
    """

    def __init__(self, client: Client, five: bool, inflight: int) -> None:
        self.inbox = Inbox()
        self.bad_topics = 0
        self.unsent = 0
        self.blocked = False
        self._client = client
        self._five = five
        self._inflight = inflight
        self._socket: Any = None
        self.wire: Wire | None = None
        self._unacknowledged: list[tuple[int, int]] = []  # message id and QoS, of this connection
        self._waiting: deque[MQTTMessageInfo] = deque()
        client.on_message = self._on_message
        client.on_socket_register_write = _write_later

    def use(self, sock: Any) -> None:
        """Go on over another socket; ``None`` for none."""
        self._socket = sock
        self.wire = sock if isinstance(sock, Wire) else None
        self.blocked = False

    def forget(self) -> None:
        """Acknowledge nothing that came so far: its numbers mean nothing to another connection."""
        self._unacknowledged.clear()

    def ready(self) -> bool:
        """Tell whether there is something to do that ``poll`` can't see."""
        return not self.blocked and (self._pending() or (bool(self.inbox) and self.unconfirmed() < HELD))

    def receive(self) -> list[Message]:
        """Return what has arrived, up to a batch of it; nothing while too much of ours waits for the broker.

        A broker may send far more than it was acknowledged (Mosquitto 2.0.11 does), and its confirmations come on the
        same socket, so we go on reading, and keep.
        """
        if self.blocked:
            return []
        if self.wire is None:
            self._read_through_paho()
        else:
            self._read(self.wire)
        if self.unconfirmed() >= HELD and not self.inbox.full:
            return []
        return self.inbox.take(HELD)  # so that what follows from one batch has room in the queue

    def _read(self, wire: Wire) -> None:
        """Take in what came in one piece."""
        if wire.fill() and isinstance(self._client, WiredClient):
            self._client.heard()
        while True:
            for packet in islice(wire.publishes(), HELD):
                if packet.mid:
                    self._unacknowledged.append((packet.mid, 1))
                try:
                    topic = _text(packet.topic)
                except UnicodeDecodeError:
                    self.bad_topics += 1
                    continue
                self.inbox.put(Message(topic, packet.payload, time.time(), packet.retain, int(packet.mid > 0)))
            if not (wire.foreign or wire.failed) or self._client.loop_read() or wire.foreign:
                return

    def _read_through_paho(self) -> None:
        """Take in what came, packet by packet."""
        before, enough = -1, len(self.inbox) + HELD
        # loop_read takes one packet and does not tell whether there was one, so: until it brings no message
        while before < len(self.inbox) < enough or self._pending():
            before = len(self.inbox)
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break

    def _pending(self) -> bool:
        """Tell whether there are bytes to read that ``poll`` can't see."""
        pending = getattr(self._socket, "pending", None)
        return pending is not None and pending() > 0

    def publish(self, message: Message) -> None:
        """Queue a message; ``flush`` sends it."""
        if self.wire is not None and message.qos == 0:
            self.wire.write(write_publish(message.topic, message.payload, message.retain, self._five))
            return
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if message.qos:
                self._waiting.append(info)
        elif message.qos == 0 or info.rc != MQTTErrorCode.MQTT_ERR_NO_CONN:  # else it is sent when there is one
            self.unsent += 1

    def flush(self) -> None:
        """Write what the socket takes."""
        if self._client.want_write():
            self._client.loop_write()
        self.blocked = self._client.want_write()
        if self.wire is not None:
            self.blocked = not self.wire.flush()
            if self.wire.failed:
                self._client.loop_read()  # so that paho finds out

    def acknowledge(self) -> None:
        """Tell the broker that what was received is done with, unless too much of ours waits for it."""
        if self._unacknowledged and not self.inbox and self.unconfirmed() < (self._inflight or HELD):
            if self.wire is not None and self._client.want_write():
                self._client.loop_write()  # what follows from them goes onto the wire before
            for mid, qos in self._unacknowledged:
                if self.wire is not None and qos == 1:
                    self.wire.write(write_puback(mid))
                else:
                    self._client.ack(mid, qos)
            self._unacknowledged.clear()

    def unconfirmed(self) -> int:
        """Return how many messages of ours the broker has not acknowledged."""
        while self._waiting and self._waiting[0].is_published():
            self._waiting.popleft()
        return len(self._waiting)

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.qos:
            self._unacknowledged.append((message.mid, message.qos))
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.bad_topics += 1
            return
        self.inbox.put(Message(topic, bytes(message.payload), time.time(), message.retain, message.qos))


def _write_later(client: Client, userdata: Any, sock: Any) -> None:
    """Keep paho from writing at once; ``flush`` does it for a whole batch."""


def _text(topic: bytes) -> str:
    return topic.decode() if len(topic) > MAX_TOPIC_BYTES else _known_text(topic)


@lru_cache(maxsize=16_384)
def _known_text(topic: bytes) -> str:
    return topic.decode()
