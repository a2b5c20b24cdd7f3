"""Messages over a connection: those that come in, their acknowledgement, and ours that go out.

Most go over the wire; those that paho has to see, and all where there is no wire, go through paho.
"""

import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode

from edge_lstm.daemon.inbox import Inbox
from edge_lstm.daemon.packets import Publish, write_puback, write_publish
from edge_lstm.daemon.receipts import Receipts
from edge_lstm.daemon.wire import Wire, WiredClient
from edge_lstm.messages import Message

HELD = 1024  # messages handled at once; with more of ours unconfirmed, nothing is
QUEUE = 40 * HELD  # of ours that wait for the broker's confirmation, at most: what one batch may bring, and more
READS = 4  # chunks read before what they brought is handled


class Traffic:
    """What goes to and fro over a client's connections.

    Args:
        client: paho's.
        five: MQTT 5 is spoken.
        receipts: what is to be acknowledged.

    Attributes:
        inbox: what has arrived.
        received: messages that came, whatever became of them.
        bad_topics: messages dropped because their topic was not UTF-8.
        news: messages of QoS 0 that came; nobody sends them again.
        unsent: messages of ours dropped because the broker was away, or too slow.
        published: messages of ours of QoS 1 so far.
        blocked: the socket did not take all that we wrote.
        aside: takes messages that are none to be handled; tells of each whether it is one.
        lasting: the broker keeps what we leave with it.
        shed: messages of QoS 1 were left with the broker, which sends them again over another connection.
    """

    def __init__(self, client: Client, five: bool, receipts: Receipts) -> None:
        self.inbox = Inbox()
        self.receipts = receipts
        self.received = 0
        self.bad_topics = 0
        self.news = 0
        self.unsent = 0
        self.published = 0
        self.blocked = False
        self.lasting = True
        self.shed = False
        self.aside: Callable[[Message], bool] | None = None
        self._client = client
        self._five = five
        self._socket: Any = None
        self.wire: Wire | None = None
        self._waiting: deque[MQTTMessageInfo] = deque()
        client.on_message = self._on_message
        client.on_socket_register_write = _write_later

    def use(self, sock: Any) -> None:
        """Go on over another socket; ``None`` for none."""
        self._socket = sock
        self.wire = sock if isinstance(sock, Wire) else None
        self.blocked = False

    def lose(self) -> None:
        """Note that the connection is lost: what came over it is acknowledged over another one, if at all."""
        self.receipts.orphan()
        self.shed = False

    def ready(self) -> bool:
        """Tell whether there is something to do that ``poll`` can't see."""
        return not self.blocked and (self._pending() or (bool(self.inbox) and self.unconfirmed() < HELD))

    def receive(self) -> list[Message]:
        """Return what has arrived, up to a batch of it; nothing while too much of ours waits for the broker.

        A broker may send far more than it was acknowledged (Mosquitto before 2.0.13 does), and its confirmations come
        on the same socket, so we go on reading while we wait for them, and keep.
        """
        if self.blocked:
            return []
        waiting = self.unconfirmed() >= HELD
        if waiting or not self.inbox.busy:
            self.read()
        return [] if waiting else self.inbox.take(HELD)

    def read(self) -> None:
        """Take in what came, to be handled later."""
        if self.wire is None:
            self._read_through_paho()
        else:
            self._read(self.wire)

    def _read(self, wire: Wire) -> None:
        """Take in what came."""
        for _ in range(READS):
            came = wire.fill()
            if came and isinstance(self._client, WiredClient):
                self._client.heard()
            self._take(wire)
            if not came:
                return

    def _take(self, wire: Wire) -> None:
        """Take in what is there, and let paho have its part."""
        while True:
            for packet in islice(wire.publishes(), HELD):
                self._keep(packet)
            if not (wire.foreign or wire.failed) or self._client.loop_read() or wire.foreign:
                return

    def _keep(self, packet: Publish) -> None:
        """Keep a message, unless it is of no use or came before."""
        qos = int(packet.mid > 0)
        try:
            topic = packet.topic.decode()
        except UnicodeDecodeError:
            self._drop_topic(packet.mid, qos)
            return
        message = Message(topic, packet.payload, time.time(), packet.retain, qos)
        self._put(message, packet.mid, packet.again)

    def _put(self, message: Message, mid: int, again: bool) -> None:
        if self.aside is not None and not message.qos and self.aside(message):
            return
        inbox, receipts = self.inbox, self.receipts
        self.received += 1
        if not message.qos:
            self.news += 1
            inbox.put(message)
        elif again and receipts.again(mid, message):
            return
        elif (inbox.full or receipts.full) and not self.lasting:
            inbox.overflow += 1
        elif self.shed or inbox.full or receipts.full:
            self.shed = True  # and all that follow, to keep their order
            self.received -= 1
        else:
            before = inbox.put_in
            inbox.put(message)
            receipts.add(inbox.put_in, mid, message.qos, message if inbox.put_in > before else None)

    def _drop_topic(self, mid: int, qos: int) -> None:
        if mid and (self.shed or self.receipts.full):
            self.shed = True
            return
        self.received += 1
        self.bad_topics += 1
        if mid:
            self.receipts.add(self.inbox.put_in, mid, qos, None)

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
        queued = info.rc in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN)  # paho sends it later
        if message.qos and queued:
            info.rc = MQTTErrorCode.MQTT_ERR_SUCCESS  # else it raises when it is asked whether it got out
            self.published += 1
            self._waiting.append(info)
        elif info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
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

    def handled(self) -> None:
        """Note that what follows from all that was received is published."""
        self.receipts.handled(self.inbox.taken, self.published)

    def acknowledge(self) -> None:
        """Tell the broker which messages are done with."""
        self.receipts.confirmed(self.published - self.unconfirmed())
        done = self.receipts.take_done()
        if done and self.wire is not None and self._client.want_write():
            self._client.loop_write()  # what follows from them goes onto the wire before
        for mid, qos in done:
            if self.wire is not None and qos == 1:
                self.wire.write(write_puback(mid))
            else:
                self._client.ack(mid, qos)

    def unconfirmed(self) -> int:
        """Return how many messages of ours the broker has not acknowledged."""
        while self._waiting and self._waiting[0].is_published():
            self._waiting.popleft()
        return len(self._waiting)

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._drop_topic(message.mid, message.qos)
            return
        ours = Message(topic, bytes(message.payload), time.time(), message.retain, message.qos)
        self._put(ours, message.mid, message.dup)


def _write_later(client: Client, userdata: Any, sock: Any) -> None:
    """Keep paho from writing at once; ``flush`` does it for a whole batch."""
