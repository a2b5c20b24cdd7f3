"""A configuration that is read again changes what it changes, costs no sample, and leaves all else bit for bit.

A bad one, or a bundle that was replaced by rubbish, changes nothing but the log.
"""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_lstm.bundle import Bundle, write
from tests.bundles import random_bundle
from tests.daemon.conftest import Listener, wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clients import EPOCH
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Ledger
from tests.faults.process import Process, config_text
from tests.faults.states import unlike_undisturbed

pytestmark = pytest.mark.faults

READ = "configuration read again"
KEPT = "configuration not changed"
GROWTH_MIB = 16.0  # however many reloads there were


@pytest.fixture
def listener(broker: StoringBroker) -> Iterator[Listener]:
    listener = Listener(broker.port)
    yield listener
    listener.close()


@pytest.fixture
def own_weights(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle's file that a test may replace."""
    path = tmp_path / "own.safetensors"
    write(bundle, path)
    return path


def other_source(topic: str, weights: Path) -> str:
    return f"[[source]]\ntopic = '{topic}'\nweights = '{weights}'\n"


class Reloaded:
    """A daemon whose configuration is written again and again.

    Args:
        start: starts daemons.
        url: of the broker.
        weights: of the source that the ledger is about.
        file: of the configuration, once the daemon is started.
    """

    def __init__(self, start: Start, url: str, weights: Path, file: Path) -> None:
        self._url, self._weights, self.file = url, weights, file
        self._start = start

    def begin(self, *sources: str) -> Process:
        """Start the daemon, with further sources."""
        self.process = self._start(self._url, {"source": "\n".join(sources)})
        return self.process

    def text(self, *sources: str, **sections: str) -> str:
        """Return a configuration with other sources."""
        return config_text(self._url, self._weights, **{**sections, "source": "\n".join(sources)})

    def reload(self, text: str, answer: str = READ) -> str:
        """Write the configuration and have it read again; return what was logged of it."""
        self.file.write_text(text, encoding="utf-8")
        before = self.process.log()
        self.process.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.process.alive() and answer in self.process.log()[len(before) :], answer, 30.0)
        return self.process.log()[len(before) :]


@pytest.fixture
def reloaded(start: Start, broker: StoringBroker, weights: Path, tmp_path: Path) -> Reloaded:
    return Reloaded(start, broker.url, weights, tmp_path / "daemon0.toml")


def say(listener: Listener, topic: str, seqs: range, value: float | None = None) -> None:
    """Publish samples of a stream that the ledger does not know: its topic is shorter."""
    draw = random.Random(topic)
    for seq in range(seqs.stop):
        values = {f"c{c}": round(draw.gauss(0.0, 2.0), 2) if value is None else value for c in range(3)}
        if seq >= seqs.start:
            listener.publish(topic, json.dumps({"t": EPOCH + seq, **values}).encode())


def said(listener: Listener, topic: str, kind: str) -> list[dict[str, object]]:
    return [json.loads(payload) for payload in listener.payloads(f"edge-lstm/{topic}/{kind}")]


BAD = {
    "unknown option": "[mqtt]\nbrokr = 'mqtt://localhost'\n",
    "not TOML": "[mqtt\n",
    "no bundle": "[[source]]\ntopic = 'plant/+/data'\nweights = 'nowhere.safetensors'\n",
    "overlap": "[[source]]\ntopic = 'plant/+/data'\n[[source]]\ntopic = 'plant/#'\n",
}


@pytest.mark.sizes("fault", quick=["unknown option", "no bundle"], full=list(BAD))
def test_a_bad_configuration_changes_nothing(ledger: Ledger, reloaded: Reloaded, bundle: Bundle, fault: str) -> None:
    process = reloaded.begin()
    ledger.wait_online(process)
    ledger.send(20)
    assert " ERROR " in reloaded.reload(BAD[fault], KEPT)
    ledger.send(20)
    account = ledger.close_books(process)
    assert (account.lost, account.duplicates, unlike_undisturbed(ledger, bundle)) == ([], 0, 0)


