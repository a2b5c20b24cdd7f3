"""systemd is told the truth: ready when it listens, alive while the loop turns, and when it reloads or stops."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Ledger
from tests.faults.notify import Notify
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.faults

PET_S = 2.0  # the longest between two signs of life


@pytest.fixture
def make_notify(tmp_path: Path) -> Iterator[Callable[..., Notify]]:
    made: list[Notify] = []

    def make(watchdog_s: float = 30.0) -> Notify:
        made.append(Notify(tmp_path, watchdog_s))
        return made[-1]

    yield make
    for notify in made:
        notify.close()


@pytest.mark.sizes("watchdog_s", quick=[3.0], full=[3.0, 30.0])
def test_a_stalled_loop_is_ended_by_the_watchdog(
    broker: StoringBroker,
    ledger: Ledger,
    start: Start,
    make_notify: Callable[..., Notify],
    tmp_path: Path,
    figures: Figures,
    watchdog_s: float,
) -> None:
    notify, fault = make_notify(watchdog_s), tmp_path / "fault"
    sections = {"mqtt": "ack_policy = 'checkpoint'", "state": f"folder = '{tmp_path}/state'\nevery_s = 0.3"}
    environment = notify.environment | {"FAULT": "stall", "FAULT_FILE": str(fault)}
    process = start(broker.url, sections, module="tests.faults.faulty", environment=environment)
    notify.wait("READY=1")
    with ledger.feeding(rounds_per_s=10):
        time.sleep(3.0)
        stalled = time.monotonic()
        figures["longest_pause_s"] = notify.longest_silence_s()
        fault.touch()
        wait_for(lambda: notify.longest_silence_s() > watchdog_s, "a missed deadline", watchdog_s + 5.0)
        figures["ended_s"] = time.monotonic() - stalled
        assert process.end(signal.SIGABRT) == -signal.SIGABRT
        again = start(broker.url, sections)
        ledger.wait_online(again)
    account = ledger.close_books(again)
    figures |= ledger.figures(account)
    assert figures["longest_pause_s"] <= PET_S
    assert figures["ended_s"] <= watchdog_s + PET_S
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)


def test_it_is_ready_when_it_listens_and_asks_for_patience_until_then(
    broker: StoringBroker,
    ledger: Ledger,
    start: Start,
    make_proxy: Callable[..., Proxy],
    make_notify: Callable[..., Notify],
) -> None:
    proxy, notify = make_proxy(broker.port), make_notify()
    proxy.held = frozenset(("down",))  # the broker's word does not come
    process = start(proxy.url, environment=notify.environment)
    patience = [line for line in ("EXTEND_TIMEOUT_USEC=60000000", "WATCHDOG=1") if notify.wait(line)]
    time.sleep(3.0)
    assert process.alive()
    assert len(notify.moments(patience[0])) >= 3
    assert not notify.moments("READY=1")
    proxy.held = frozenset()
    ready = notify.wait("READY=1")
    ledger.wait_online(process)
    ledger.send(1)
    ledger.settle()
    assert len(notify.moments("READY=1")) == 1
    assert all(at <= ready for at in notify.moments(patience[0]))
    stopped = time.monotonic()
    ledger.close_books(process)
    assert notify.moments("STOPPING=1")[0] >= stopped


def test_a_reload_is_over_when_it_is_over(
    broker: StoringBroker, ledger: Ledger, start: Start, make_notify: Callable[..., Notify]
) -> None:
    notify = make_notify()
    process = start(broker.url, environment=notify.environment)
    notify.wait("READY=1")
    process.process.send_signal(signal.SIGHUP)
    reloading = notify.wait("RELOADING=1")
    wait_for(lambda: len(notify.moments("READY=1")) == 2, "a second READY=1")
    wait_for(lambda: "configuration read again" in process.log(), "the word that it is over, at the same time", 0.3)
    assert any(line.startswith("MONOTONIC_USEC=") for _, line in notify.heard)
    assert reloading < notify.moments("READY=1")[1]
    ledger.close_books(process)
