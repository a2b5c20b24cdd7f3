"""The ledger: every sample that was sent, and what came of it."""

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edge_lstm.bundle import Bundle
from edge_lstm.lane import Settings
from edge_lstm.messages import Message
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.stages.decode import Source
from tests.daemon.conftest import wait_for
from tests.faults.clients import EPOCH, Arrival, Collector, Publisher, sample
from tests.faults.process import Process

RESUMED_S = 35.0  # after an end of any trouble, scores come within this: a pause between attempts and a little
QUIET_S = 40.0  # longer than any pause between attempts

Key = tuple[str, int]  # stream and number


class Account(NamedTuple):
    """What became of the samples that the broker took over."""

    sent: int
    lost: list[Key]  # without a score
    duplicates: int  # scores of a sample beyond its first
    differing: int  # of these, those that say something else than the first
    reordered: int  # first scores that came after one of a later sample
    wrong: int  # scores other than an undisturbed daemon's; per stream up to its first lost sample


class Ledger:
    """Sends samples of some streams, and collects their scores.

    Args:
        port: the broker's, on this machine.
        bundle: what the daemon scores with.
    """

    def __init__(self, port: int, bundle: Bundle, streams: int = 20) -> None:
        self.streams = [f"s{number:03d}" for number in range(streams)]
        self.collector = Collector(port)
        self.publisher = Publisher(port)
        self._bundle = bundle
        self._next = 0
        self._first: dict[Key, float] = {}  # when the first score of a sample came
        self._at = 0  # of the arrivals, the first that was not looked at

    # sending

    def send(self, rounds: int) -> None:
        """Publish the next samples of every stream at once."""
        for _ in range(rounds):
            for stream in self.streams:
                self.publisher.publish(stream, self._next)
            self._next += 1

    @contextlib.contextmanager
    def feeding(self, rounds_per_s: float) -> Iterator[None]:
        """Publish a sample of every stream, so many times a second, meanwhile."""
        stop = threading.Event()

        def feed() -> None:
            due = time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                self.send(1)
                due += 1.0 / rounds_per_s

        feeder = threading.Thread(target=feed, name="feeder")
        feeder.start()
        try:
            yield
        finally:
            stop.set()
            feeder.join()

    # waiting

    def wait_online(self, process: Process, timeout_s: float = RESUMED_S) -> None:
        """Return once the broker's last word of the daemon is that it is there."""
        wait_for(
            lambda: process.alive() and self.collector.last("edge-lstm/status") == b"online", "the daemon", timeout_s
        )

    def resumed(self, process: Process, healed: float, timeout_s: float = RESUMED_S) -> float:
        """Return how long after a moment a score came of a sample that was sent after it; samples have to be fed.

        Args:
            healed: when the trouble was over, seconds on the steady clock; just now.
        """
        new = self._next + 1  # the round before may have been half sent
        wait_for(lambda: process.alive() and self._scored_since(new), "a score of a new sample", timeout_s)
        return self._scored_since(new)[0] - healed

    def _scored_since(self, seq: int) -> list[float]:
        """Return when scores came of the samples from a number on."""
        self._read()
        return [self._first[key] for key in self._first if key[1] >= seq]

    def _read(self) -> None:
        """Note the first score of every sample, as far as they have come."""
        arrivals = self.collector.arrivals
        while self._at < len(arrivals):
            if key := key_of(arrivals[self._at]):
                self._first.setdefault(key, arrivals[self._at].at)
            self._at += 1

    def scored(self) -> int:
        """Return how many samples have a score."""
        self._read()
        return len(self._first)

    def settle(self, timeout_s: float = 120.0, quiet_s: float = QUIET_S) -> None:
        """Wait until every sample has its score, or nothing more comes.

        Args:
            timeout_s: for the broker to take the samples over.
            quiet_s: when nothing has come for so long, nothing more will.
        """
        wait_for(lambda: not self.publisher.outstanding(), "the broker to take over all samples", timeout_s)
        before, quiet_at = -1, 0.0
        while (scored := self.scored()) < len(self.publisher.sent):
            if scored != before:
                before, quiet_at = scored, time.monotonic() + quiet_s
            if time.monotonic() > quiet_at:
                return
            time.sleep(0.05)

    # the books

    def close_books(self, process: Process, quiet_s: float = QUIET_S) -> Account:
        """Let the daemon end in good order, check its own counts, and return what became of the samples."""
        self.settle(quiet_s=quiet_s)
        self.wait_online(process)
        assert process.end() == 0, process.log()
        wait_for(lambda: self.collector.last("edge-lstm/status") == b"offline", "the daemon's goodbye")
        check_conservation(self.stats())
        return self.account()

    def stats(self) -> dict[str, object]:
        """Return the daemon's last counts."""
        return dict(json.loads(self.collector.last("edge-lstm/stats")))

    def figures(self, account: Account) -> dict[str, object]:
        """Return what to write down: the account, and what the daemon says it could not use or send."""
        reasons = {name: self.stats().get(name, {}) for name in ("dropped", "refused", "unsent")}
        return {**account._asdict(), "lost": len(account.lost)} | {name: said for name, said in reasons.items() if said}

    def account(self) -> Account:
        """Compare what was sent with what came back."""
        taken = self.publisher.taken_over()
        scores = [(key, each) for each in self.collector.arrivals if (key := key_of(each))]
        return account(taken, scores, self._expected())

    def _expected(self) -> dict[Key, bytes]:
        """Return the scores of a daemon that nothing ever happened to."""
        messages = [Message(*sample(stream, seq)) for seq in range(self._next) for stream in self.streams]
        route = Route(Source("plant/+/data"), self._bundle, Settings(), Outputs())
        out = Pipeline([route]).handle(messages)
        keyed = ((key_of(Arrival(0.0, each.topic, each.payload, False)), each.payload) for each in out)
        return {key: payload for key, payload in keyed if key}

    def close(self) -> None:
        self.publisher.close()
        self.collector.close()


