"""Making a connection never holds the loop up, and always comes to an end."""

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_lstm.daemon import dial
from edge_lstm.daemon.broker import Broker, open_broker
from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.dial import Dial, Line
from edge_lstm.daemon.mqtt import Link
from edge_lstm.daemon.retry import LONGEST_RETRY_S, RIVAL_S, SHORTEST_RETRY_S, YOUNG_ENDS, YOUNG_S, Retry, Rivalry
from edge_lstm.daemon.toml import Problems
from tests.daemon.conftest import free_port, wait_for
from tests.daemon.test_mqtt import ACCEPTED, SUBSCRIBED, Peer

LOOKUP = socket.getaddrinfo


def opened(address: str, **options: Any) -> Broker:
    problems = Problems("")
    broker = open_broker(Mqtt(broker=address, **options), Path(), problems)
    assert broker is not None, problems.found
    return broker


def outcome(attempt: Dial, timeout_s: float = 10.0) -> Line | str:
    poller = select.poll()
    poller.register(attempt, select.POLLIN)
    assert poller.poll(timeout_s * 1000.0), "the attempt goes on"
    return attempt.take()


def turn(link: Link) -> None:
    link.tend()
    link.wait(0.02)
    link.traffic.receive()
    link.traffic.flush()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name service that answers once it is allowed to."""
    allowed = threading.Event()

    def look_up(*arguments: Any, **options: Any) -> Any:
        assert allowed.wait(30.0)
        return LOOKUP(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield allowed
    allowed.set()


def test_a_name_service_that_hangs_does_not_stop_the_loop(peer: Peer, stuck: threading.Event) -> None:
    threads = threading.active_count()
    longest = 0.0
    for _ in range(20):
        began = time.monotonic()
        turn(peer.link)
        longest = max(longest, time.monotonic() - began)
    assert longest < 0.5
    assert not peer.link.connected
    assert threading.active_count() == threads + 1  # and no further attempt beside it
    stuck.set()
    peer.connect(ACCEPTED, SUBSCRIBED)
    wait_for(lambda: turn(peer.link) or peer.link.connected, "the connection")
    wait_for(lambda: threading.active_count() == threads, "the thread to end")


def test_a_name_service_that_hangs_is_told_of(
    peer: Peer, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_lstm.daemon.calls.LATE_S", 0.1)
    wait_for(lambda: turn(peer.link) or peer.link.failure, "a failure")
    assert "still waiting for its name to be found" in peer.link.failure
    assert peer.link.problems == ["no connection"]


def test_every_address_of_a_name_is_tried(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = ("127.0.0.1", peer.link._mqtt.port)
    dead = ("127.0.0.1", free_port())
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*kind, dead), (*kind, alive)])
    peer.connect(ACCEPTED, SUBSCRIBED)
    wait_for(lambda: turn(peer.link) or peer.link.connected, "the connection")


def test_an_address_that_swallows_everything_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        full = [socket.socket() for _ in range(4)]  # nobody accepts them, so that there is no room for one more
        for sock in full:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        assert outcome(Dial(opened(f"mqtt://127.0.0.1:{server.getsockname()[1]}"))) == "no answer within 0 s"
        for sock in full:
            sock.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (UnicodeError("label empty or too long"), "label empty or too long"),
    ],
)
def test_what_can_be_expected_is_a_reason(error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert outcome(Dial(opened("mqtt://somewhere"))) == reason


def test_what_can_t_be_expected_leaves_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon ends on it; and who only records is not kept waiting."""

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("on purpose")

    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda found: caught.append(found.exc_type))
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert outcome(Dial(opened("mqtt://somewhere"))) == "the attempt failed; see the error before"
    wait_for(lambda: caught == [ZeroDivisionError], "the hook")


def test_no_file_is_left_open(peer: Peer) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = files()
    broker = opened(f"mqtt://127.0.0.1:{peer.link._mqtt.port}")
    for _ in range(5):
        line = outcome(Dial(broker))
        assert isinstance(line, Line)
        line.sock.close()
        attempt = Dial(broker)
        attempt.give_up()
        late = Dial(broker)
        select.select([late], [], [], 5.0)
        late.give_up()
        assert outcome(Dial(opened(f"mqtt://127.0.0.1:{free_port()}"))) == "Connection refused"
    wait_for(lambda: files() == before, "all files to be closed")


