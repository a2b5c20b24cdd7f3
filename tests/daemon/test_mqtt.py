"""The connection against a scripted broker: hostile packets, refusals, and one that takes nothing."""

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_lstm.daemon.broker import open_broker
from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.mqtt import QUEUE, Link
from edge_lstm.daemon.toml import Problems
from edge_lstm.messages import Message

ACCEPTED, NOT_AUTHORIZED, BAD_VERSION = (bytes([0x20, 2, 0, code]) for code in (0, 5, 1))
SUBSCRIBED, REFUSED = (bytes([0x90, 3, 0, 1, code]) for code in (0, 0x80))


def publish(topic: bytes, payload: bytes, mid: int = 0) -> bytes:
    body = len(topic).to_bytes(2) + topic + (mid.to_bytes(2) if mid else b"") + payload
    return bytes([0x32 if mid else 0x30, len(body)]) + body


class Peer:
    """What the link is connected to."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(5.0)
        mqtt = Mqtt(broker=f"mqtt://127.0.0.1:{self._server.getsockname()[1]}")
        broker = open_broker(mqtt, Path(), Problems(""))
        assert broker is not None
        self.link = Link(broker, ["a/#"], "own/status")
        self.received: list[Message] = []

    def connect(self, *answers: bytes) -> None:
        self.link.tend()
        self._socket, _ = self._server.accept()
        self.send(b"".join(answers))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)
        self.turn()

    def turn(self, seconds: float = 0.1) -> None:
        """Let the link work for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.link.wait(left)
            self.received += self.link.receive()
            self.link.flush()

    def heard(self) -> bytes:
        """Return what the link has written."""
        data = b""
        while select.select([self._socket], [], [], 0)[0] and (more := self._socket.recv(65536)):
            data += more
        return data

    def close(self) -> None:
        self._socket.close()
        self._server.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def test_messages_are_acknowledged_when_told_so(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.send(publish(b"a/1", b"x", 7) + publish(b"a/2", b"y") + publish(b"a/3", b"z", 8))
    assert [message.payload for message in peer.received] == [b"x", b"y", b"z"]
    assert peer.heard() == b""
    peer.link.acknowledge()
    peer.turn()
    assert peer.heard() == b"\x40\x02\x00\x07\x40\x02\x00\x08"


def test_an_acknowledgement_does_not_outlive_its_connection(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED, publish(b"a/1", b"x", 7))
    peer._socket.close()
    peer.turn()
    assert not peer.link.connected
    assert peer.link.failure.startswith("lost after")
    peer.link.tend()
    assert peer.link._socket is None  # it does not try at once
    peer.link._retry_at = 0.0
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.link.acknowledge()
    peer.turn()
    assert peer.heard() == b""


def test_a_topic_that_is_not_text_is_counted(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.send(publish(b"a/\xff", b"x", 3) + publish(b"a/1", b"y"))
    assert peer.link.bad_topics == 1
    assert [message.payload for message in peer.received] == [b"y"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00",
        b"\xf0\x01x",
        b"\x30\x01x",
        b"\x30\xff\xff\xff\xff\xff",
        b"\x32\x04\x00\x09ab",
        b"\x90\x00",
        b"GET / HTTP",
    ],
)
def test_garbage_ends_the_connection_and_nothing_else(peer: Peer, garbage: bytes) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.send(garbage)
    peer._socket.close()
    peer.turn()
    assert not peer.link.connected
    assert peer.received == []


@pytest.mark.parametrize(
    ("answer", "reason"), [(NOT_AUTHORIZED, "the broker refused us: Not authorized"), (BAD_VERSION, "")]
)
def test_a_refusal_is_told_and_no_older_protocol_tried(peer: Peer, answer: bytes, reason: str) -> None:
    peer.connect(answer)
    assert not peer.link.connected
    assert peer.link.failure.startswith(reason)
    assert peer.heard().count(b"MQTT\x04") == 1
    peer.turn(0.0)
    assert peer._socket.recv(1) == b""


def test_a_refused_subscription_is_told(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    peer.connect(ACCEPTED, REFUSED)
    assert peer.link.connected
    assert "the broker refuses the subscription to a/#" in caplog.text


def test_a_peer_that_takes_nothing_is_not_read_from(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    while not peer.link._blocked:
        peer.link.publish(Message("own/a/score", bytes(60_000)))
        peer.link.flush()
    peer._socket.sendall(publish(b"a/1", b"x"))
    peer.turn()
    assert peer.received == []
    while peer.link._blocked:
        peer.heard()
        peer.turn(0.01)
    peer.turn()
    assert [message.payload for message in peer.received] == [b"x"]


def test_what_waits_for_the_broker_is_bounded(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED, publish(b"a/1", b"x", 7))
    for _ in range(QUEUE + 10):
        peer.link.publish(Message("own/a/alert", b"", qos=1))
    assert peer.link.unsent == 10
    peer.link.acknowledge()
    peer.turn()
    assert b"\x40\x02\x00\x07" not in peer.heard()  # what came in is held back meanwhile
    assert peer.link.unconfirmed() == QUEUE


def test_the_clock_of_silence_runs_only_while_we_listen(peer: Peer) -> None:
    assert peer.link.listening_s() == 0.0
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.turn(0.05)
    assert peer.link.listening_s() > 0.0
    peer._socket.close()
    peer.turn()
    stopped = peer.link.listening_s()
    time.sleep(0.05)
    assert peer.link.listening_s() == stopped
