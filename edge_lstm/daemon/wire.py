"""What paho takes for its socket: packets are cut out of what came in one piece, and leave together.

paho 2.2 asks the system three times for each packet it reads, once for each it writes, and makes several objects with
locks for each message: 26 us for one in and one out, as much as all the rest of the daemon twice. So it gets a socket
that is none. PUBLISH packets are taken out before it sees them, and written past it; all else is its own:
subscriptions, keepalive and QoS 1 out. The connection is made by ``dial``, and only handed over.

Nothing that a broker sends is put together beyond ``LARGEST``: a longer PUBLISH is passed over as it comes, and counted
and acknowledged like one that a decoder refuses, else it would come again for ever; any other long packet ends the
connection.

What is private to paho stands in ``WiredClient`` alone; ``tests/daemon/test_wire.py`` tells when a later paho differs.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import MessageState, MQTTErrorCode
from paho.mqtt.properties import Properties

from edge_lstm.daemon.packets import Frame, Publish, frame, read_publish

CHUNK = 65_536  # bytes read at once
LARGEST = 131_072  # bytes; no decoder takes a longer packet
PINGREQ = b"\xc0\x00"
_PASSED_OVER = bytes(LARGEST)  # stands for a payload that is too long for any decoder
_HEADERS = 10  # bytes of a PUBLISH besides topic and payload, at most
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """A socket's stand-in.

    Args:
        sock: the real one, connected.
        five: MQTT 5 is spoken.

    Attributes:
        failed: nothing more comes or goes; paho, when it reads next, finds that out.
        error: why, where there is more to say than that the other side has closed.
        largest: bytes of the longest packet that the broker takes, 0 for any.
        left_out: packets of ours that were longer.
        foreign: bytes of a packet that paho has yet to read.
    """

    def __init__(self, sock: socket.socket, five: bool) -> None:
        self.failed = False
        self.error: Exception | None = None
        self.largest = 0
        self.left_out = 0
        self.foreign = 0
        self._sock = sock
        self._five = five
        self._data = b""
        self._at = 0
        self._stopped = False  # before the end of what is there
        self._long: Publish | None = None  # a packet that is being passed over
        self._skip = 0  # bytes of it that are yet to come
        self._out = bytearray()

    # what the link calls

    def fill(self) -> bool:
        """Take what has come off the socket, once all before it was looked at; return whether there was something."""
        if self._stopped or self.foreign:
            return False
        try:
            data = self._sock.recv(CHUNK)
        except _NOT_NOW:
            return False
        except OSError as error:
            self.failed, self.error = True, error
            return False
        self.failed = self.failed or not data
        self._append(data)
        return bool(data)

    def _append(self, data: bytes) -> None:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._data, self._at = self._data[self._at :] + data[skipped:], 0

    def publishes(self) -> Iterator[Publish]:
        """Yield the PUBLISH packets that came, up to a ``foreign`` one; stop at any time and go on later."""
        data = self._data
        self._stopped = not self.foreign
        while self._stopped and not self._skip:
            if self._long is not None:
                long, self._long = self._long, None
                yield long
                continue
            found = frame(data, self._at)
            if found is None or self._at + LARGEST >= found.end > len(data):
                break
            if found.end - self._at > LARGEST:
                if len(data) - self._at < LARGEST:
                    break  # with so much of it, its topic and number are there
                self._pass_over(found)
                continue
            packet = read_publish(data, self._at, *found, self._five)
            if packet is None:
                self.foreign = found.end - self._at
                break
            self._at = found.end
            yield packet
        self._stopped = False

    def _pass_over(self, found: Frame) -> None:
        """Take what a long packet starts with, and let the rest go by."""
        seen = min(found.end, len(self._data))
        self._long = read_publish(self._data, self._at, found.body, seen, self._five)
        if self._long is None:
            self.foreign, self.failed, self._stopped = 0, True, False
            self.error = ConnectionError(f"it sent a packet of {found.end - self._at:,} bytes")
            self._data, self._at = b"", 0
            return
        self._long = self._long._replace(payload=_PASSED_OVER)
        self._skip = found.end - seen
        self._at = seen

    def pending(self) -> bool:
        """Tell whether there is something to read that ``poll`` can't see."""
        return self._stopped or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)

    def write(self, packet: bytes) -> None:
        """Let a whole packet leave with the next flush."""
        if self.largest and len(packet) > self.largest:
            self.left_out += 1
        else:
            self._out += packet

    def flush(self) -> bool:
        """Write what the socket takes; return whether that was all."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except _NOT_NOW:
                return False
            except OSError as error:
                self._out.clear()
                self._last_words(error)
                break
            del self._out[:sent]
        return True

    def _last_words(self, error: OSError) -> None:
        """Read what was said before the connection was closed: why we are not let in, as a rule."""
        try:
            data = self._sock.recv(CHUNK)
        except OSError as told:
            self.failed, self.error = True, told if isinstance(told, ssl.SSLError) else error
            return
        self.failed = not data
        self._append(data)

    # what paho calls

    def recv(self, size: int) -> bytes:
        """Return bytes of the foreign packet."""
        if not self.foreign:
            if self.failed:
                return b""
            raise BlockingIOError
        part = self._data[self._at : self._at + min(size, self.foreign)]
        self._at += len(part)
        self.foreign -= len(part)
        return part

    def send(self, packet: bytes | bytearray) -> int:
        """Take a packet, or what is left of it."""
        self._out += packet
        return len(packet)

    def close(self) -> None:
        """Close the socket, after what can still be written."""
        self.flush()
        self._sock.close()

    def fileno(self) -> int:
        """Return the socket's number, for ``poll``."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set it on the socket."""
        self._sock.setblocking(flag)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set it on the socket."""
        self._sock.setsockopt(level, option, value)


class WiredClient(Client):
    """paho's client on a ``Wire``, over a connection that is there already.

    Nothing that a broker sends makes it raise: that ends the connection as a fault of the protocol does. What our own
    callbacks raise goes on to the caller.

    Attributes:
        largest: bytes of the longest packet that the broker takes, 0 for any.
        left_out: messages of ours that were longer.
    """

    largest = 0
    left_out = 0
    _line: socket.socket | None = None

    def use(self, sock: socket.socket) -> None:
        """Go on over a new connection; it is ours to close from now on."""
        self._line = sock
        try:
            self.reconnect()
        finally:
            if self._line is not None:
                self._line.close()
                self._line = None

    def _create_socket(self) -> Any:
        if self._line is None:
            raise ConnectionError("nobody has dialled")
        sock, self._line = self._line, None
        return Wire(sock, self.protocol == 5)

    def heard(self) -> None:
        """Note that the broker is alive; else paho would take a late answer to its ping for a dead connection."""
        self._last_bytes_received = time.monotonic()

    def drop(self) -> None:
        """End the connection without a word."""
        self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)

    def limit(self, inflight: int) -> None:
        """Let no more messages than that be unacknowledged; paho by itself sends all there are after a reconnect.

        To be called when the broker has accepted us, before paho sends them again.
        """
        self._max_inflight_messages = inflight
        for message in islice(self._out_messages.values(), inflight, None):
            message.state = MessageState.MQTT_MS_QUEUED

    def publish(
        self,
        topic: str,
        payload: Any = None,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> MQTTMessageInfo:
        """Queue a message, unless it is too long for the broker, which would end the connection over it each time."""
        if not self.largest or len(topic.encode()) + len(payload or b"") + _HEADERS <= self.largest:
            return super().publish(topic, payload, qos, retain, properties)
        self.left_out += 1
        info = MQTTMessageInfo(0)
        info.rc = MQTTErrorCode.MQTT_ERR_PAYLOAD_SIZE
        return info

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read a packet."""
        return self._guarded(super().loop_read)

    def loop_write(self) -> MQTTErrorCode:
        """Write what there is."""
        return self._guarded(super().loop_write)

    def loop_misc(self) -> MQTTErrorCode:
        """Keep the connection alive."""
        return self._guarded(super().loop_misc)

    def _guarded(self, step: Callable[[], MQTTErrorCode]) -> MQTTErrorCode:
        try:
            return step()
        except Exception as error:
            if not _by_paho(error.__traceback__):
                raise
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)


def _by_paho(traceback: TracebackType | None) -> bool:
    """Tell whether it was paho's code that failed, and not a callback of ours."""
    guilty = ""
    while traceback is not None:
        package = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        guilty = package if package in ("paho", "edge_lstm") else guilty
        traceback = traceback.tb_next
    return guilty == "paho"
