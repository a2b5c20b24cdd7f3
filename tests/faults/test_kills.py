"""A daemon that is killed again and again loses no sample, and never tells a score it can't vouch for as if it could.

With ``ack_policy = "published"``, samples that were acknowledged after the last checkpoint are missing in the state
after a kill: scores may differ from those of an undisturbed daemon for a while, and say that they are ``recovering``.
With ``"checkpoint"`` the state is bit for bit that of an undisturbed daemon, and so are all scores.
"""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_lstm.bundle import Bundle
from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clients import Arrival
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Account, Key, Ledger, check_conservation, key_of, same_score
from tests.faults.process import Process
from tests.faults.states import expected_scores, newest, replayed, rows_of, sent_by, steps_of

pytestmark = pytest.mark.faults

MakeLedger = Callable[..., Ledger]
ROUNDS_PER_S = 10
QUIET_S = 3.0  # with nothing new for so long, all that was to come has come
DOUBTFUL = ("recovering", "warming_up")


@pytest.fixture
def generous_broker(make_broker: Callable[..., StoringBroker]) -> StoringBroker:
    """A broker that sends everything it has, acknowledged or not."""
    broker = make_broker()
    broker.add("max_inflight_messages 0\n")
    return broker


class Killed:
    """A daemon with a state folder that is killed at random moments and started again.

    Args:
        start: starts it.
    """

    def __init__(self, start: Callable[[], Process], ledger: Ledger, seed: int) -> None:
        self._start = start
        self._ledger = ledger
        self._random = random.Random(seed)
        self.process = start()
        self.runs = [self.process]

    def kill(self) -> None:
        """Let it work for a moment, or not even begin; kill it, and start another."""
        if self._random.random() < 0.75:
            self._ledger.wait_online(self.process)
        time.sleep(self._random.uniform(0.0, 2.0))
        assert self.process.end(signal.SIGKILL) == -signal.SIGKILL, self.process.log()
        self.process = self._start()
        self.runs.append(self.process)

    def go_through(self, kills: int, rounds: int) -> None:
        """Kill it so many times while samples are sent, so many of each stream in all."""
        self._ledger.wait_online(self.process)
        with self._ledger.feeding(rounds_per_s=ROUNDS_PER_S):
            for _ in range(kills):
                self.kill()
            wait_for(lambda: self.sent_rounds() >= rounds - ROUNDS_PER_S, "samples", rounds / ROUNDS_PER_S)
        self._ledger.send(max(0, rounds - self.sent_rounds()))

    def sent_rounds(self) -> int:
        return len(self._ledger.publisher.sent) // len(self._ledger.streams)


@pytest.fixture
def killed(tmp_path: Path, start: Start, generous_broker: StoringBroker) -> Callable[..., Killed]:
    """Makes a daemon to be killed."""
    folder = tmp_path / "state"

    def make(ledger: Ledger, policy: str, source: str = "") -> Killed:
        sections = {
            "mqtt": f"ack_policy = '{policy}'",
            "state": f"folder = '{folder}'\nevery_s = 0.3",
            "source": source,
        }
        return Killed(lambda: start(generous_broker.url, sections), ledger, seed=len(policy))

    return make


def runs(ledger: Ledger) -> list[list[Arrival]]:
    """Return the scores that came of each run of the daemon; those that the broker sent twice, once."""
    found: list[list[Arrival]] = [[]]
    for arrival in ledger.collector.arrivals:
        if arrival.topic == "edge-lstm/status" and arrival.payload == b"online":
            found.append([])
        elif key_of(arrival) is not None and not arrival.again:
            found[-1].append(arrival)
    return found[1:]  # before it was first online it had no scores


def unflagged(scores: list[Arrival], settle: float) -> int:
    """Return how many of the first scores of each stream do not say that they may be wrong."""
    told: Counter[str] = Counter()
    missing = 0
    for arrival in scores:
        told[arrival.topic] += 1
        if told[arrival.topic] <= settle:
            missing += json.loads(arrival.payload)["quality"] not in DOUBTFUL
    return missing


