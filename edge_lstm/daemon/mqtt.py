"""The MQTT connection: paho-mqtt, driven from outside by the one thread that owns it.

Rules:
1. Nothing here blocks but ``wait``. What would, a connection is made of by ``dial``.
2. A callback only notes what happened, and never raises. Nothing that the broker sends does; see ``wire``.
3. A message is acknowledged after what follows from it was confirmed. So the broker holds back what we can't take, and
   what we had not finished comes again after a crash.
4. While the broker does not take what we write, we don't read; TCP passes that on. A broker that neither answers nor
   takes anything for as long as the keepalive is cut off.
5. There is always a next attempt: no refusal and no loss ends the process.
"""

import logging
import select
import time
from collections.abc import Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_lstm.daemon.broker import Broker
from edge_lstm.daemon.calls import Calls
from edge_lstm.daemon.client import heed, new_client
from edge_lstm.daemon.hearing import LULL_S, Pulse
from edge_lstm.daemon.receipts import Receipts
from edge_lstm.daemon.session import Session
from edge_lstm.daemon.tls import reason_of
from edge_lstm.daemon.traffic import QUEUE, Traffic
from edge_lstm.daemon.troubles import SHOWN_S
from edge_lstm.daemon.wire import PINGREQ
from edge_lstm.messages import Message

INFLIGHT_5 = 10  # until an MQTT 5 broker has said how many it takes
ACCEPT_S = 10.0  # from the connection to the broker's word that we are let in
TAKEN_OVER, PROTOCOL_ERROR, UNSPECIFIED = 0x8E, 0x82, 0x80  # reasons of MQTT 5, which paho gives for 3.1.1 as well
LEFT = "messages were left with the broker; they come again"

log = logging.getLogger(__name__)


