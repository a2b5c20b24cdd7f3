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
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_lstm.daemon.broker import Broker
from edge_lstm.daemon.client import new_client
from edge_lstm.daemon.hearing import LULL_S, Hearing
from edge_lstm.daemon.retry import LONGEST_RETRY_S, Retry
from edge_lstm.daemon.traffic import QUEUE, Traffic
from edge_lstm.messages import Message

INFLIGHT_5 = 10  # MQTT 5 brokers may limit this, to 10 or more as a rule; paho does not look at what they say

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
        traffic: messages in and out.
    """

    def __init__(
        self, broker: Broker, filters: list[str], status_topic: str = "", greeting: Sequence[Message] = ()
    ) -> None:
        self.connected = False
        self.failure = ""
        self.connects = 0
        self.hearing = Hearing()
        self.poller = select.poll()
        self._mqtt = broker.mqtt
        self._filters = filters
        self._status_topic = status_topic
        self._greeting = greeting
        self._socket: Any = None
        self._events = select.POLLIN
        self._since = 0.0  # when the connection was accepted
        self._retry = Retry()
        self._subscribe_at = float("inf")
        # Without a limit all that we publish is on its way before we acknowledge what it follows from.
        five = broker.mqtt.protocol == "5"
        inflight = INFLIGHT_5 if five else 0
        self._client = self._attach(new_client(broker, status_topic, inflight, QUEUE))
        self.traffic = Traffic(self._client, five, inflight)

    def _attach(self, client: Client) -> Client:
        """Have paho tell us what happens."""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        return client

    # what the loop calls

    def wait(self, timeout_s: float) -> None:
        """Sleep until the socket is ready, a signal came, or the time is up."""
        if self.traffic.ready():
            timeout_s = 0.0
        if self._socket is not None:
            events = select.POLLOUT if self.traffic.blocked else select.POLLIN
            if self._events != events:
                self._events = events
                self.poller.modify(self._socket, self._events)
        ready = self.poller.poll(max(0.0, timeout_s) * 1000.0)
        if self._socket is not None and dict(ready).get(self._socket.fileno(), 0) & select.POLLIN:
            self.hearing.hear(time.monotonic(), time.time())

    def tend(self) -> None:
        """Do what is due: keepalive, connecting again, subscribing again, asking. To be called once a second."""
        now = time.monotonic()
        if self._socket is not None:
            self._client.loop_misc()
            if now >= self._subscribe_at:
                self._subscribe()
            if (
                self._status_topic
                and self.hearing.on
                and not self.traffic.blocked
                and self.hearing.lull_s(now) >= LULL_S
            ):
                # Brokers answer this even if we never subscribed to it (3.10.4); paho offers no way to send a ping.
                self._client.unsubscribe(self._status_topic)
        elif now >= self._retry.at:
            self._retry.later(now)
            self._connect()
        self.traffic.flush()

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
            self.traffic.publish(Message(self._status_topic, b"offline", retain=True, qos=1))
            settled = self._settle(deadline)
        self.connected = False  # so that what paho says now is not taken for a loss
        if settled:
            self._client.disconnect()
            self.traffic.flush()

    def _settle(self, deadline: float) -> bool:
        """Tell whether the broker has everything of ours; what comes in meanwhile stays unacknowledged."""
        self.traffic.flush()
        while self.connected and (self.traffic.blocked or self.traffic.unconfirmed()) and time.monotonic() < deadline:
            self.traffic.blocked = False
            self.wait(0.1)
            self.traffic.receive()
            self.traffic.flush()
        return self.connected and not self.traffic.blocked and not self.traffic.unconfirmed()

    # what paho calls

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._retry.later(time.monotonic(), LONGEST_RETRY_S)  # a wrong password does not mend in a second
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
        self.traffic.forget()
        self._subscribe()
        for message in self._greeting:
            self.traffic.publish(message)
        if self._status_topic:
            self.traffic.publish(
                Message(self._status_topic, b"online", retain=True)
            )  # QoS 0: no full queue can refuse it

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
        self.traffic.forget()
        self.hearing.on = False
        lived = time.monotonic() - self._since
        if lived >= LONGEST_RETRY_S:
            self._retry.forget()
        self._retry.later(time.monotonic())
        hint = "; is another client using our client_id?" if lived < 5.0 and self.connects > 2 else ""
        self._fail(f"lost after {lived:.0f} s: {reason}{hint}")

    def _on_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        self._socket = sock
        self.traffic.use(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._events = select.POLLIN
        self.poller.register(sock, self._events)

    def _on_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        self.poller.unregister(sock)
        self._socket = None
        self.traffic.use(None)
