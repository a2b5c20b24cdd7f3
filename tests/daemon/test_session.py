"""What we and the broker remember of each other, and what it asks of us and refuses."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from edge_lstm.daemon.retry import LONGEST_RETRY_S, REFUSED_S
from edge_lstm.messages import Message
from tests.daemon.conftest import wait_for
from tests.daemon.test_dial import turn
from tests.daemon.test_mqtt import ACCEPTED, NOT_AUTHORIZED, REFUSED, SUBSCRIBED, Peer

SESSION = b"\x20\x02\x01\x00"  # accepted, and a session was there
SUBSCRIBED_5 = b"\x90\x04\x00\x01\x00\x00"


def connack5(reason: int = 0, properties: bytes = b"", session: bool = False) -> bytes:
    body = bytes([session, reason, len(properties)]) + properties
    return bytes([0x20, len(body)]) + body


def puback5(mid: int, reason: int) -> bytes:
    return b"\x40\x03" + mid.to_bytes(2) + bytes([reason])


@pytest.fixture
def make() -> Iterator[Any]:
    """Makes links to scripted brokers; ``make(protocol="5")``."""
    made: list[Peer] = []

    def peer(**options: Any) -> Peer:
        made.append(Peer(**options))
        return made[-1]

    yield peer
    for each in made:
        each.close()


def connect(peer: Peer, *answers: bytes) -> None:
    peer.link._calls.retry.at = 0.0
    peer.connect(*answers)
    wait_for(lambda: turn(peer.link) or peer.link.connected, "the connection")


def lose(peer: Peer) -> None:
    peer._socket.close()
    wait_for(lambda: turn(peer.link) or not peer.link.connected, "the end of the connection")


def watched(peer: Peer) -> list[str]:
    """Return a list that grows with each gap."""
    gaps: list[str] = []
    peer.link.on_gap = lambda: gaps.append("gap")
    return gaps


@pytest.mark.parametrize(
    ("options", "expected", "first", "second", "gaps", "lost"),
    [
        ({"client_id": "x"}, False, ACCEPTED, SESSION, 0, 0),
        ({"client_id": "x"}, False, ACCEPTED, ACCEPTED, 1, 1),
        ({"client_id": "x"}, True, SESSION, SESSION, 0, 0),
        ({"client_id": "x"}, True, ACCEPTED, SESSION, 1, 1),
        ({}, False, ACCEPTED, ACCEPTED, 1, 0),  # nobody was asked to remember anything
        ({}, True, ACCEPTED, ACCEPTED, 2, 0),
    ],
)
def test_a_gap_is_told_of(
    make: Any, options: dict[str, Any], expected: bool, first: bytes, second: bytes, gaps: int, lost: int
) -> None:
    peer = make(**options)
    peer.link.expect_session = expected
    found = watched(peer)
    connect(peer, first, SUBSCRIBED)
    lose(peer)
    connect(peer, second, SUBSCRIBED)
    assert (len(found), peer.link.session_lost) == (gaps, lost)


def test_a_gap_is_told_of_before_what_comes_after_it(make: Any) -> None:
    peer = make(client_id="x")
    peer.link.expect_session = True
    order: list[str] = []
    peer.link.on_gap = lambda: order.append("gap")
    peer.accept()
    peer._socket.sendall(ACCEPTED + SUBSCRIBED + b"\x30\x06\x00\x03a/1xy"[:8])

    def received() -> list[str]:
        peer.link.tend()
        peer.link.wait(0.02)
        order.extend(message.topic for message in peer.link.traffic.receive())
        return order

    wait_for(lambda: len(received()) == 2, "the message")
    assert order == ["gap", "a/1"]


def test_what_nobody_wants_any_more_is_unsubscribed(make: Any) -> None:
    peer = make(client_id="x")
    peer.link.stale_filters = ["old/#", "a/#", ""]
    connect(peer, SESSION, SUBSCRIBED)
    said = peer.heard()
    assert b"\xa2\x09\x00\x01\x00\x05old/#" in said  # only that
    assert said.index(b"old/#") < said.index(b"a/#")
    assert peer.link.stale_filters == []
    fresh = make(client_id="x")
    fresh.link.stale_filters = ["old/#"]
    connect(fresh, ACCEPTED, SUBSCRIBED)
    assert b"old/#" not in fresh.heard()  # that session has none


def test_other_filters_on_a_connection_that_stands(make: Any) -> None:
    peer = make(client_id="x")
    connect(peer, ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.link.watch(["b/#"], [])
    peer.turn(0.05)
    peer.turn(0.05)
    said = peer.heard()
    assert b"\x00\x03a/#" in said  # no more
    assert b"\x00\x03b/#\x01" in said
    lose(peer)
    peer.link.watch(["c/#"], [])
    connect(peer, SESSION, SUBSCRIBED)
    peer.turn(0.05)
    said = peer.heard()
    assert b"\x00\x03b/#" in said
    assert b"\x00\x03c/#\x01" in said


@pytest.mark.parametrize(
    ("options", "answer", "problem"),
    [
        ({}, NOT_AUTHORIZED, "refused: not authorized"),
        ({}, b"\x20\x02\x00\x04", "refused: bad user name or password"),
        ({}, b"\x20\x02\x00\x03", "refused: server unavailable"),
        ({}, b"\x20\x02\x00\xee", "refused: unspecified error"),  # a reserved one
        ({"protocol": "5"}, connack5(0x86), "refused: bad user name or password"),
        ({"protocol": "5"}, connack5(0x87), "refused: not authorized"),
        ({"protocol": "5"}, b"\x20\x02\x00\x01", "refused: unsupported protocol version"),  # by one that knows 3.1.1
    ],
)
def test_a_refusal_is_a_problem_and_no_end(make: Any, options: dict[str, Any], answer: bytes, problem: str) -> None:
    peer = make(**options)
    peer.connect(answer)
    wait_for(lambda: turn(peer.link) or peer.link.failure, "the refusal")
    assert peer.link.problems == [problem]
    assert 0.85 * REFUSED_S < peer.link._calls.retry.at - time.monotonic() <= REFUSED_S
    connect(peer, connack5() if options else ACCEPTED)
    assert peer.link.problems == []
    assert peer.link.failure == ""


def test_a_refused_subscription_is_asked_for_again(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_lstm.daemon.subscriptions.AGAIN_S", 0.2)
    peer = make()
    connect(peer, ACCEPTED, REFUSED)
    assert peer.link.problems == ["subscription refused: a/#"]
    assert not peer.link.hearing.on  # silence would be no news
    peer.heard()
    wait_for(lambda: turn(peer.link) or b"\x00\x03a/#\x01" in peer.heard(), "a second request")
    peer.send(bytes([0x90, 3, 0, 2, 0]))
    assert peer.link.problems == []
    assert peer.link.hearing.on


def test_a_subscription_without_an_answer_is_a_problem(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_lstm.daemon.subscriptions.LATE_S", 0.1)
    peer = make()
    connect(peer, ACCEPTED)
    wait_for(lambda: peer.link.problems == ["subscription unanswered"], "the problem")
    for number in (b"\x09", b"\x01"):
        peer.send(b"\x90\x04\x00" + number + b"\x00\x00")  # an answer to two filters, which we never asked for
        assert not peer.link.hearing.on
        assert peer.link.problems == ["subscription unanswered"]
    peer.send(SUBSCRIBED)
    assert peer.link.problems == []


def test_a_refused_message_is_counted(make: Any) -> None:
    peer = make(protocol="5")
    connect(peer, connack5(), SUBSCRIBED_5)
    peer.heard()
    peer.link.traffic.publish(Message("own/a/alert", b"!", qos=1))
    peer.turn(0.05)
    peer.turn(0.05)
    said = peer.heard()
    at = said.index(b"own/a/alert") + len(b"own/a/alert")
    peer.send(puback5(int.from_bytes(said[at : at + 2]), 0x87))
    assert peer.link.publish_refused == 1
    assert peer.link.problems == ["publish refused: Not authorized"]
    assert peer.link.traffic.unconfirmed() == 0


def messages_in(said: bytes) -> int:
    return said.count(b"own/a/alert")


@pytest.mark.parametrize("receive_maximum", [1, 3])
def test_no_more_messages_are_under_way_than_the_broker_takes(make: Any, receive_maximum: int) -> None:
    peer = make(protocol="5", client_id="x")
    limit = connack5(properties=b"\x21" + receive_maximum.to_bytes(2))
    connect(peer, limit, SUBSCRIBED_5)
    for _ in range(20):
        peer.link.traffic.publish(Message("own/a/alert", b"!", qos=1))
    peer.turn(0.05)
    assert messages_in(peer.heard()) == receive_maximum
    lose(peer)
    connect(peer, limit, SUBSCRIBED_5)  # paho by itself would send all twenty now
    peer.turn(0.05)
    said = peer.heard()
    assert messages_in(said) == receive_maximum
    for _ in range(20):
        at = said.index(b"own/a/alert") + len(b"own/a/alert")
        peer._socket.sendall(puback5(int.from_bytes(said[at : at + 2]), 0))
        peer.turn(0.01)
        said = said[at + 3 :] + peer.heard()
        assert messages_in(said) <= receive_maximum
    assert peer.link.traffic.unconfirmed() == 0


def test_nothing_is_sent_that_is_too_long_for_the_broker(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    peer = make(protocol="5")
    connect(peer, connack5(properties=b"\x27" + (200).to_bytes(4)), SUBSCRIBED_5)
    assert "the broker takes packets of 200 bytes at most" in caplog.text
    peer.heard()
    for qos in (0, 1):
        peer.link.traffic.publish(Message("own/a/alert", bytes(250), qos=qos))
        peer.link.traffic.publish(Message("own/a/alert", bytes(150), qos=qos))
    peer.link.tend()
    peer.turn(0.05)
    assert messages_in(peer.heard()) == 2
    assert peer.link.traffic.unsent == 2
    assert peer.link.problems == ["message too long for the broker"]


def test_a_broker_that_wants_to_hear_from_us_often_does(make: Any) -> None:
    """The service tends the link once a second; a keepalive of 1 s allows for 1.5 s."""
    peer = make(protocol="5")
    connect(peer, connack5(properties=b"\x13\x00\x01"), SUBSCRIBED_5)
    peer.heard()
    began, asked = time.monotonic(), 0
    while time.monotonic() - began < 0.8:
        peer.link.wait(1.0)
        asked += peer.heard().count(b"\xc0\x00")
    assert asked


def test_a_session_that_was_taken_over_is_told_as_such(make: Any) -> None:
    peer = make(protocol="5", client_id="x")
    connect(peer, connack5(), SUBSCRIBED_5)
    peer.send(b"\xe0\x01\x8e")
    assert "session taken over: another client came with our client_id" in peer.link.failure
    assert not peer.link.connected
    assert peer.link._calls.retry.at - time.monotonic() <= LONGEST_RETRY_S


def test_a_filter_that_stays_is_not_asked_for_again(make: Any) -> None:
    """What is new is asked for, what is not wanted given up; the rest a broker would send again from its retained."""
    peer = make()
    connect(peer, ACCEPTED, SUBSCRIBED)
    peer.heard()
    peer.link.watch(["a/#"], [])
    peer.turn(0.05)
    assert peer.heard() == b""
    peer.link.watch(["b/#", "a/#"], [])
    peer.turn(0.05)
    said = peer.heard()
    assert b"\x00\x03b/#\x01" in said
    assert b"a/#" not in said
    peer.link.watch(["b/#"], [])
    peer.turn(0.05)
    assert b"\x00\x03a/#" in peer.heard()