@pytest.mark.parametrize(
    ("sections", "section"),
    [
        ({"mqtt": "qos = 0"}, "[mqtt]"),
        ({"output": "prefix = 'elsewhere'"}, "prefix"),
        ({"state": "every_s = 9"}, "[state]"),
    ],
)
def test_what_needs_a_restart_is_refused(
    ledger: Ledger, reloaded: Reloaded, bundle: Bundle, sections: dict[str, str], section: str
) -> None:
    process = reloaded.begin()
    ledger.wait_online(process)
    ledger.send(20)
    log = reloaded.reload(reloaded.text(**sections), KEPT)
    assert section in log
    assert "needs a restart" in log
    ledger.send(20)
    ledger.close_books(process)
    assert unlike_undisturbed(ledger, bundle) == 0


def test_sources_come_and_go_and_the_others_do_not_notice(
    ledger: Ledger, reloaded: Reloaded, listener: Listener, bundle: Bundle, weights: Path
) -> None:
    process = reloaded.begin(other_source("old/+", weights))
    ledger.wait_online(process)
    say(listener, "old/x", range(30))
    say(listener, "old/x", range(30, 33), value=1000.0)
    wait_for(lambda: said(listener, "old/x", "alert"), "an alert")
    assert [alert["phase"] for alert in said(listener, "old/x", "alert")] == ["start"]
    ledger.send(20)
    reloaded.reload(reloaded.text(other_source("new/+", weights)))
    wait_for(lambda: len(said(listener, "old/x", "alert")) == 2, "the end of an alert that nobody watches")
    assert said(listener, "old/x", "alert")[-1]["phase"] == "end"
    before = len(said(listener, "old/x", "score"))
    time.sleep(0.5)  # the new subscription takes a moment
    say(listener, "old/x", range(33, 35))
    say(listener, "new/y", range(20))
    ledger.send(20)
    wait_for(lambda: len(said(listener, "new/y", "score")) == 20, "scores of the new source")
    ledger.close_books(process)
    assert len(said(listener, "old/x", "score")) == before
    assert unlike_undisturbed(ledger, bundle) == 0


def test_streams_that_there_is_no_more_room_for_end_their_alerts(
    ledger: Ledger, reloaded: Reloaded, listener: Listener, weights: Path
) -> None:
    source = other_source("other/+", weights)
    process = reloaded.begin(source)
    ledger.wait_online(process)
    for stream in ("other/x", "other/y"):
        say(listener, stream, range(30))
        say(listener, stream, range(30, 33), value=1000.0)
        wait_for(lambda stream=stream: said(listener, stream, "alert"), "an alert")
    reloaded.reload(reloaded.text(f"{source}max_streams = 1\n"))
    wait_for(lambda: len(said(listener, "other/y", "alert")) == 2, "the end of an alert that nobody watches")
    assert [alert["phase"] for alert in said(listener, "other/y", "alert")] == ["start", "end"]
    assert [alert["phase"] for alert in said(listener, "other/x", "alert")] == ["start"]
    ledger.close_books(process)


def test_another_level_of_the_log(ledger: Ledger, reloaded: Reloaded) -> None:
    process = reloaded.begin()
    ledger.wait_online(process)
    reloaded.reload(f"{reloaded.text()}[log]\nlevel = 'error'\n")
    before = process.log()
    reloaded.file.write_text("rubbish", encoding="utf-8")
    process.process.send_signal(signal.SIGHUP)
    wait_for(lambda: KEPT in process.log(), "an error")
    reloaded.file.write_text(reloaded.text(), encoding="utf-8")
    told = told_of_itself(ledger)
    process.process.send_signal(signal.SIGHUP)
    wait_for(lambda: told_of_itself(ledger) > told, "the reload")
    assert READ not in process.log()[len(before) :]
    ledger.close_books(process)