def differences(scores: list[Arrival], expected: dict[Key, bytes]) -> dict[str, float]:
    """Return how many scores are other than an undisturbed daemon's, and by how much those are that do not say so."""
    others, most = 0, 0.0
    for arrival in scores:
        score, due = json.loads(arrival.payload), json.loads(expected[key_of(arrival) or ("", 0)])
        if not same_score(arrival.payload, json.dumps(due).encode()):
            others += 1
            if score["quality"] not in DOUBTFUL:
                most = max(most, abs((score["surprise"] or 0.0) - (due["surprise"] or 0.0)))
    return {"other_scores": others, "surprise_off_by": most}


def close_books(ledger: Ledger, process: Process) -> Account:
    account = ledger.close_books(process)
    check_conservation(ledger.stats())
    return account


@pytest.mark.sizes("kills", quick=[3], full=[20])
@pytest.mark.parametrize("policy", ["published", "checkpoint"])
def test_a_killed_daemon(
    generous_broker: StoringBroker,
    make_ledger: MakeLedger,
    killed: Callable[..., Killed],
    bundle: Bundle,
    tmp_path: Path,
    figures: Figures,
    policy: str,
    kills: int,
    full: bool,
) -> None:
    streams, rounds = (200, 500) if full else (50, 100)
    ledger = make_ledger(generous_broker.port, streams)
    daemon = killed(ledger, policy)
    daemon.go_through(kills, rounds)
    account = close_books(ledger, daemon.process)
    assert not any("connected again" in run.log() for run in daemon.runs)  # so each connection is a run
    after = runs(ledger)
    expected = expected_scores(bundle, sent_by(ledger))
    figures |= ledger.figures(account) | {"kills": kills, "runs": len(after), "settle": bundle.metadata.settle}
    figures |= differences([score for scores in after for score in scores], expected)
    assert account.sent >= streams * rounds  # more, where starting takes long
    assert account.lost == []
    if policy == "published":
        assert len(after) > 1
        assert sum(unflagged(scores, bundle.metadata.settle) for scores in after[1:]) == 0
    else:
        assert (account.differing, account.wrong, figures["other_scores"]) == (0, 0, 0)
        kept = rows_of(newest(tmp_path / "state").routes[0].lane)
        assert kept == rows_of(replayed(bundle, sent_by(ledger)))


def scores(ledger: Ledger) -> int:
    return sum(arrival.topic.endswith("/score") for arrival in ledger.collector.arrivals)


def settle(ledger: Ledger) -> None:
    """Wait until no further score comes: how many there will be is not known."""
    before, at = scores(ledger), time.monotonic()
    while time.monotonic() < at + QUIET_S:
        time.sleep(0.1)
        if scores(ledger) != before:
            before, at = scores(ledger), time.monotonic()


@pytest.mark.sizes("kills", quick=[3], full=[20])
def test_samples_without_a_time_of_their_own_never_step_twice(
    generous_broker: StoringBroker,
    make_ledger: MakeLedger,
    killed: Callable[..., Killed],
    tmp_path: Path,
    figures: Figures,
    kills: int,
    full: bool,
) -> None:
    streams, rounds = (200, 500) if full else (50, 100)
    ledger = make_ledger(generous_broker.port, streams)
    daemon = killed(ledger, "checkpoint", "time = 'arrival'")
    daemon.go_through(kills, rounds)
    wait_for(lambda: not ledger.publisher.outstanding(), "the broker to take over all samples")
    settle(ledger)
    assert daemon.process.end() == 0, daemon.process.log()
    wait_for(lambda: ledger.collector.last("edge-lstm/status") == b"offline", "the daemon's goodbye")
    check_conservation(ledger.stats())
    steps = steps_of(newest(tmp_path / "state").routes[0].lane)
    figures |= {
        "kills": kills,
        "sent": streams * daemon.sent_rounds(),
        "steps": sum(steps.values()),
        "scores": scores(ledger),
    }
    assert steps == dict.fromkeys((f"plant/{stream}/data" for stream in ledger.streams), daemon.sent_rounds())
