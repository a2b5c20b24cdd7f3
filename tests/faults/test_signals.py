"""A daemon that is told to stop finishes what it began, says goodbye and is gone within ten seconds; all is kept."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_lstm.bundle import Bundle
from tests.daemon.conftest import Listener, wait_for
from tests.faults.broker import StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Ledger
from tests.faults.proxy import Proxy
from tests.faults.states import unlike_undisturbed

pytestmark = pytest.mark.faults

STOP_S = 10.0
QUEUED = 100  # rounds of twenty samples
SHELL = ("bash", "-c")


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """A configuration that keeps everything, and acknowledges what is kept."""
    return {"mqtt": "ack_policy = 'checkpoint'", "state": f"folder = '{tmp_path}/state'\nevery_s = 0.3"}


@pytest.fixture
def generous_broker(make_broker: Callable[..., StoringBroker]) -> StoringBroker:
    """A broker that sends everything it has, acknowledged or not."""
    broker = make_broker()
    broker.add("max_inflight_messages 0\n")
    return broker


@pytest.mark.parametrize("policy", ["published", "checkpoint"])
def test_a_stop_with_two_thousand_scores_in_the_queue(
    generous_broker: StoringBroker,
    make_ledger: Callable[..., Ledger],
    make_proxy: Callable[..., Proxy],
    start: Start,
    kept: dict[str, str],
    bundle: Bundle,
    figures: Figures,
    policy: str,
) -> None:
    """The broker takes nothing until a second after the stop; then it all gets out, before the end."""
    ledger, proxy = make_ledger(generous_broker.port), make_proxy(generous_broker.port)
    process = start(proxy.url, kept | {"mqtt": f"ack_policy = '{policy}'"})
    ledger.wait_online(process)
    proxy.held = frozenset(("up",))
    ledger.send(QUEUED)
    wait_for(lambda: not ledger.publisher.outstanding(), "the broker to take over all samples")
    time.sleep(1.0)  # the daemon has them, and its scores get nowhere
    assert ledger.scored() < 100
    process.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    time.sleep(1.0)
    proxy.held = frozenset()
    assert process.process.wait(STOP_S) == 0, process.log()
    figures["stop_s"] = time.monotonic() - began
    wait_for(lambda: ledger.collector.last("edge-lstm/status") == b"offline", "the goodbye")
    figures["scored_before_the_end"] = ledger.scored()
    assert ledger.scored() == len(ledger.publisher.sent)
    again = start(generous_broker.url, kept | {"mqtt": f"ack_policy = '{policy}'"})
    ledger.wait_online(again)
    ledger.send(20)
    account = ledger.close_books(again)
    figures |= ledger.figures(account)
    assert (account.lost, account.duplicates, account.wrong) == ([], 0, 0)
    assert unlike_undisturbed(ledger, bundle) == 0
    assert figures["stop_s"] <= STOP_S


def test_a_stop_while_the_broker_takes_nothing(
    generous_broker: StoringBroker,
    make_ledger: Callable[..., Ledger],
    make_proxy: Callable[..., Proxy],
    start: Start,
    kept: dict[str, str],
    figures: Figures,
) -> None:
    """It ends nevertheless; the scores come from the daemon that is started after it."""
    ledger, proxy = make_ledger(generous_broker.port), make_proxy(generous_broker.port)
    process = start(proxy.url, kept)
    ledger.wait_online(process)
    ledger.send(10)
    ledger.settle()
    proxy.held = frozenset(("up",))
    ledger.send(QUEUED)
    time.sleep(1.0)
    began = time.monotonic()
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(STOP_S + 5.0) == 0, process.log()
    figures["stop_s"] = time.monotonic() - began
    proxy.reset()
    again = start(generous_broker.url, kept)
    account = ledger.close_books(again)
    figures |= ledger.figures(account)
    assert (account.lost, account.wrong) == ([], 0)
    assert figures["stop_s"] <= STOP_S


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT,),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGHUP),
    ],
    ids=lambda signals: "-".join(each.name for each in signals),
)
def test_signals_to_stop(
    broker: StoringBroker, ledger: Ledger, start: Start, kept: dict[str, str], signals: tuple[signal.Signals, ...]
) -> None:
    process = start(broker.url, kept, prefix=(*SHELL, 'trap - INT; exec "$@"', "bash"))
    ledger.wait_online(process)
    ledger.send(20)
    began = time.monotonic()
    for number in signals:
        process.process.send_signal(number)
        time.sleep(0.01)
    assert process.process.wait(STOP_S) == 0, process.log()
    assert time.monotonic() - began <= STOP_S
    wait_for(lambda: ledger.collector.last("edge-lstm/status") == b"offline", "the goodbye")
    again = start(broker.url, kept)
    account = ledger.close_books(again)
    assert (account.lost, account.wrong) == ([], 0)


def test_a_broken_pipe_is_no_reason_to_end(broker: StoringBroker, ledger: Ledger, start: Start) -> None:
    process = start(broker.url)
    ledger.wait_online(process)
    process.process.send_signal(signal.SIGPIPE)
    ledger.send(10)
    account = ledger.close_books(process)
    assert (account.lost, account.wrong) == ([], 0)


@pytest.mark.parametrize(
    "how",
    ['exec "$@" <&- >&- 2>&-', 'exec "$@" 2> >(true)', 'exec "$@" 2> /dev/full'],
    ids=["closed", "broken", "full"],
)
def test_nobody_reads_what_it_says(broker: StoringBroker, ledger: Ledger, start: Start, how: str) -> None:
    """Whatever its standard streams are, it works, and complains of garbage to nobody."""
    process = start(broker.url, prefix=(*SHELL, how, "bash"))
    ledger.wait_online(process)
    listener = Listener(broker.port)
    for _ in range(10):
        listener.publish("plant/s000/data", b"{")
    listener.close()
    ledger.send(10)
    account = ledger.close_books(process)
    assert (account.lost, account.wrong) == ([], 0)


def test_a_planned_pause_leaves_no_trace(
    broker: StoringBroker,
    make_ledger: Callable[..., Ledger],
    start: Start,
    kept: dict[str, str],
    bundle: Bundle,
    figures: Figures,
    full: bool,
) -> None:
    """A thousand samples wait at the broker meanwhile; every score is that of a daemon that never stopped."""
    ledger = make_ledger(broker.port, streams=50)
    process = start(broker.url, kept | {"mqtt": ""})
    ledger.wait_online(process)
    ledger.send(20)
    ledger.settle()
    assert process.end() == 0, process.log()
    ledger.send(20)
    time.sleep(60.0 if full else 5.0)
    again = start(broker.url, kept | {"mqtt": ""})
    account = ledger.close_books(again)
    figures |= ledger.figures(account)
    assert (account.sent, account.lost, account.duplicates, account.wrong) == (2000, [], 0, 0)
    assert unlike_undisturbed(ledger, bundle) == 0
