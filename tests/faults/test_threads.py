"""A daemon that breaks, in any of its threads, ends within two seconds with code 70 and a word; no sample is lost."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Ledger
from tests.faults.process import Process
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.faults

END_S = 2.0
NEVER: Callable[[Process, Proxy], None] = lambda process, proxy: None  # noqa: E731
# what makes the daemon come by the place that is broken
PROVOKE: dict[str, Callable[[Process, Proxy], None]] = {
    "loop": NEVER,
    "engine": NEVER,
    "checkpoint": NEVER,
    "callback": lambda process, proxy: proxy.reset(),
    "reload": lambda process, proxy: process.process.send_signal(signal.SIGHUP),
}


@pytest.mark.parametrize("place", list(PROVOKE))
def test_a_fault_in_any_thread_ends_the_daemon(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: Callable[..., Proxy],
    start: Start,
    tmp_path: Path,
    figures: Figures,
    place: str,
) -> None:
    proxy, fault = make_proxy(broker.port), tmp_path / "fault"
    sections = {"mqtt": "ack_policy = 'checkpoint'", "state": f"folder = '{tmp_path}/state'\nevery_s = 0.3"}
    environment = {"FAULT": place, "FAULT_FILE": str(fault)}
    process = start(proxy.url, sections, module="tests.faults.faulty", environment=environment)
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=10):
        time.sleep(1.0)  # it works for a while
        fault.touch()
        PROVOKE[place](process, proxy)
        wait_for(lambda: f"injected into the {place}" in process.log(), "the fault to show")
        shown = time.monotonic()
        assert process.process.wait(END_S) == 70
        figures["ended_s"] = time.monotonic() - shown
        wait_for(lambda: ledger.collector.last("edge-lstm/status") == b"offline", "the will", END_S)
        figures["offline_s"] = time.monotonic() - shown
        assert "a fault of ours" in process.log()
        again = start(broker.url, sections)
        ledger.wait_online(again)
    account = ledger.close_books(again)
    figures |= ledger.figures(account)
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)
