"""What paho takes for its socket: packets are cut out of what came in one piece, and leave together.

paho 2.2 asks the system three times for each packet it reads, once for each it writes, and makes several objects with
locks for each message: 26 us for one in and one out, as much as all the rest of the daemon twice. So it gets a socket
that is none. PUBLISH packets are taken out before it sees them, and written past it; all else is its own, the
connection, TLS, subscriptions, keepalive and QoS 1 out.

Two things here are private to paho, both in ``WiredClient``. Should a later paho not call ``_create_socket``, all goes
through paho, slower, as ``Link`` does without a wire; ``tests/daemon/test_wire.py`` would tell.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

from paho.mqtt.client import Client

from edge_lstm.daemon.packets import Publish, frame, read_publish

CHUNK = 65_536  # bytes read at once
LARGEST = 131_072  # bytes; a longer packet, which no decoder takes, is paho's to put together
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """A socket's stand-in.

    Args:
        sock: the real one, connected.
        five: MQTT 5 is spoken.

    Attributes:
        failed: nothing more comes or goes; paho, when it reads next, finds that out.
        foreign: bytes of a packet that paho has yet to read.
    """

    def __init__(self, sock: socket.socket, five: bool) -> None:
        self.failed = False
        self.foreign = 0
        self._sock = sock
        self._five = five
        self._data = b""
        self._at = 0
        self._stopped = False  # before the end of what is there
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
        except OSError:
            data = b""
        self.failed = self.failed or not data
        self._data, self._at = self._data[self._at :] + data, 0
        return bool(data)

    def publishes(self) -> Iterator[Publish]:
        """Yield the PUBLISH packets that came, up to a ``foreign`` one; stop at any time and go on later."""
        data = self._data
        self._stopped = not self.foreign
        while self._stopped:
            found = frame(data, self._at)
            if found is None or self._at + LARGEST >= found.end > len(data):
                break
            packet = read_publish(data, self._at, *found, self._five) if found.end <= len(data) else None
            if packet is None:
                self.foreign = found.end - self._at
                break
            self._at = found.end
            yield packet
        self._stopped = False

    def pending(self) -> bool:
        """Tell whether there is something to read that ``poll`` can't see."""
        return self._stopped or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)

    def write(self, packet: bytes) -> None:
        """Let a whole packet leave with the next flush."""
        self._out += packet

    def flush(self) -> bool:
        """Write what the socket takes; return whether that was all."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except _NOT_NOW:
                return False
            except OSError:
                self.failed = True
                self._out.clear()
                break
            del self._out[:sent]
        return True

    # what paho calls

    def recv(self, size: int) -> bytes:
        """Return bytes of the foreign packet."""
        if not self.foreign:
            if self.failed:
                return b""
            raise BlockingIOError
        size = min(size, self.foreign)
        part = self._data[self._at : self._at + size] or self._sock.recv(size)
        self._at = min(self._at + len(part), len(self._data))
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
    """paho's client on a ``Wire``."""

    def _create_socket(self) -> Any:
        return Wire(super()._create_socket(), self.protocol == 5)  # type: ignore[arg-type]

    def heard(self) -> None:
        """Note that the broker is alive; else paho would take a late answer to its ping for a dead connection."""
        self._last_bytes_received = time.monotonic()