def test_another_bundle_begins_anew_and_the_others_do_not_notice(
    ledger: Ledger, reloaded: Reloaded, listener: Listener, bundle: Bundle, own_weights: Path
) -> None:
    process = reloaded.begin(other_source("other/+", own_weights))
    ledger.wait_online(process)
    say(listener, "other/x", range(30))
    ledger.send(20)
    wait_for(lambda: len(said(listener, "other/x", "score")) == 30, "scores")
    write(random_bundle(warm_up=5, seed=1), own_weights)
    say(listener, "other/x", range(30, 35))
    wait_for(lambda: len(said(listener, "other/x", "score")) == 35, "scores by the old bundle")
    reloaded.reload(reloaded.text(other_source("other/+", own_weights)))
    say(listener, "other/x", range(35, 40))
    ledger.send(20)
    wait_for(lambda: len(said(listener, "other/x", "score")) == 40, "scores by the new bundle")
    ledger.close_books(process)
    scores = said(listener, "other/x", "score")
    models = [str(score["model"]) for score in scores]
    assert (models[:35], set(models[35:])) == ([models[0]] * 35, {models[35]})
    assert models[0] != models[35]
    assert [score["quality"] for score in scores[35:]] == ["warming_up"] * 5
    assert unlike_undisturbed(ledger, bundle) == 0


@pytest.mark.sizes("how", quick=["cut short"], full=["cut short", "rubbish", "gone"])
def test_a_bundle_that_is_spoilt_is_refused_and_the_old_one_goes_on(
    ledger: Ledger, reloaded: Reloaded, listener: Listener, own_weights: Path, bundle: Bundle, how: str
) -> None:
    sources = other_source("other/+", own_weights)
    process = reloaded.begin(sources)
    ledger.wait_online(process)
    say(listener, "other/x", range(20))
    if how == "gone":
        own_weights.unlink()
    else:
        data = own_weights.read_bytes()
        own_weights.write_bytes(data[: len(data) // 2] if how == "cut short" else b"x" * len(data))
    say(listener, "other/x", range(20, 30))
    assert own_weights.name in reloaded.reload(reloaded.text(sources), KEPT)
    say(listener, "other/x", range(30, 40))
    ledger.send(20)
    wait_for(lambda: len(said(listener, "other/x", "score")) == 40, "scores by the old bundle")
    ledger.close_books(process)
    assert len({score["model"] for score in said(listener, "other/x", "score")}) == 1
    assert unlike_undisturbed(ledger, bundle) == 0


def test_samples_that_arrive_during_reloads(
    ledger: Ledger, reloaded: Reloaded, bundle: Bundle, figures: Figures, full: bool
) -> None:
    process = reloaded.begin()
    ledger.wait_online(process)
    reloads = 100 if full else 5
    ledger.send(20)
    ledger.settle()
    before = process.rss_mib()
    with ledger.feeding(rounds_per_s=50):
        for told in range(told_of_itself(ledger), told_of_itself(ledger) + reloads):
            process.process.send_signal(signal.SIGHUP)
            wait_for(lambda told=told: process.alive() and told_of_itself(ledger) > told, "the reload", 30.0)
        grew_mib = process.rss_mib() - before
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"reloads": reloads, "grew_mib": grew_mib}
    figures["longest_turn_s"] = ledger.stats()["longest_turn_s"]
    assert (account.lost, account.duplicates, unlike_undisturbed(ledger, bundle)) == ([], 0, 0)
    assert grew_mib <= GROWTH_MIB


def told_of_itself(ledger: Ledger) -> int:
    """Return how often the daemon has said what it runs: on a connection, and after a reload."""
    return sum(arrival.topic == "edge-lstm/info" for arrival in ledger.collector.arrivals)


def test_hundreds_of_reload_signals_are_as_one(
    ledger: Ledger, reloaded: Reloaded, bundle: Bundle, make_ledger: Callable[..., Ledger]
) -> None:
    process = reloaded.begin()
    ledger.wait_online(process)
    ledger.send(10)
    for _ in range(300):
        process.process.send_signal(signal.SIGHUP)
    wait_for(lambda: READ in process.log(), "the reload")
    ledger.send(10)
    ledger.close_books(process)
    assert 1 <= process.log().count(READ) <= 4
    assert unlike_undisturbed(ledger, bundle) == 0