def test_too_many_open_files_is_a_reason_to_wait(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", fail)
    turn(peer.link)
    assert peer.link.failure.endswith("Too many open files")
    assert peer.link._calls.retry.at > time.monotonic()


def test_a_broker_that_does_not_let_us_in_is_left(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_lstm.daemon.mqtt.ACCEPT_S", 0.2)
    peer.connect()
    wait_for(lambda: turn(peer.link) or peer.link.failure, "a failure")
    assert "not let in: no answer to CONNECT within 0 s" in peer.link.failure
    wait_for(lambda: peer.heard().endswith(b"own/status\x00\x07offline") or peer._socket.recv(1) == b"", "the end")


def test_a_broker_that_swallows_everything_is_left_within_the_keepalive(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_lstm.daemon.mqtt.LULL_S", 0.1)
    peer.link._pulse._keepalive_s = 0.5
    peer.connect(ACCEPTED, SUBSCRIBED)
    wait_for(lambda: turn(peer.link) or peer.link.connected, "the connection")
    began = time.monotonic()
    wait_for(lambda: turn(peer.link) or not peer.link.connected, "the end")
    assert 0.5 <= time.monotonic() - began < 1.5
    assert peer.link.failure == "lost after 1 s: no sign of life for 30 s"


def test_a_process_that_stood_still_does_not_blame_the_broker(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a suspend, what the broker said meanwhile is yet to be read, and what was not asked not answered."""
    peer.connect(ACCEPTED, SUBSCRIBED)
    wait_for(lambda: turn(peer.link) or peer.link.connected, "the connection")
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600.0)
    peer.link.tend()
    assert peer.link.connected


def test_attempts_are_put_off_longer_and_longer_and_never_for_too_long() -> None:
    retry = Retry()
    waits = []
    for _ in range(200):
        retry.later(100.0)
        waits.append(retry.at - 100.0)
    assert 0.5 * SHORTEST_RETRY_S <= waits[0] <= 1.5 * SHORTEST_RETRY_S
    assert min(waits[10:]) >= LONGEST_RETRY_S / 3.0
    assert LONGEST_RETRY_S * 0.9 < max(waits) <= LONGEST_RETRY_S
    retry.forget()
    retry.later(100.0)
    assert retry.at - 100.0 <= 1.5 * SHORTEST_RETRY_S


def test_a_rival_is_suspected_once_connections_end_young_again_and_again() -> None:
    rivalry = Rivalry()
    assert [rivalry.ended(k, YOUNG_S - 1.0) for k in range(YOUNG_ENDS)] == [False] * (YOUNG_ENDS - 1) + [True]
    assert not rivalry.ended(YOUNG_ENDS, 0.0)  # it starts over
    rivalry = Rivalry()
    assert not any(rivalry.ended(21.0 * k, 0.0) for k in range(20))  # too few in a minute
    assert not any(rivalry.ended(k, YOUNG_S) for k in range(20))


@pytest.mark.parametrize("client_id", ["", "gateway"])
def test_a_rival_is_left_alone_for_a_minute(client_id: str, caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer(client_id=client_id)
    for _ in range(YOUNG_ENDS):
        peer.link._calls.retry.at = 0.0
        peer.connect(ACCEPTED, SUBSCRIBED)
        wait_for(lambda: turn(peer.link) or peer.link.connected, "the connection")
        peer._socket.close()
        wait_for(lambda: turn(peer.link) or not peer.link.connected, "its end")
    wait_s = peer.link._calls.retry.at - time.monotonic()
    said = "another client with client_id gateway?" in caplog.text
    peer.close()
    assert said == bool(client_id)
    assert ("another client with our client_id?" in peer.link.problems) == said
    assert 0.85 * RIVAL_S < wait_s <= RIVAL_S if client_id else wait_s <= LONGEST_RETRY_S
