"""The way to the broker: paho clients on one thread, driven through their external-loop calls.

``publish`` never loses a message silently: it waits while too many are in flight, connects again
when the connection breaks, and lets paho repeat what a QoS 1 broker has not acknowledged. What
QoS 0 loses with a broken connection is counted in ``lost``.
"""

import select
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

_IN_FLIGHT = 200  # messages; fills the pipe to a broker 20 ms away at 10,000 messages a second
_CONNECT_TIMEOUT_S = 30.0
_RETRY_S = 0.3
_KEEPALIVE_S = 30


class LinkError(Exception):
    """The broker can't be reached, or refuses us."""


class Link:
    """One MQTT connection."""

    def __init__(self, broker: str, status_topic: str | None = None) -> None:
        """Set up, but do not connect yet.

        Args:
            broker: ``mqtt://[user:password@]host[:port]``, or ``mqtts://`` for TLS.
            status_topic: says ``online`` while connected and ``offline`` as last will, retained.

        Raises:
            ValueError: ``broker`` is no such URL.
        """
        url = urlsplit(broker)
        if url.scheme not in ("mqtt", "mqtts") or not url.hostname:
            raise ValueError(f"broker {broker!r}, expected mqtt://host:port")
        self._address = (url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883))
        self._status_topic = status_topic
        self._pending: dict[int, int] = {}  # message id -> QoS
        self._refused: str | None = None
        self._next_chores = 0.0
        self.sent = 0
        self.acknowledged = 0  # QoS 1 by the broker, QoS 0 by the socket
        self.lost = 0
        client = self._client = Client(CallbackAPIVersion.VERSION2)
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = _no_delay
        if url.scheme == "mqtts":
            client.tls_set()
        if url.username:
            client.username_pw_set(unquote(url.username), unquote(url.password or ""))
        if status_topic:
            client.will_set(status_topic, "offline", qos=1, retain=True)

    def connect(self) -> None:
        """Connect, again and again for a while if need be; return when the broker has accepted.

        Raises:
            LinkError: no connection in time.
        """
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while (problem := self._try_connect(deadline)) is not None:
            if time.monotonic() > deadline or self._refused:
                host, port = self._address
                raise LinkError(f"{host}:{port}: {self._refused or problem}")
            time.sleep(_RETRY_S)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        """Send one message; wait while too many are in flight.

        Raises:
            LinkError: the broker is gone and stays away.
        """
        while len(self._pending) >= _IN_FLIGHT:
            serve([self], 0.1)
        info = self._publish(topic, payload, qos, retain)
        # Paho repeats QoS 1 by itself, and forgets QoS 0.
        while qos == 0 and info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.connect()
            info = self._publish(topic, payload, qos, retain)
        self.sent += 1
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and info.is_published():
            self.acknowledged += 1
        else:
            self._pending[info.mid] = qos

    def close(self) -> None:
        """Wait until all is acknowledged, say goodbye, disconnect.

        Raises:
            LinkError: the broker is gone and stays away.
        """
        while self._pending:
            serve([self], 0.1)
        if self._status_topic:
            goodbye = self._publish(self._status_topic, b"offline", qos=1, retain=True)
            self._pending[goodbye.mid] = 1
            while self._pending:
                serve([self], 0.1)
            self.acknowledged -= 1  # ours, not the caller's
        self._client.disconnect()
        while self._client.socket() is not None:
            serve([self], 0.01)

    def socket(self) -> Any:  # paho does not export SocketLike
        """Return the open socket, or None."""
        return self._client.socket()

    def wants_write(self) -> bool:
        """Say whether bytes wait for the socket."""
        return self._client.want_write()

    def work(self, *, readable: bool, writable: bool) -> None:
        """Do what the socket is ready for, and what is due.

        Raises:
            LinkError: the broker is gone and stays away.
        """
        if readable:
            self._client.loop_read()
        if writable:
            self._client.loop_write()
        now = time.monotonic()
        if now >= self._next_chores:
            self._next_chores = now + 1.0
            self._client.loop_misc()
        if self._pending and self._client.socket() is None:
            self.connect()

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> MQTTMessageInfo:
        if not self._client.is_connected():
            self.connect()
        return self._client.publish(topic, payload, qos, retain)

    def _try_connect(self, deadline: float) -> str | None:
        """Try once; return what went wrong."""
        try:
            self._client.connect(*self._address, keepalive=_KEEPALIVE_S)
        except OSError as error:
            return str(error)
        while not self._client.is_connected():
            sock = self._client.socket()
            if sock is None or time.monotonic() > deadline:
                return "no answer"
            readable, _, _ = select.select([sock], [], [], 0.2)
            if readable:
                self._client.loop_read()
        return None

    # Paho hands callbacks more than is needed here; ``rest`` is the part that is not.

    def _on_connect(self, client: Client, _data: object, _flags: object, code: ReasonCode, *rest: object) -> None:
        if code.is_failure:
            self._refused = str(code)
        elif self._status_topic:
            client.publish(self._status_topic, "online", qos=1, retain=True)

    def _on_publish(self, _client: Client, _data: object, mid: int, *rest: object) -> None:
        if self._pending.pop(mid, None) is not None:
            self.acknowledged += 1

    def _on_disconnect(self, *rest: object) -> None:
        gone = [mid for mid, qos in self._pending.items() if qos == 0]
        self.lost += len(gone)
        for mid in gone:
            del self._pending[mid]


def serve(links: Sequence[Link], timeout_s: float) -> None:
    """Wait until a socket is ready, at most ``timeout_s``; then do the work of all links.

    Raises:
        LinkError: a broker is gone and stays away.
    """
    sockets = {link.socket(): link for link in links}
    sockets.pop(None, None)
    writers = [sock for sock, link in sockets.items() if link.wants_write()]
    ready = select.select([*sockets], writers, [], timeout_s)
    readable, writable = set(ready[0]), set(ready[1])
    for link in links:
        sock = link.socket()
        link.work(readable=sock in readable, writable=sock in writable)


def _no_delay(_client: Client, _data: object, sock: Any) -> None:
    # Without it, Nagle's algorithm holds a small message back until the last one is acknowledged.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