class Link(Session):
    """One connection to a broker, made again for ever.

    Args:
        broker: where, and as whom.
        filters: to subscribe to.
        status_topic: where ``online`` and ``offline`` are kept; empty for a guest that only listens.
        greeting: what to publish on every connection, before ``online``.

    Attributes:
        protocol_errors: connections that ended because of what the broker sent.
        poller: what ``wait`` waits for.
        traffic: messages in and out.
    """

    def __init__(
        self, broker: Broker, filters: list[str], status_topic: str = "", greeting: Sequence[Message] = ()
    ) -> None:
        super().__init__(broker.mqtt, filters)
        self.protocol_errors = 0
        self.poller = select.poll()
        self._username = broker.username
        self._status_topic = status_topic
        self._greeting = greeting
        self._calls = Calls(broker, self.poller, self._troubles)
        self._pulse = Pulse(broker.mqtt.keepalive_s)
        self._socket: Any = None
        self._events = select.POLLIN
        self._opened = self._since = 0.0  # when we were connected, and accepted
        self._over = True  # whatever paho still says of the connection
        self._verdict = ""  # why the connection has to end, or did
        self._five = broker.mqtt.protocol == "5"
        inflight = INFLIGHT_5 if self._five else 0
        self._client = new_client(broker, status_topic, inflight, QUEUE)
        self._attach(self._client)
        receipts = Receipts(0 if broker.mqtt.ack_policy == "checkpoint" else None)
        self.traffic = Traffic(self._client, self._five, receipts)
        self.traffic.lasting = not broker.mqtt.clean

    def _attach(self, client: Client) -> None:
        """Have paho tell us what happens."""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        if self._five:
            client.on_publish = self._on_publish

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
        ready = dict(self.poller.poll(max(0.0, min(timeout_s, self._pulse.each_s)) * 1000.0))
        now = time.monotonic()
        if self._socket is not None and (found := ready.get(self._socket.fileno(), 0)):
            self._pulse.beat()
            if found & select.POLLIN:
                self.hearing.hear(now, time.time())
        if (line := self._calls.take(ready)) is not None:
            self._client.username_pw_set(self._username or None, line.password)
            self._client.use(line.sock)
            self.traffic.flush()
        if self.connected and self._pulse.due(now):
            self._ask(now)
            self.traffic.flush()

    def tend(self) -> None:
        """Do what is due: keepalive, connecting again, subscribing again, asking. To be called once a second."""
        now = time.monotonic()
        if self._socket is not None:
            self._client.loop_misc()
        if self._socket is not None:
            self._tend_connection(now)
        else:
            self._calls.tend(now)
        self.traffic.flush()

    def watch(self, filters: list[str], greeting: Sequence[Message]) -> None:
        """Subscribe to other filters from now on, and publish another greeting."""
        self._greeting = greeting
        self._change(self._client, filters)
        for message in greeting if self.connected else ():
            self.traffic.publish(message)

    def close(self, timeout_s: float) -> None:
        """Send what waits, and leave in good order; if that takes too long, leave the last word to the will."""
        deadline = time.monotonic() + timeout_s
        self._calls.give_up()
        settled = self.settle(timeout_s)
        if self._status_topic and settled:
            self.traffic.publish(Message(self._status_topic, b"offline", retain=True, qos=1))
            settled = self.settle(deadline - time.monotonic())
        self.connected, self._over = False, True
        if settled:
            self._client.disconnect()
            self.traffic.flush()

    def settle(self, timeout_s: float) -> bool:
        """Wait until the broker has everything of ours; tell whether it has. What comes in meanwhile is not handled."""
        deadline = time.monotonic() + timeout_s
        self.traffic.flush()
        while self.connected and (self.traffic.blocked or self.traffic.unconfirmed()) and time.monotonic() < deadline:
            self.traffic.blocked = False
            self.wait(0.1)
            self.traffic.read()
            self.traffic.flush()
        return self.connected and not self.traffic.blocked and not self.traffic.unconfirmed()

    # keeping it

    def _tend_connection(self, now: float) -> None:
        if self._verdict:
            self._end(self._verdict)
        elif not self.connected:
            if now - self._opened >= ACCEPT_S:
                self._end(f"no answer to CONNECT within {ACCEPT_S:.0f} s")
        else:
            self._subscriptions.remind(self._client, now)
            self._count_left_out(now)
            if self.traffic.shed and not (self.traffic.inbox or self.traffic.unconfirmed()):
                self._end(LEFT)
            elif self.traffic.blocked:
                self._pulse.expect(now)
            elif self.hearing.lull_s(now) >= LULL_S:
                self._ask(now)
            if self._pulse.dead(now) and not self.poller.poll(0):
                self._end(f"no sign of life for {self._mqtt.keepalive_s} s")

    def _ask(self, now: float) -> None:
        """Have the broker say something."""
        self._pulse.ask(now)
        if self.traffic.wire is not None:
            self.traffic.wire.write(PINGREQ)
        else:  # paho offers no way to send a ping; brokers answer this even if we never subscribed to it (3.10.4)
            self._client.unsubscribe(self._status_topic or "edge-lstm/status")

    def _count_left_out(self, now: float) -> None:
        """Tell of messages that were too long; those that go through paho are counted as unsent at once."""
        client, wire = self._client, self.traffic.wire
        if wire is not None:
            self.traffic.unsent += wire.left_out
            client.left_out += wire.left_out
            wire.left_out = 0
        if client.left_out:
            client.left_out = 0
            self._troubles.show("message too long for the broker", now + SHOWN_S)

    def _end(self, verdict: str) -> None:
        self._verdict = verdict
        self._client.drop()

    # what paho calls

    def _on_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        self._socket = sock
        self._opened = time.monotonic()
        self._over = False
        self._verdict = ""
        self._pulse.begin(self._opened)
        self.hearing.hear(self._opened, time.time())  # somebody has answered; what follows may be read before a wait
        self.traffic.use(sock)
        self._events = select.POLLIN
        self.poller.register(sock, self._events)

    def _on_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        self.poller.unregister(sock)
        self._socket = None
        self._pulse.begin(time.monotonic())
        error = getattr(sock, "error", None)
        self._verdict = self._verdict or (reason_of(error, self._mqtt) if error else "")
        self.traffic.use(None)

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if self.connected:
            self._verdict = "it accepted us twice"
        elif reason.is_failure:
            self._over = True
            self._calls.refused(time.monotonic(), str(reason))
        else:
            self._accepted(flags.session_present, properties)

    def _accepted(self, session_present: bool, properties: Properties | None) -> None:
        """Begin to work, if need be from a gap on."""
        log.info("connected%s to %s:%d", " again" * (self.connects > 0), self._mqtt.url.hostname, self._mqtt.port)
        self._since = time.monotonic()
        if not session_present:
            self.traffic.receipts.forget()
        if self._five:
            keepalive_s = heed(self._client, self.traffic.wire, properties)
            self._pulse.begin(self._since, (keepalive_s or self._mqtt.keepalive_s) / 2)
        self._resume(self._client, session_present)
        if self._leftovers:
            self.traffic.aside = self._leftovers.take
            self._leftovers.ask(self._client)
        for message in self._greeting:
            self.traffic.publish(message)
        if self._status_topic:  # at QoS 0, where no full queue can refuse it
            self.traffic.publish(Message(self._status_topic, b"online", retain=True))

    def _on_unsubscribe(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        if self._leftovers and self._leftovers.unsubscribed(mid):
            self._leftovers = self.traffic.aside = None

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if self._over:  # refused, left, or said twice
            return
        now = time.monotonic()
        self._over = True
        self.hearing.on = False
        self.traffic.lose()
        self.protocol_errors += reason.value == PROTOCOL_ERROR
        why = self._verdict or _words(reason, flags.is_disconnect_packet_from_server)
        if self.connected:
            self.connected = False
            self._calls.anew(now, why) if why == LEFT else self._calls.lost(now, now - self._since, why)
        else:
            plain = reason.value == UNSPECIFIED and not self._mqtt.tls
            hint = "; does this port want TLS? then write mqtts://" * plain
            self._calls.failed(f"not let in: {why}{hint}")


def _words(reason: ReasonCode, said: bool) -> str:
    """Return why a connection has ended.

    Args:
        said: the broker has given the reason.
    """
    if said and reason.value == TAKEN_OVER:
        return "session taken over: another client came with our client_id"
    return f"the broker says: {reason}" if said else "closed" if reason.value == UNSPECIFIED else str(reason)
