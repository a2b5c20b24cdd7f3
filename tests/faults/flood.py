"""A publisher faster than any client library: packets are made of bytes, and what the broker says is only counted."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"  # MQTT 3.1.1, clean, no keepalive, no name
DISCONNECT = b"\xe0\x00"
MIDS = 65_535


def packet(topic: str, payload: bytes, mid: int = 0) -> bytes:
    """Return a PUBLISH packet, of QoS 1 if it has a number."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + (mid.to_bytes(2, "big") if mid else b"") + payload
    length, head = len(body), bytearray((0x32 if mid else 0x30,))
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes((length,)) + body


class Flood:
    """Publishes at a steady rate.

    Args:
        port: the broker's.
        qos: 0 or 1.
        message: of a number, its topic and payload.

    Attributes:
        sent: messages so far.
        confirmed: of QoS 1, those that the broker has taken over.
    """

    def __init__(self, port: int, qos: int, message: Callable[[int], tuple[str, bytes]]) -> None:
        self.sent = 0
        self.confirmed = 0
        self._qos = qos
        self._message = message
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(CONNECT)
        assert self._socket.recv(4) == b"\x20\x02\x00\x00"
        self._reader = threading.Thread(target=self._read, name="flood")
        self._reader.start()

    def _read(self) -> None:
        """Count acknowledgements: nothing else comes, each of four bytes."""
        count = 0
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65_536):
                count += len(data)
                self.confirmed = count // 4

    def send(self, count: int) -> None:
        """Publish the next messages at once."""
        numbers = range(self.sent, self.sent + count)
        mids = [number % MIDS + 1 if self._qos else 0 for number in numbers]
        self._socket.sendall(b"".join(packet(*self._message(n), mid) for n, mid in zip(numbers, mids, strict=True)))
        self.sent += count

    def pour(self, rate: float, seconds: float, each: Callable[[], None]) -> None:
        """Publish so many messages a second.

        Args:
            each: called again and again meanwhile.
        """
        began, first = time.monotonic(), self.sent
        while (elapsed := time.monotonic() - began) < seconds:
            self.send(max(0, round(rate * elapsed) - (self.sent - first)))
            each()
            time.sleep(0.02)

    def close(self) -> None:
        """Leave, once the broker has taken everything."""
        with contextlib.suppress(OSError):  # the broker was ended before
            self._socket.sendall(DISCONNECT)
        self._reader.join()
        self._socket.close()
