"""A sender and a counter for ``bench.path``: prepared packets on bare sockets, so that they take next to nothing."""

import multiprocessing
import re
import socket
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from edge_lstm.daemon.packets import PUBLISH, frame

CONNECTED, SUBSCRIBED = 4, 5  # bytes of the broker's answers
TIME = re.compile(rb'"ts?": ?([0-9.]+)')


def packet(kind: int, body: bytes) -> bytes:
    """Return a whole packet."""
    length, head = len(body), bytearray((kind,))
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes((length,)) + body


def text(value: str) -> bytes:
    """Return a text as it stands in a packet."""
    return len(value).to_bytes(2) + value.encode()


def publish(topic: str, payload: bytes, qos: int, mid: int) -> bytes:
    """Return a PUBLISH packet."""
    return packet(PUBLISH | qos << 1, text(topic) + (mid.to_bytes(2) if qos else b"") + payload)


def connect(host: str, port: int, name: str) -> socket.socket:
    """Return a socket that the broker has accepted."""
    sock = socket.create_connection((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text(name)))
    sock.recv(CONNECTED)
    return sock


class Sender:
    """A process that sends packets when told to."""

    def __init__(self, host: str, port: int) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_send, args=(host, port, theirs), daemon=True)
        self._process.start()

    def send(self, packets: list[bytes], rate: float) -> None:
        """Send packets, so many a second, or as fast as it goes if 0."""
        self._ours.send((packets, rate))

    def sent(self) -> list[float]:
        """Return when each was sent, seconds on the steady clock."""
        times: list[float] = self._ours.recv()
        return times

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


def _send(host: str, port: int, told: Connection) -> None:
    sock = connect(host, port, "sender")
    while True:
        packets, rate = told.recv()
        told.send(_burst(sock, packets) if not rate else _pace(sock, packets, rate))


def _burst(sock: socket.socket, packets: list[bytes]) -> list[float]:
    sock.setblocking(False)
    data = memoryview(b"".join(packets))
    while data:
        with suppress(BlockingIOError):
            data = data[sock.send(data[:65_536]) :]
        with suppress(BlockingIOError):
            sock.recv(65_536)  # acknowledgements
    sock.setblocking(True)
    return []


def _pace(sock: socket.socket, packets: list[bytes], rate: float) -> list[float]:
    times: list[float] = []
    began = time.monotonic()
    while len(times) < len(packets):
        due = int((time.monotonic() - began) * rate) + 1
        if due > len(times):
            now = time.monotonic()
            sock.sendall(b"".join(packets[len(times) : due]))
            times += [now] * (min(due, len(packets)) - len(times))
        time.sleep(max(0.0, began + len(times) / rate - time.monotonic()))
    return times


class Counter:
    """A subscriber that notes when what came.

    Attributes:
        count: messages so far.
        came: event time to when it came; only while ``noting``.
    """

    def __init__(self, host: str, port: int) -> None:
        self.count = 0
        self.noting = False
        self.came: dict[float, float] = {}
        self._sock = connect(host, port, "counter")
        self._data = b""

    def subscribe(self, topic: str) -> None:
        """Ask for messages, at QoS 0."""
        self._sock.settimeout(10.0)
        self._sock.sendall(packet(0x82, b"\0\1" + text(topic) + b"\0"))

    def read(self, timeout_s: float) -> int:
        """Take in what comes within a time; return how many messages that were."""
        self._sock.settimeout(timeout_s)
        try:
            self._data += self._sock.recv(1 << 20)
        except TimeoutError:
            return 0
        now, at, before = time.monotonic(), 0, self.count
        while (found := frame(self._data, at)) is not None and found.end <= len(self._data):
            if self._data[at] & 0xF0 == PUBLISH:
                self.count += 1
                if self.noting and (t := TIME.search(self._data, at, found.end)):
                    self.came[float(t[1])] = now
            at = found.end
        self._data = self._data[at:]
        return self.count - before
