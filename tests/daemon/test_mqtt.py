"""The connection against a scripted broker: hostile packets, refusals, and one that takes nothing."""

import gc
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_lstm.daemon.broker import open_broker
from edge_lstm.daemon.check import Prepared
from edge_lstm.daemon.config import Config, Mqtt
from edge_lstm.daemon.inbox import KEPT
from edge_lstm.daemon.mqtt import Link
from edge_lstm.daemon.service import Service
from edge_lstm.daemon.signals import Signals
from edge_lstm.daemon.stats import dropped
from edge_lstm.daemon.toml import Problems
from edge_lstm.daemon.traffic import HELD, QUEUE
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline
from edge_lstm.stages.decode import MAX_PAYLOAD_BYTES

ACCEPTED, NOT_AUTHORIZED, BAD_VERSION = (bytes([0x20, 2, 0, code]) for code in (0, 5, 1))
SUBSCRIBED, REFUSED = (bytes([0x90, 3, 0, 1, code]) for code in (0, 0x80))


def publish(topic: bytes, payload: bytes, mid: int = 0) -> bytes:
    body = len(topic).to_bytes(2) + topic + (mid.to_bytes(2) if mid else b"") + payload
    length = bytearray()
    left = len(body)
    while left >= 128:
        length.append(left % 128 | 128)
        left //= 128
    return bytes([0x32 if mid else 0x30, *length, left]) + body


