"""Nothing that a broker sends does more than end the connection, and the next one works."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from types import FunctionType
from typing import Any

import pytest
from paho.mqtt.client import Client

from edge_lstm.daemon.wire import CHUNK, LARGEST
from edge_lstm.messages import Message
from tests.daemon.conftest import wait_for
from tests.daemon.test_dial import turn
from tests.daemon.test_mqtt import ACCEPTED, SUBSCRIBED, Peer, publish
from tests.daemon.test_session import SUBSCRIBED_5, connack5, connect

FRAMES = 400  # on an ordinary day
CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK = 0x20, 0x30, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0
PINGRESP, DISCONNECT, AUTH = 0xD0, 0xE0, 0xF0


def frame(kind: int, body: bytes) -> bytes:
    return bytes([kind, len(body)]) + body


def random_frame(rng: random.Random) -> bytes:
    """Return a packet that is wrong in one of many ways, or right and out of place."""
    body = rng.randbytes(rng.randrange(12))
    mid = rng.choice((0, 1, 2, 3, 7, 65_535)).to_bytes(2)
    return rng.choice(
        (
            lambda: frame(rng.randrange(256), body),
            lambda: rng.randbytes(rng.randrange(1, 40)),
            lambda: frame(rng.choice((PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK)), mid + body[:3]),
            lambda: frame(SUBACK, mid + bytes(rng.choices((0, 1, 2, 0x80, 0x87, 0xFF), k=rng.randrange(4)))),
            lambda: frame(SUBACK, mid + b"\x00" + bytes(rng.choices((0, 1, 0x80, 0x9E, 0x55), k=rng.randrange(3)))),
            lambda: frame(CONNACK, bytes([rng.randrange(3), rng.choice((0, 1, 5, 6, 0x84, 0x9C, 0xFF))]) + body),
            lambda: connack5(0, bytes([rng.randrange(64)]) + body),
            lambda: frame(DISCONNECT, bytes([rng.choice((0, 4, 0x8B, 0x8E, 0x9D, 0x33))]) + body[:4]),
            lambda: frame(AUTH, b"\x18" + body),
            lambda: frame(PINGRESP, body[: rng.randrange(2)]),
            lambda: frame(PUBLISH | rng.randrange(16), b"\x00\x03a/1" + mid + body),
            lambda: frame(PUBLISH | rng.randrange(16), rng.randbytes(2) + b"a/1" + body),
            lambda: frame(PUBLISH, b"\x00\x03a/\xff" + body),
            lambda: (
                bytes([rng.randrange(256)]) + b"\xff\xff\xff" + bytes([rng.choice((0x7F, 0x01, 0xFF, 0x80))]) + body
            ),
        )
    )()


@pytest.fixture(params=["3.1.1", "5"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    peer = Peer(protocol=request.param, client_id="x")
    yield peer
    peer.close()


def welcome(peer: Peer) -> bytes:
    return connack5() + SUBSCRIBED_5 if peer.link._five else ACCEPTED + SUBSCRIBED


def pump(peer: Peer) -> None:
    """Let the link take what is there."""
    peer.link.wait(0.0)
    peer.link.traffic.receive()
    peer.link.traffic.flush()


def bombard(peer: Peer, seed: int, frames: int) -> None:
    """Send frames, to connections that were accepted and to some that were not, as long as each lasts."""
    rng = random.Random(seed)
    link = peer.link
    for k in range(frames):
        if link._socket is None:
            link._calls.retry.at = 0.0
            peer.accept()
            wait_for(lambda: link.wait(0.01) or link._calls._dial is None, "the connection")
            if rng.random() < 0.8:
                peer._socket.sendall(welcome(peer))
                wait_for(lambda: pump(peer) or link.connected, "the welcome")
            if link.traffic.unconfirmed() < 10:  # a thousand would keep the link from taking more in
                link.traffic.publish(Message("own/a/alert", b"!", qos=1))
        with suppress(OSError):  # it may just have hung up
            peer._socket.sendall(random_frame(rng))
        pump(peer)
        link.traffic.acknowledge()
        wire = link.traffic.wire
        if wire is not None and wire._at < len(wire._data):  # it waits for the rest, and would take the next for that
            peer._socket.close()
            wait_for(lambda: turn(link) or link._socket is None, "the end")
        elif k % 10 == 0:
            link.tend()
            peer._socket.setblocking(False)
            peer.heard()
            peer._socket.setblocking(True)


def works(peer: Peer) -> None:
    """Check that a connection to a broker in its right mind does what it should."""
    peer.link._client._sock_close()
    peer.link.connected = False
    five = peer.link._five
    connect(peer, connack5() if five else ACCEPTED)
    (mid,) = peer.link._subscriptions._asked
    answer = mid.to_bytes(2) + bytes(1 + five)
    peer.send(bytes([0x90, len(answer)]) + answer)
    peer.received.clear()
    peer.send(publish(b"a/1", b"x") if not five else frame(PUBLISH, b"\x00\x03a/1\x00x"))
    assert [message.payload for message in peer.received] == [b"x"]
    assert peer.link.hearing.on


def test_random_frames(peer: Peer) -> None:
    bombard(peer, 7, FRAMES)
    assert peer.link.protocol_errors > FRAMES / 5
    assert peer.link.connects > FRAMES / 5
    works(peer)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_many_more_random_frames(peer: Peer, seed: int) -> None:
    bombard(peer, seed, 10 * FRAMES)
    works(peer)


@pytest.mark.parametrize("kind", [PUBLISH, SUBACK, CONNACK, 0x34])
def test_an_enormous_packet_takes_no_memory(peer: Peer, kind: int) -> None:
    connect(peer, welcome(peer))
    wire: Any = peer.link.traffic.wire
    peer._socket.setblocking(False)
    left = memoryview(bytes([kind]) + b"\xff\xff\xff\x7f\x00\x03a/1\x00\x07\x00" + bytes(5_000_000))
    with suppress(ConnectionError):
        while left and peer.link._socket is not None:
            with suppress(BlockingIOError):
                left = left[peer._socket.send(left) :]
            pump(peer)
            assert len(wire._data) < LARGEST + CHUNK
            assert len(peer.link._client._in_packet["packet"]) == 0
    pump(peer)
    assert peer.link.connected == (kind == PUBLISH)  # that one may be somebody's message, and goes by
    works(peer)


def test_what_paho_does_not_expect_ends_the_connection(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(client: Any) -> None:
        raise AssertionError("as if it were in a file of paho's")

    broken = FunctionType(fail.__code__, {**fail.__globals__, "__name__": "paho.mqtt.client"})
    connect(peer, welcome(peer))
    monkeypatch.setattr(Client, "_handle_pubrec", broken)
    peer.send(frame(PUBREC, b"\x00\x01"))
    assert not peer.link.connected
    assert peer.link.protocol_errors == 1
    assert peer.link.failure.endswith("Protocol error")
    works(peer)


def test_a_fault_of_ours_is_not_hidden(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("on purpose")

    peer.link.on_gap = fail
    peer.link.expect_session = True
    with pytest.raises(ZeroDivisionError):
        connect(peer, welcome(peer))


def test_being_accepted_twice_ends_the_connection(peer: Peer) -> None:
    connect(peer, welcome(peer))
    peer.send(welcome(peer))
    assert peer.link.connects == 1
    peer.link.tend()
    assert not peer.link.connected
    assert peer.link.failure.endswith("it accepted us twice")


def test_a_broker_that_trickles_is_left(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet that never ends keeps the connection alive, and no longer: nothing else comes meanwhile."""
    monkeypatch.setattr("edge_lstm.daemon.mqtt.ACCEPT_S", 0.3)
    peer.connect(b"\x20")
    began = time.monotonic()
    wait_for(lambda: turn(peer.link) or peer.link.failure, "the end")
    assert time.monotonic() - began < 2.0
    assert "no answer to CONNECT" in peer.link.failure