def key_of(arrival: Arrival) -> Key | None:
    """Return whose score a message is; ``None`` if it is none, or none that can be read."""
    levels = arrival.topic.split("/")
    if levels[-1] != "score" or len(levels) != 5:
        return None
    try:
        return levels[2], round(json.loads(arrival.payload)["t"] - EPOCH)
    except (ValueError, KeyError, TypeError):
        return None


def account(taken: dict[Key, float], scores: Sequence[tuple[Key, Arrival]], expected: dict[Key, bytes]) -> Account:
    """Close the books.

    Args:
        taken: samples that the broker took over.
        scores: what came back, in order.
        expected: what should have.
    """
    first: dict[Key, bytes] = {}
    latest: dict[str, int] = defaultdict(lambda: -1)
    duplicates = differing = reordered = 0
    for key, arrival in scores:
        if key in first:
            duplicates += not arrival.again
            differing += first[key] != arrival.payload
            continue
        first[key] = arrival.payload
        reordered += key[1] < latest[key[0]]
        latest[key[0]] = max(latest[key[0]], key[1])
    lost = sorted(set(taken) - set(first), key=lambda key: (key[1], key[0]))
    broken: dict[str, int] = {}
    for stream, seq in lost:
        broken.setdefault(stream, seq)
    wrong = sum(
        not same_score(payload, expected.get(key, b"{}"))
        for key, payload in first.items()
        if key[1] < broken.get(key[0], key[1] + 1)
    )
    return Account(len(taken), lost, duplicates, differing, reordered, wrong)


def same_score(one: bytes, other: bytes) -> bool:
    """Tell whether two scores are equal to the last bit; how far they are to be trusted may differ."""
    return one == other or _judged(one) == _judged(other)


def _judged(payload: bytes) -> dict[str, object]:
    return {name: value for name, value in json.loads(payload).items() if name != "quality"}


def check_conservation(stats: dict[str, object]) -> None:
    """Hold the daemon's counts against each other: whatever came in was scored, refused for a reason, or waits."""
    dropped, refused = dict(stats["dropped"]), dict(stats["refused"])  # type: ignore[call-overload]
    assert stats["received"] == stats["decoded"] + sum(dropped.values()) + stats["queued"], stats  # type: ignore[operator]
    assert stats["samples"] == stats["scored"] + sum(refused.values()), stats  # type: ignore[operator]