class Peer:
    """What the link is connected to."""

    def __init__(self, **options: Any) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(5.0)
        mqtt = Mqtt(broker=f"mqtt://127.0.0.1:{self._server.getsockname()[1]}", **options)
        broker = open_broker(mqtt, Path(), Problems(""))
        assert broker is not None
        self.broker = broker
        self.link = Link(broker, ["a/#"], "own/status")
        self.received: list[Message] = []
        self._socket: Any = None

    def connect(self, *answers: bytes) -> None:
        self.accept()
        self.send(b"".join(answers))

    def accept(self) -> None:
        """Have the link connect, and say nothing yet."""
        if self._socket is not None:
            self._socket.close()
        self.link.tend()
        self._socket, _ = self._server.accept()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each packet by itself, and at once

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)
        self.turn()

    def turn(self, seconds: float = 0.1) -> None:
        """Let the link work for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.link.wait(left)
            self.received += self.link.traffic.receive()
            self.link.traffic.flush()

    def heard(self) -> bytes:
        """Return what the link has written."""
        data = b""
        while select.select([self._socket], [], [], 0)[0] and (more := self._socket.recv(65536)):
            data += more
        return data

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._server.close()
        self.link._client._sock_close()
        self.link._calls.give_up()


@pytest.fixture(params=["wire", "paho"])
def peer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """A link on a wire, and one as with a paho that lets nothing in between."""
    if request.param == "paho":
        monkeypatch.setattr("edge_lstm.daemon.wire.Wire", lambda sock, five: sock)
    peer = Peer()
    yield peer
    peer.close()


def test_messages_are_acknowledged_when_told_so(peer: Peer, request: pytest.FixtureRequest) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    assert (peer.link.traffic.wire is not None) == ("wire" in request.node.callspec.params.values())
    peer.heard()
    peer.send(publish(b"a/1", b"x", 7) + publish(b"a/2", b"y") + publish(b"a/3", b"z", 8))
    assert [message.payload for message in peer.received] == [b"x", b"y", b"z"]
    peer.link.traffic.acknowledge()
    peer.turn()
    assert peer.heard() == b""
    peer.link.traffic.handled()
    peer.link.traffic.acknowledge()
    peer.turn()
    assert peer.heard() == b"\x40\x02\x00\x07\x40\x02\x00\x08"


def test_a_message_is_acknowledged_when_what_follows_from_it_is_confirmed(peer: Peer) -> None:
    """After a crash between the two, the message comes again; the other way round, an alert would be lost."""
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.send(publish(b"a/1", b"x", 7))
    assert peer.received
    peer.link.traffic.publish(Message("out/alert", b"!", retain=True, qos=1))
    peer.link.traffic.handled()
    peer.link.traffic.acknowledge()
    peer.turn()
    said = peer.heard()
    after = said.index(b"out/alert") + len(b"out/alert")
    assert b"\x40\x02\x00\x07" not in said
    peer.send(b"\x40\x02" + said[after : after + 2])  # confirmed
    peer.link.traffic.acknowledge()
    peer.turn()
    assert peer.heard() == b"\x40\x02\x00\x07"


def test_an_acknowledgement_does_not_outlive_its_connection(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED, publish(b"a/1", b"x", 7))
    peer._socket.close()
    peer.turn()
    assert not peer.link.connected
    assert peer.link.failure.startswith("lost after")
    peer.link.tend()
    assert peer.link._socket is None  # it does not try at once
    peer.link._calls.retry.at = 0.0
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.link.traffic.handled()
    peer.link.traffic.acknowledge()
    peer.turn()
    assert peer.heard() == b""


def test_a_topic_that_is_not_text_is_counted(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.send(publish(b"a/\xff", b"x", 3) + publish(b"a/1", b"y"))
    assert peer.link.traffic.bad_topics == 1
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
    while not peer.link.traffic.blocked:
        peer.link.traffic.publish(Message("own/a/score", bytes(60_000)))
        peer.link.traffic.flush()
    peer._socket.sendall(publish(b"a/1", b"x"))
    peer.turn()
    assert peer.received == []
    peer.heard()
    began = time.monotonic()
    peer.link.wait(5.0)  # no longer than until there is room
    assert time.monotonic() - began < 2.0
    while peer.link.traffic.blocked:
        peer.heard()
        peer.turn(0.01)
    peer.turn()
    assert [message.payload for message in peer.received] == [b"x"]


def test_what_waits_for_the_broker_is_bounded(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED, publish(b"a/1", b"x", 7))
    for _ in range(QUEUE + 10):
        peer.link.traffic.publish(Message("own/a/alert", b"", qos=1))
    assert peer.link.traffic.unsent == 10
    peer.link.traffic.handled()
    peer.link.traffic.acknowledge()
    peer.turn()
    assert b"\x40\x02\x00\x07" not in peer.heard()  # what came in is held back meanwhile
    assert peer.link.traffic.unconfirmed() == QUEUE


UNSUBSCRIBED = bytes([0xB0, 2, 0, 3])
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


def test_the_clock_of_silence_runs_only_while_we_listen(peer: Peer) -> None:
    hearing = peer.link.hearing
    peer.connect(ACCEPTED, SUBSCRIBED)
    assert hearing.on
    assert hearing.seconds == 0.0
    peer.turn(0.05)
    peer.send(publish(b"a/1", b"x"))
    assert hearing.seconds > 0.05
    assert hearing.wall == pytest.approx(time.time(), abs=2.0)
    peer._socket.close()
    peer.turn()
    stopped = hearing.seconds
    peer.link._calls.retry.at = 0.0
    time.sleep(0.05)
    peer.connect(ACCEPTED, SUBSCRIBED)
    assert hearing.seconds == stopped


def test_a_broker_that_says_nothing_is_asked(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.link.tend()
    assert peer.heard() == b""  # it has just spoken
    monkeypatch.setattr("edge_lstm.daemon.mqtt.LULL_S", 0.05)
    peer.turn()
    before = peer.link.hearing.seconds
    peer.link.tend()
    asked = peer.heard()
    wired = peer.link.traffic.wire is not None
    assert asked == PINGREQ if wired else asked.startswith(b"\xa2") and asked.endswith(b"own/status")
    assert peer.link.hearing.seconds == before
    peer.send(PINGRESP if wired else UNSUBSCRIBED)
    assert peer.link.hearing.seconds > before
    assert peer.link.connected


def test_a_payload_that_no_decoder_takes_is_not_kept(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.send(publish(b"a/1", bytes(MAX_PAYLOAD_BYTES + 1), 7) + publish(b"a/1", bytes(MAX_PAYLOAD_BYTES)))
    assert [len(message.payload) for message in peer.received] == [MAX_PAYLOAD_BYTES]
    assert peer.link.traffic.inbox.too_large == 1
    assert dropped(Pipeline([]), peer.link) == {"too_large": 1}
    peer.link.traffic.acknowledge()
    peer.turn()
    assert peer.heard() == b"\x40\x02\x00\x07"


def test_what_is_kept_is_bounded_in_bytes(peer: Peer) -> None:
    peer.connect(ACCEPTED, SUBSCRIBED)
    for _ in range(HELD):
        peer.link.traffic.publish(Message("own/a/alert", b"", qos=1))
    for k in range(KEPT // 60_000 + 20):
        peer._socket.sendall(publish(b"a/%d" % k, bytes(60_000)))
        peer.turn(0.005)
        peer.heard()
    peer.turn()
    traffic = peer.link.traffic
    assert peer.received == []
    assert 0.9 * KEPT < 60_000 * len(traffic.inbox) < 1.1 * KEPT
    assert traffic.inbox.overflow > 0
    assert traffic.received == len(traffic.inbox) + traffic.inbox.overflow == k + 1
    assert [message.topic for message in traffic.inbox.take(1)] == [
        f"a/{traffic.inbox.overflow}"
    ]  # the oldest gave way


def test_nothing_spins_after_a_signal(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not confirm our last messages is waited for, and not in circles."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    monkeypatch.setattr("edge_lstm.daemon.service.GOODBYE_S", 1.0)
    peer.connect(ACCEPTED, SUBSCRIBED)
    peer.link.traffic.publish(Message("own/a/alert", b"", qos=1))
    waits: list[float] = []
    wait = peer.link.wait
    monkeypatch.setattr(peer.link, "wait", lambda timeout_s: (waits.append(timeout_s), wait(timeout_s)))

    def stop() -> None:
        while signal.getsignal(signal.SIGTERM) == handlers[signal.SIGTERM]:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    try:
        prepared, signals = Prepared(Config(), peer.broker, [], None), Signals(peer.link.poller)
        Service(prepared, None, peer.link, signals, lambda: pytest.fail("not asked")).run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.unfreeze()
    assert 1 < len(waits) < 100
