"""A broker that says what a test tells it to: raw bytes, for both versions of MQTT."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8
TIMEOUT_S = 10.0


class Packet(NamedTuple):
    """One control packet as it came.

    Attributes:
        kind: the number of its type.
    """

    at: float
    kind: int
    flags: int
    body: bytes


class Peer:
    """The other end of one connection.

    Attributes:
        five: the client speaks MQTT 5.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.five = False
        self._socket = sock
        self._socket.settimeout(TIMEOUT_S)
        self._data = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def packets(self, seconds: float = TIMEOUT_S) -> Iterator[Packet]:
        """Yield what the client says, until it leaves or so much time has passed."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                packet = self._packet()
            except TimeoutError:
                return
            if packet is None:
                return
            if packet.kind == CONNECT:
                self.five = packet.body[6] == 5
            yield packet

    def _packet(self) -> Packet | None:
        """Return the next packet, ``None`` when the client has left; what has come of it is kept over a timeout."""
        while (found := _frame(self._data)) is None:
            more = self._socket.recv(65_536)
            if not more:
                return None
            self._data += more
        start, end = found
        packet = Packet(time.monotonic(), self._data[0] >> 4, self._data[0] & 15, self._data[start:end])
        self._data = self._data[end:]
        return packet

    def greet(self, connack_properties: bytes = b"") -> None:
        """Accept the connection and its subscription, as a broker does.

        Args:
            connack_properties: MQTT 5 only, without their length.
        """
        for packet in self.packets():
            if packet.kind == CONNECT:
                self.send(connack(self.five, properties=connack_properties))
            if packet.kind == SUBSCRIBE:
                self.send(suback(packet, self.five))
                return

    def drain(self) -> None:
        """Wait until the client closes the connection, or has nothing to say for a moment."""
        self._socket.settimeout(0.03)
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass


class ScriptedBroker:
    """Listens, and plays a scene with every client that comes, one after the other.

    Args:
        scene: what to do with a connection; it is closed afterwards.

    Attributes:
        scenes: how many have been played.
        error: what went wrong in a scene, other than with the connection.
    """

    def __init__(self, scene: Callable[[Peer], None]) -> None:
        self.scenes = 0
        self.error: BaseException | None = None
        self._scene = scene
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self.port = int(self._server.getsockname()[1])
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="scripted broker")
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing:
            with contextlib.suppress(TimeoutError):
                sock, _ = self._server.accept()
                self._play(sock)

    def _play(self, sock: socket.socket) -> None:
        with sock:
            try:
                self._scene(Peer(sock))
            except OSError:  # the client left in the middle of it
                pass
            except Exception as error:
                self.error = error
        self.scenes += 1

    def close(self) -> None:
        """End after the scene that is being played; other clients are refused from now on."""
        self._closing = True
        self._thread.join()
        self._server.close()
        assert self.error is None, self.error


def _frame(data: bytes) -> tuple[int, int] | None:
    """Return where the body of the first packet begins and ends, if all of it is there."""
    length = 0
    for at, byte in enumerate(data[1:5]):
        length |= (byte & 127) << (7 * at)
        if byte < 128:
            start = 2 + at
            return (start, start + length) if len(data) >= start + length else None
    return None


def connack(five: bool, code: int = 0, properties: bytes = b"") -> bytes:
    """Return an answer to CONNECT; code 0 accepts."""
    body = bytes([0, code]) + (bytes([len(properties)]) + properties if five else b"")
    return bytes([0x20, len(body)]) + body


def suback(packet: Packet, five: bool, code: int = 1) -> bytes:
    """Return an answer to SUBSCRIBE with one filter; codes from 0x80 refuse it."""
    body = packet.body[:2] + (b"\x00" if five else b"") + bytes([code])
    return bytes([0x90, len(body)]) + body


def publish(topic: str, payload: bytes, mid: int, five: bool = False) -> bytes:
    """Return a message at QoS 1."""
    name = topic.encode()
    body = len(name).to_bytes(2) + name + mid.to_bytes(2) + (b"\x00" if five else b"") + payload
    length = bytearray()
    left = len(body)
    while left >= 128:
        length.append(left % 128 | 128)
        left //= 128
    return bytes([0x32, *length, left]) + body


def random_frame(draw: random.Random) -> bytes:
    """Return a packet of any type with a few random bytes in it, which may or may not fit."""
    body = draw.randbytes(draw.randrange(12))
    length = draw.choice([len(body)] * 3 + [draw.randrange(128)])
    return bytes([draw.randrange(256), length]) + body
