"""The MQTT connection: paho-mqtt, driven from outside by the one thread that owns it.

Rules:
1. Nothing here blocks but ``wait``, and making a connection (bounded).
2. A callback only notes what happened, and never raises.
3. A message is acknowledged after what follows from it was published, and not while much of that still waits for the
   broker. So the broker holds back what we can't take, and what we had not finished comes again after a crash.
4. While the broker does not take what we write, we don't read; TCP passes that on. A broker that waits for us in turn
   is cut off by the keepalive.
"""

import logging
import random
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_lstm.daemon.broker import Broker
from edge_lstm.daemon.client import new_client
from edge_lstm.daemon.hearing import LULL_S, Hearing
from edge_lstm.daemon.inbox import Inbox
from edge_lstm.messages import Message

BATCH = 131_072  # bytes of messages, read before they are handled
QUEUE = 4096  # of ours that wait for the broker's acknowledgement; more are dropped
HELD = QUEUE // 4  # beyond this, what we received stays unacknowledged, and is kept for later
INFLIGHT_5 = 10  # MQTT 5 brokers may limit this, to 10 or more as a rule; paho does not look at what they say
SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0

log = logging.getLogger(__name__)


class Link:
    """One connection to a broker, made again for ever.

    Args:
        broker: where, and as whom.
        filters: to subscribe to.
        status_topic: where ``online`` and ``offline`` are kept; empty for a guest that only listens.
        greeting: what to publish on every connection, before ``online``.

    Attributes:
        connected: the broker has accepted us.
        failure: why there is no connection.
        connects: how often there was one.
        hearing: the clock that silence is measured on.
        inbox: what has arrived.
        bad_topics: messages dropped because their topic was not UTF-8.
        unsent: messages of ours dropped because the broker was away, or too slow.
    """

    def __init__(
        self, broker: Broker, filters: list[str], status_topic: str = "", greeting: Sequence[Message] = ()
    ) -> None:
        self.connected = False
        self.failure = ""
        self.connects = 0
        self.hearing = Hearing()
        self.inbox = Inbox()
        self.bad_topics = 0
        self.unsent = 0
        self.poller = select.poll()
        self._mqtt = broker.mqtt
        self._filters = filters
        self._status_topic = status_topic
        self._greeting = greeting
        self._unacknowledged: list[tuple[int, int]] = []  # message id and QoS, of this connection
        self._waiting: deque[MQTTMessageInfo] = deque()
        # Without a limit all that we publish is on its way before we acknowledge what it follows from.
        self._inflight = INFLIGHT_5 if broker.mqtt.protocol == "5" else 0
        self._socket: Any = None
        self._events = select.POLLIN
        self._blocked = False
        self._since = 0.0  # when the connection was accepted
        self._retry_at = 0.0
        self._retry_s = SHORTEST_RETRY_S
        self._subscribe_at = float("inf")
        self._client = self._attach(new_client(broker, status_topic, self._inflight, QUEUE))

    def _attach(self, client: Client) -> Client:
        """Have paho tell us what happens."""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = _write_later
        return client

    # what the loop calls

    def wait(self, timeout_s: float) -> None:
        """Sleep until the socket is ready, a signal came, or the time is up."""
        if not self._blocked and (self._decrypted() or (self.inbox and self.unconfirmed() < HELD)):
            timeout_s = 0.0
        if self._socket is not None:
            reads = 0 if self._blocked else select.POLLIN
            writes = select.POLLOUT if self._client.want_write() else 0
            if self._events != reads | writes:
                self._events = reads | writes
                self.poller.modify(self._socket, self._events)
        ready = self.poller.poll(max(0.0, timeout_s) * 1000.0)
        if self._socket is not None and dict(ready).get(self._socket.fileno(), 0) & select.POLLIN:
            self.hearing.hear(time.monotonic(), time.time())

    def receive(self) -> list[Message]:
        """Return what has arrived, up to a batch of it; nothing while too much of ours waits for the broker.

        A broker may send far more than it was acknowledged (Mosquitto 2.0.11 does), and its confirmations come on the
        same socket, so we go on reading, and keep.
        """
        if self._blocked:
            return []
        inbox, read = self.inbox, self._client.loop_read
        enough = inbox.arrived + BATCH
        before = -1
        # loop_read takes one packet and does not tell whether there was one, so: until it brings no message
        while inbox.arrived < enough and (before < inbox.arrived or self._decrypted()):
            before = inbox.arrived
            if read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        if self.unconfirmed() >= HELD and not inbox.full:
            return []
        return inbox.take(HELD)  # so that what follows from one batch has room in the queue

    def _decrypted(self) -> bool:
        """Tell whether TLS holds bytes that ``poll`` can't see."""
        pending = getattr(self._socket, "pending", None)
        return pending is not None and pending() > 0

    def publish(self, message: Message) -> None:
        """Queue a message; ``flush`` sends it."""
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
        self._blocked = self._client.want_write()

    def acknowledge(self) -> None:
        """Tell the broker that what was received is done with, unless too much of ours waits for it."""
        if self._unacknowledged and not self.inbox and self.unconfirmed() < (self._inflight or HELD):
            for mid, qos in self._unacknowledged:
                self._client.ack(mid, qos)
            self._unacknowledged.clear()

    def unconfirmed(self) -> int:
        """Return how many messages of ours the broker has not acknowledged."""
        while self._waiting and self._waiting[0].is_published():
            self._waiting.popleft()
        return len(self._waiting)

    def tend(self) -> None:
        """Do what is due: keepalive, connecting again, subscribing again, asking. To be called once a second."""
        now = time.monotonic()
        if self._socket is not None:
            self._client.loop_misc()
            if now >= self._subscribe_at:
                self._subscribe()
            if self._status_topic and self.hearing.on and not self._blocked and self.hearing.lull_s(now) >= LULL_S:
                # Brokers answer this even if we never subscribed to it (3.10.4); paho offers no way to send a ping.
                self._client.unsubscribe(self._status_topic)
        elif now >= self._retry_at:
            self._back_off()
            self._connect()
        self.flush()

    def _back_off(self) -> None:
        """Put the next attempt off, each time longer, at a time of our own among many clients."""
        self._retry_at = time.monotonic() + self._retry_s * random.uniform(0.5, 1.5)
        self._retry_s = min(2.0 * self._retry_s, LONGEST_RETRY_S)

    def _connect(self) -> None:
        url = self._mqtt.url
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:  # a name that can't be encoded is a ValueError
            reason = getattr(error, "strerror", None) or str(error)
            self._fail(f"{url.hostname}:{self._mqtt.port}: {reason}")

    def _fail(self, reason: str) -> None:
        if reason != self.failure:
            log.warning("no connection to the broker: %s; trying again", reason)
        self.failure = reason

    def close(self, timeout_s: float) -> None:
        """Send what waits, and leave in good order; if that takes too long, leave the last word to the will."""
        deadline = time.monotonic() + timeout_s
        settled = self._settle(deadline)
        if self._status_topic and settled:
            self.publish(Message(self._status_topic, b"offline", retain=True, qos=1))
            settled = self._settle(deadline)
        self.connected = False  # so that what paho says now is not taken for a loss
        if settled:
            self._client.disconnect()
            self.flush()

    def _settle(self, deadline: float) -> bool:
        """Tell whether the broker has everything of ours; what comes in meanwhile stays unacknowledged."""
        self.flush()
        while self.connected and (self._blocked or self.unconfirmed()) and time.monotonic() < deadline:
            self._blocked = False
            self.wait(0.1)
            self.receive()
            self.flush()
        return self.connected and not self._blocked and not self.unconfirmed()

    # what paho calls

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.qos:
            self._unacknowledged.append((message.mid, message.qos))
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.bad_topics += 1
            return
        self.inbox.put(Message(topic, bytes(message.payload), time.time(), message.retain, message.qos))

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._retry_s = LONGEST_RETRY_S  # a wrong password does not mend in a second
            self._back_off()
            self._fail(f"the broker refused us: {reason}")
            return
        again = "" if self.connects == 0 else " again"
        lost = self.connects and not self._mqtt.clean and not flags.session_present
        log.info("connected%s to %s:%d", again, self._mqtt.url.hostname, self._mqtt.port)
        if lost:
            log.warning("the broker has forgotten our session; messages sent meanwhile are lost")
        self.connected = True
        self.connects += 1
        self.failure = ""
        self._since = time.monotonic()
        self._unacknowledged.clear()
        self._subscribe()
        for message in self._greeting:
            self.publish(message)
        if self._status_topic:
            self.publish(Message(self._status_topic, b"online", retain=True))  # QoS 0: no full queue can refuse it

    def _subscribe(self) -> None:
        self._subscribe_at = float("inf")
        self._client.subscribe([(topic, self._mqtt.qos) for topic in self._filters])

    def _on_subscribe(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        for topic, reason in zip(self._filters, reasons, strict=False):
            if reason.is_failure:
                log.error("the broker refuses the subscription to %s: %s; asking again in a minute", topic, reason)
                self._subscribe_at = time.monotonic() + 60.0
        self.hearing.on = True

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if not self.connected:  # refused, or said twice
            return
        self.connected = False
        self._unacknowledged.clear()  # their numbers mean nothing to another connection
        self.hearing.on = False
        lived = time.monotonic() - self._since
        if lived >= LONGEST_RETRY_S:
            self._retry_s = SHORTEST_RETRY_S
        self._back_off()
        hint = "; is another client using our client_id?" if lived < 5.0 and self.connects > 2 else ""
        self._fail(f"lost after {lived:.0f} s: {reason}{hint}")

    def _on_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        self._socket = sock
        self._blocked = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._events = select.POLLIN
        self.poller.register(sock, self._events)

    def _on_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        self.poller.unregister(sock)
        self._socket = None
        self._blocked = False


def _write_later(client: Client, userdata: Any, sock: Any) -> None:
    """Keep paho from writing at once; ``flush`` does it for a whole batch."""
