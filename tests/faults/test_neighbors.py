"""Neighbors do no harm: a second daemon of the same name, thousands of old messages, too many open files.

And others are told at once of a daemon that is gone.
"""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clients import EPOCH, session
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Ledger
from tests.faults.namespace import Namespace
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.faults

STATUS = "edge-lstm/status"


@pytest.mark.sizes("seconds", quick=[40], full=[120])
def test_two_daemons_with_one_client_id(
    broker: StoringBroker, ledger: Ledger, start: Start, figures: Figures, seconds: float
) -> None:
    """They throw each other out, but less and less often; each says why; and nothing is lost."""
    first = start(broker.url)
    ledger.wait_online(first)
    second = start(broker.url)
    began = time.monotonic()
    with ledger.feeding(rounds_per_s=5):
        time.sleep(seconds)
        connections = sum(process.log().count("connected") for process in (first, second))
        assert first.alive()
        assert second.end() == 0
        ledger.resumed(first, time.monotonic(), 65.0)
    account = ledger.close_books(first)
    figures |= ledger.figures(account) | {"connections": connections, "resumed_s": time.monotonic() - began - seconds}
    assert account.lost == []
    assert connections <= 4 + seconds / 5
    assert "another client with client_id" in first.log() + second.log()


@pytest.fixture
def descriptors() -> Iterator[list[int]]:
    """1,100 open files, so that the next has a number that ``select`` can't take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield opened
    for descriptor in opened:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_than_a_thousand_open_files(
    broker: StoringBroker, ledger: Ledger, start: Start, figures: Figures, descriptors: list[int]
) -> None:
    process = start(broker.url, pass_fds=descriptors)
    ledger.wait_online(process)
    assert process.descriptors() > 1100
    ledger.send(50)
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"connects": ledger.stats()["connects"]}
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)
    assert figures["connects"] == 1


def test_no_file_may_be_opened_any_more(
    broker: StoringBroker, ledger: Ledger, make_proxy: Callable[..., Proxy], start: Start, figures: Figures
) -> None:
    """The daemon says so, once, and goes on as soon as it can."""
    proxy = make_proxy(broker.port)
    process = start(proxy.url)
    ledger.wait_online(process)
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    with ledger.feeding(rounds_per_s=5):
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (process.descriptors() - 1, before[1]))
        proxy.reset()
        wait_for(lambda: process.alive() and "Too many open files" in process.log(), "a word about it")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
        resumed = ledger.resumed(process, time.monotonic())
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"resumed_s": resumed}
    assert process.log().count("Too many open files") == 1
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)


def test_ten_thousand_retained_messages(broker: StoringBroker, ledger: Ledger, start: Start, figures: Figures) -> None:
    """They step nothing, are counted, and hold nothing up."""
    count = 10_000
    keeper = session("keeper", broker.port)
    keeper.loop_start()
    wait_for(keeper.is_connected, "a client's connection")
    payload = b'{"t": %d, "c0": 1.0, "c1": 1.0, "c2": 1.0}' % EPOCH
    kept = [keeper.publish(f"plant/old{number}/data", payload, 1, retain=True) for number in range(count)]
    wait_for(lambda: all(info.is_published() for info in kept), "the broker to keep them", 30.0)
    keeper.disconnect()
    keeper.loop_stop()
    process = start(broker.url)
    ledger.wait_online(process)
    online = time.monotonic()
    ledger.send(1)
    wait_for(lambda: ledger.scored() == len(ledger.streams), "a score of every stream", 5.0)
    figures |= {"scored_s": time.monotonic() - online}
    account = ledger.close_books(process)
    stats = ledger.stats()
    figures |= ledger.figures(account)
    assert stats["dropped"] == {"retained_ignored": count}
    assert stats["scored"] == len(ledger.streams) == stats["streams"]


def test_a_sudden_end_is_known_at_once(broker: StoringBroker, ledger: Ledger, start: Start, figures: Figures) -> None:
    process = start(broker.url)
    ledger.wait_online(process)
    killed = time.monotonic()
    process.end(signal.SIGKILL)
    wait_for(lambda: ledger.collector.last(STATUS) == b"offline", "the will", 2.0)
    figures |= {"offline_s": ledger.collector.arrivals[-1].at - killed}
    again = start(broker.url)
    ledger.wait_online(again)
    ledger.close_books(again)


def test_a_machine_that_is_gone_is_known_within_its_keepalive(
    namespace: Namespace,
    make_broker: Callable[..., StoringBroker],
    make_ledger: Callable[..., Ledger],
    start: Start,
    figures: Figures,
) -> None:
    """No packet tells of a lost supply of power; the broker waits one and a half keepalives, as it should."""
    broker = make_broker(addresses=(namespace.host,))
    ledger = make_ledger(broker.port)
    process = start(f"mqtt://{namespace.host}:{broker.port}", {"mqtt": "keepalive_s = 5"}, prefix=namespace.prefix)
    ledger.wait_online(process)
    namespace.drop("INPUT", "OUTPUT")
    dropped = time.monotonic()
    wait_for(lambda: ledger.collector.last(STATUS) == b"offline", "the will", 15.0)
    figures |= {"offline_s": ledger.collector.arrivals[-1].at - dropped}
    namespace.heal()
    ledger.wait_online(process)
    ledger.close_books(process)
    assert figures["offline_s"] <= 1.5 * 5 + 6.0  # Mosquitto looks every five seconds


def test_a_late_listener_knows_whether_the_daemon_is_there(
    broker: StoringBroker, make_ledger: Callable[..., Ledger], start: Start
) -> None:
    """The status is retained, and said again on every connection: the will of the one before may come late."""
    early = make_ledger(broker.port, streams=1)
    process = start(broker.url)
    early.wait_online(process)
    broker.kill()
    broker.start()
    make_ledger(broker.port, streams=1).wait_online(process)
    process.end()
    late = make_ledger(broker.port, streams=1)
    wait_for(lambda: late.collector.last(STATUS) == b"offline", "the retained status")
