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
import secrets
import select
import socket
import time
from collections import deque
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_lstm.daemon.broker import Broker
from edge_lstm.messages import Message

BATCH = 512  # messages read before they are handled
QUEUE = 4096  # of ours that wait for the broker's acknowledgement; more are dropped
HELD = QUEUE // 4  # beyond this, what we received stays unacknowledged
SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
SESSION_S = 86_400  # how long the broker keeps messages for us; MQTT 5
LARGEST_PACKET = 131_072  # bytes; MQTT 5, elsewhere the broker has to limit it
_CORK = getattr(socket, "TCP_CORK", None)

log = logging.getLogger(__name__)


class Link:
    """One connection to a broker, made again for ever.

    Args:
        broker: where, and as whom.
        filters: to subscribe to.
        status_topic: where ``online`` and ``offline`` are kept; empty for a guest that only listens.

    Attributes:
        connected: the broker has accepted us.
        failure: why there is no connection.
        connects: how often there was one.
        bad_topics: messages dropped because their topic was not UTF-8.
        unsent: messages of ours dropped because the broker was away, or too slow.
    """

    def __init__(self, broker: Broker, filters: list[str], status_topic: str = "") -> None:
        self.connected = False
        self.failure = ""
        self.connects = 0
        self.bad_topics = 0
        self.unsent = 0
        self.poller = select.poll()
        self._mqtt = broker.mqtt
        self._filters = filters
        self._status_topic = status_topic
        self._inbox: list[Message] = []
        self._unacknowledged: list[tuple[int, int]] = []  # message id and QoS, of this connection
        self._waiting: deque[MQTTMessageInfo] = deque()
        self._socket: Any = None
        self._blocked = False
        self._since = 0.0  # when the connection was accepted
        self._retry_at = 0.0
        self._retry_s = SHORTEST_RETRY_S
        self._subscribe_at = float("inf")
        self._deaf_since: float | None = time.monotonic()
        self._deaf_s = self._deaf_since or 0.0
        self._client = self._new_client(broker)

    def _new_client(self, broker: Broker) -> Client:
        mqtt = broker.mqtt
        five = mqtt.protocol == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=mqtt.client_id or f"edge-lstm-{secrets.token_hex(4)}",
            clean_session=None if five else mqtt.clean,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,  # we do that, and no silent step down to MQTT 3.1
            manual_ack=True,
        )
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls:
            client.tls_set_context(broker.tls)
        if self._status_topic:
            client.will_set(self._status_topic, b"offline", qos=1, retain=True)
        client.max_queued_messages_set(QUEUE)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = _write_later
        host, keepalive = mqtt.url.hostname or "", mqtt.keepalive_s
        if five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if mqtt.clean else SESSION_S
            properties.MaximumPacketSize = LARGEST_PACKET
            client.connect_async(host, mqtt.port, keepalive, clean_start=mqtt.clean, properties=properties)
        else:
            client.connect_async(host, mqtt.port, keepalive)
        return client

    # what the loop calls

    def wait(self, timeout_s: float) -> None:
        """Sleep until the socket is ready, a signal came, or the time is up."""
        if self._decrypted():
            return
        if self._socket is not None:
            reads = 0 if self._blocked else select.POLLIN
            writes = select.POLLOUT if self._client.want_write() else 0
            self.poller.modify(self._socket, reads | writes)
        self.poller.poll(max(0.0, timeout_s) * 1000.0)

    def receive(self) -> list[Message]:
        """Return what has arrived, up to a batch of it."""
        if self._blocked:
            return []
        inbox, read = self._inbox, self._client.loop_read
        before = -1
        # loop_read takes one packet and does not tell whether there was one, so: until it brings no message
        while len(inbox) < BATCH and (before < len(inbox) or self._decrypted()):
            before = len(inbox)
            if read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        self._inbox = []
        return inbox

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
            self._cork(1)
            self._client.loop_write()
            self._cork(0)
        self._blocked = self._client.want_write()

    def _cork(self, on: int) -> None:
        """Let the kernel gather many small packets into few segments."""
        if _CORK is not None and self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    def acknowledge(self) -> None:
        """Tell the broker that what was received is done with, unless too much of ours waits for it."""
        if self._unacknowledged and self.unconfirmed() < HELD:
            for mid, qos in self._unacknowledged:
                self._client.ack(mid, qos)
            self._unacknowledged.clear()

    def unconfirmed(self) -> int:
        """Return how many messages of ours the broker has not acknowledged."""
        while self._waiting and self._waiting[0].is_published():
            self._waiting.popleft()
        return len(self._waiting)

    def listening_s(self) -> float:
        """Return seconds on a steady clock that stands still while we can't hear anybody."""
        return (time.monotonic() if self._deaf_since is None else self._deaf_since) - self._deaf_s

    def tend(self) -> None:
        """Do what is due: keepalive, connecting again, subscribing again. To be called once a second."""
        now = time.monotonic()
        if self._socket is not None:
            self._client.loop_misc()
            if now >= self._subscribe_at:
                self._subscribe()
        elif now >= self._retry_at:
            self._back_off()
            self._connect()

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
        """Send what waits and leave in good order; what comes in meanwhile stays unacknowledged."""
        deadline = time.monotonic() + timeout_s
        if self._status_topic and self.connected:
            self.publish(Message(self._status_topic, b"offline", retain=True, qos=1))
        self.flush()
        while self.connected and (self._blocked or self.unconfirmed()) and time.monotonic() < deadline:
            self._blocked = False
            self.wait(0.1)
            self.receive()
            self.flush()
        self.connected = False  # so that what paho says now is not taken for a loss
        self._client.disconnect()
        self.flush()

    # what paho calls

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.qos:
            self._unacknowledged.append((message.mid, message.qos))
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.bad_topics += 1
            return
        self._inbox.append(Message(topic, bytes(message.payload), time.time(), message.retain, message.qos))

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
        if self._status_topic:
            self.publish(Message(self._status_topic, b"online", retain=True, qos=1))

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
        if self._deaf_since is not None:
            self._deaf_s += time.monotonic() - self._deaf_since
            self._deaf_since = None

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if not self.connected:  # refused, or said twice
            return
        self.connected = False
        self._unacknowledged.clear()  # their numbers mean nothing to another connection
        now = time.monotonic()
        self._deaf_since = now if self._deaf_since is None else self._deaf_since
        lived = now - self._since
        if lived >= LONGEST_RETRY_S:
            self._retry_s = SHORTEST_RETRY_S
        self._back_off()
        hint = "; is another client using our client_id?" if lived < 5.0 and self.connects > 2 else ""
        self._fail(f"lost after {lived:.0f} s: {reason}{hint}")

    def _on_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        self._socket = sock
        self._blocked = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.poller.register(sock, select.POLLIN)

    def _on_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        self.poller.unregister(sock)
        self._socket = None
        self._blocked = False


def _write_later(client: Client, userdata: Any, sock: Any) -> None:
    """Keep paho from writing at once; ``flush`` does it for a whole batch."""
