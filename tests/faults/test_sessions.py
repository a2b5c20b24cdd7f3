"""Who holds what: one daemon has a state folder, and a broker that has forgotten a session leaves no silent gap."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_lstm.bundle import Bundle
from tests.daemon.conftest import Listener, wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clients import EPOCH, sample
from tests.faults.conftest import Start
from tests.faults.ledger import Ledger, key_of
from tests.faults.proxy import Proxy
from tests.faults.states import unlike_undisturbed

pytestmark = pytest.mark.faults

Wipe = Callable[[], None]


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """A configuration with a state folder."""
    return {"state": f"folder = '{tmp_path}/state'\nevery_s = 0.3"}


@pytest.fixture
def wipe(broker: StoringBroker, tmp_path: Path) -> Wipe:
    """Ends the broker, takes its memory, and starts it again."""

    def function() -> None:
        broker.kill()
        (tmp_path / "broker0/mosquitto.db").unlink(missing_ok=True)
        broker.start()

    return function


def test_two_daemons_on_one_state_folder(
    broker: StoringBroker, ledger: Ledger, start: Start, kept: dict[str, str], bundle: Bundle
) -> None:
    """The second says so and ends with 3; the first does not notice."""
    first = start(broker.url, kept)
    ledger.wait_online(first)
    ledger.send(10)
    second = start(broker.url, kept)
    assert second.process.wait(30.0) == 3
    assert second.log().count("\n") == 1
    assert "in use by another edge-lstm" in second.log()
    ledger.send(10)
    account = ledger.close_books(first)
    assert (account.lost, account.duplicates, unlike_undisturbed(ledger, bundle)) == ([], 0, 0)
    third = start(broker.url, kept)  # the folder is free again
    ledger.wait_online(third)
    assert third.end() == 0


def test_a_folder_is_free_after_a_kill(
    broker: StoringBroker, ledger: Ledger, start: Start, kept: dict[str, str]
) -> None:
    first = start(broker.url, kept)
    ledger.wait_online(first)
    first.close()
    second = start(broker.url, kept)
    ledger.send(10)
    assert ledger.close_books(second).lost == []


def qualities(ledger: Ledger, since: int) -> list[list[str]]:
    """Return, for each sample of a stream from a number on, what its scores of all streams say of themselves."""
    found: dict[int, set[str]] = {}
    for arrival in ledger.collector.arrivals:
        if key_of(arrival):
            score = json.loads(arrival.payload)
            found.setdefault(round(score["t"]) - EPOCH, set()).add(score["quality"])
    return [sorted(found[seq]) for seq in sorted(found) if seq >= since]


def assert_flagged(ledger: Ledger, since: int, settle: int) -> None:
    """Hold that scores from a sample on say that they recover, as long as they have to."""
    told = qualities(ledger, since)
    assert told[:settle] == [["recovering"]] * settle
    assert all("recovering" not in each for each in told[settle:])


def test_a_session_that_is_lost_between_two_runs(
    broker: StoringBroker, ledger: Ledger, start: Start, kept: dict[str, str], bundle: Bundle, wipe: Wipe
) -> None:
    settle = round(bundle.metadata.settle)
    process = start(broker.url, kept)
    ledger.wait_online(process)
    ledger.send(2 * settle)
    ledger.settle()
    assert process.end() == 0, process.log()
    wipe()
    again = start(broker.url, kept)
    ledger.wait_online(again)
    time.sleep(1.0)  # a subscription that was not kept takes a moment
    ledger.send(2 * settle)
    account = ledger.close_books(again)
    assert (account.lost, account.wrong) == ([], 0)
    assert ledger.stats()["session_lost"] == 1
    assert_flagged(ledger, 2 * settle, settle)


def test_a_session_that_is_lost_while_connected(
    broker: StoringBroker, ledger: Ledger, start: Start, kept: dict[str, str], bundle: Bundle, wipe: Wipe
) -> None:
    settle = round(bundle.metadata.settle)
    process = start(broker.url, kept)
    ledger.wait_online(process)
    ledger.send(2 * settle)
    ledger.settle()
    wipe()
    wait_for(lambda: "forgotten our session" in process.log(), "the daemon to be back", 35.0)
    time.sleep(1.0)
    ledger.send(2 * settle)
    account = ledger.close_books(process)
    assert (account.lost, account.wrong) == ([], 0)
    assert ledger.stats()["session_lost"] == 1
    assert_flagged(ledger, 2 * settle, settle)


def test_a_first_start_is_no_loss(
    broker: StoringBroker, ledger: Ledger, start: Start, kept: dict[str, str], bundle: Bundle
) -> None:
    process = start(broker.url, kept)
    ledger.wait_online(process)
    ledger.send(20)
    ledger.close_books(process)
    assert ledger.stats()["session_lost"] == 0
    assert unlike_undisturbed(ledger, bundle) == 0


def test_messages_that_no_broker_keeps(
    broker: StoringBroker, start: Start, kept: dict[str, str], bundle: Bundle, make_proxy: Callable[..., Proxy]
) -> None:
    """What was sent at QoS 0 while the connection was lost is missing, and the next scores say so from the first on."""
    settle, topic = round(bundle.metadata.settle), "edge-lstm/plant/s000/data/score"
    listener, proxy = Listener(broker.port), make_proxy(broker.port)

    def say(seqs: range) -> None:
        for seq in seqs:
            listener.publish(*sample("s000", seq), qos=0)

    def online(times: int) -> None:
        wait_for(lambda: listener.payloads("edge-lstm/status").count(b"online") == times, "the daemon", 35.0)

    process = start(proxy.url, kept)
    online(1)
    say(range(3 * settle))
    wait_for(lambda: len(listener.payloads(topic)) == 3 * settle, "scores")
    proxy.reset()
    wait_for(lambda: listener.status() == "offline", "the loss of the connection")
    say(range(3 * settle, 3 * settle + 2))
    online(2)
    say(range(3 * settle + 2, 5 * settle + 2))
    wait_for(lambda: len(listener.payloads(topic)) == 5 * settle, "scores")
    assert process.end() == 0, process.log()
    listener.close()
    told = [json.loads(payload)["quality"] for payload in listener.payloads(topic)]
    assert told[2 * settle :] == ["ok"] * settle + ["recovering"] * settle + ["ok"] * settle
