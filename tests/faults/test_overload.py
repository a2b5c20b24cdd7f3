"""Five times as much as a daemon can take: the connection stays, memory stays, and every message is accounted for.

At QoS 1 the broker keeps what does not fit, and nothing is lost; at QoS 0 the oldest give way to the newest. A broker
that sends far more than was acknowledged (Mosquitto before 2.0.13; any with ``max_inflight_messages 0``) can be held
back at QoS 1 only by another connection, over which it sends again what we did not keep; no other reason ends one.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.cgroup import Group
from tests.faults.clients import EPOCH, sample, session
from tests.faults.conftest import Figures, Start
from tests.faults.flood import Flood
from tests.faults.ledger import check_conservation
from tests.faults.notify import Notify
from tests.faults.process import Process

pytestmark = pytest.mark.faults

STREAMS = 100
SHARE = 0.04  # of a core
LITTLE = 0.01  # for ten minutes at QoS 1: the broker sends all that it has again with each connection
WARM = 2_000  # samples before anything is measured
PROBE = 3_000  # that the rate is measured with
TIMES = 5.0
GROWTH_MIB = 32.0
CASES = {"qos-0": (0, ""), "qos-1": (1, ""), "qos-1-all-at-once": (1, "max_inflight_messages 0\n")}
ROUNDS = 200_000  # samples of a stream, at most


class Tally:
    """Counts scores by stream and number.

    Attributes:
        count: of each sample.
        flagged: scores that say ``recovering``.
        stats: all that the daemon said of itself.
        status: the last word of it.
    """

    def __init__(self, port: int, rounds: int) -> None:
        self.count = np.zeros((STREAMS, rounds), np.uint8)
        self.flagged = 0
        self.scores = 0
        self.stats: list[dict[str, Any]] = []
        self.status = b""
        self._subscribed = False
        self._client = session("collector", port)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *rest: client.subscribe("edge-lstm/#", 1)
        self._client.on_subscribe = lambda *rest: setattr(self, "_subscribed", True)
        self._client.loop_start()
        wait_for(lambda: self._subscribed, "the collector's subscription")

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.topic.endswith("/score"):
            score = json.loads(message.payload)
            self.count[int(message.topic.split("/")[2][1:]), round(score["t"]) - EPOCH] += 1
            self.flagged += score["quality"] == "recovering"
            self.scores += 1
        elif message.topic == "edge-lstm/stats":
            self.stats.append(json.loads(message.payload))
        elif message.topic == "edge-lstm/status":
            self.status = message.payload

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def numbered(number: int) -> tuple[str, bytes]:
    """Return a message; streams take turns."""
    return sample(f"s{number % STREAMS:03d}", number // STREAMS)


@pytest.fixture
def share() -> Iterator[Group]:
    share = Group("cpu")
    yield share
    share.close()


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[Notify]:
    notify = Notify(tmp_path)
    yield notify
    notify.close()


class Overload:
    """A daemon that is held to a share of a processor, and what it makes of far too much.

    Args:
        qos: of the samples.
        part: of a core that it gets.
    """

    def __init__(self, port: int, qos: int, process: Process, share: Group, part: float) -> None:
        self.tally = Tally(port, ROUNDS)
        self.process = process
        self.rate = self.took = 0.0
        self.before = self.most = 0.0  # MiB
        self._share = share
        self._part = part
        self._qos = qos
        self._probe = Flood(port, 1, numbered)
        self.flood = Flood(port, qos, lambda n: numbered(n + WARM + PROBE))

    @property
    def sent(self) -> int:
        return self._probe.sent + self.flood.sent

    @property
    def behind(self) -> int:
        return self.sent - self.tally.scores

    def measure(self) -> None:
        """Find out how many samples a second the daemon takes when it has all that it can take."""
        wait_for(lambda: self.process.alive() and self.tally.status == b"online", "the daemon", 60.0)
        self._probe.send(WARM)
        wait_for(lambda: self.tally.scores == WARM, "scores")
        self._share.take(self.process.pid)
        self._share.limit_cpu(self._part)
        began = time.monotonic()
        self._probe.send(PROBE)
        wait_for(lambda: self.tally.scores == WARM + PROBE, "scores", 60.0)
        self.rate = PROBE / (time.monotonic() - began)
        self.before = self.most = self.process.rss_mib()

    def look(self) -> None:
        self.most = max(self.most, self.process.rss_mib())

    def pour(self, seconds: float) -> None:
        """Send several times as much for a while."""
        began, scores = time.monotonic(), self.tally.scores
        self.flood.pour(TIMES * self.rate, seconds, self.look)
        self.took = (self.tally.scores - scores) / (time.monotonic() - began)

    def drain(self, timeout_s: float) -> None:
        """Let the daemon have all that it can get, until there is nothing left."""
        self._share.limit_cpu(0)
        if self._qos:
            wait_for(lambda: self.flood.confirmed == self.flood.sent, "the broker to take over all samples", timeout_s)
            self._until(lambda: self.behind <= 0, timeout_s)
        else:
            self._until(lambda: self.tally.stats[-1]["queued"] == 0 == self.behind_of_stats(), timeout_s)

    def behind_of_stats(self) -> int:
        """Return how many samples the daemon says it scored whose scores have not come."""
        return int(self.tally.stats[-1]["scored"]) - self.tally.scores

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait for a condition, and look at the daemon meanwhile."""

        def holds() -> bool:
            self.look()
            return condition()

        wait_for(holds, "all scores", timeout_s)

    def counts(self) -> np.ndarray[Any, Any]:
        """Return how many scores each sample has."""
        return self.tally.count[:, : -(-self.sent // STREAMS)].T.ravel()[: self.sent]

    def figures(self) -> Figures:
        counts, stats = self.counts(), self.tally.stats[-1]
        return {
            "sustained_per_s": self.rate, "offered_per_s": TIMES * self.rate, "scored_per_s_meanwhile": self.took,
            "sent": self.sent, "lost": int((counts == 0).sum()), "duplicates": int((counts > 1).sum()),
            "flagged": self.tally.flagged, "grew_mib": self.most - self.before, "rss_mib": self.most,
            "longest_turn_s": max(each["longest_turn_s"] for each in self.tally.stats),
        } | {name: stats[name] for name in ("received", "scored", "dropped", "queued", "connects")}  # fmt: skip

    def close(self) -> None:
        for each in (self.flood, self._probe, self.tally):
            each.close()


@pytest.fixture
def make_overload(
    make_broker: Callable[..., StoringBroker], share: Group, start: Start, notify: Notify, full: bool
) -> Iterator[Callable[..., Overload]]:
    made: list[Overload] = []

    def make(qos: int, more: str) -> Overload:
        broker = make_broker()
        broker.add(f"autosave_interval 0\n{more}")  # millions of messages are not written again each second
        process = start(broker.url, {"output": "stats_s = 1"}, environment=notify.environment)
        made.append(Overload(broker.port, qos, process, share, LITTLE if full and qos else SHARE))
        return made[-1]

    yield make
    for overload in made:
        overload.close()


@pytest.mark.sizes("case", quick=["qos-0", "qos-1"], full=["qos-0", "qos-1", "qos-1-all-at-once"])
def test_overload(
    make_overload: Callable[..., Overload], notify: Notify, figures: Figures, full: bool, case: str
) -> None:
    qos, more = CASES[case]
    overload = make_overload(qos, more)
    overload.measure()
    flagged = overload.tally.flagged
    overload.pour(600.0 if full else 15.0)
    behind = overload.behind
    figures |= {"behind": behind, "longest_watchdog_pause_s": notify.longest_silence_s()}
    overload.drain(5400.0 if full else 120.0)
    assert overload.process.end() == 0, overload.process.log()
    wait_for(lambda: overload.tally.status == b"offline", "the goodbye")
    figures |= overload.figures()
    assert behind > overload.flood.sent / 2  # or it was no overload
    for each in overload.tally.stats:
        check_conservation(each)
    assert figures["queued"] == 0
    ends = [line for line in overload.process.log().splitlines() if "WARNING no connection to the broker" in line]
    assert all("messages were left with the broker" in line for line in ends)
    assert figures["connects"] == 1 or qos
    assert figures["grew_mib"] <= GROWTH_MIB
    assert figures["longest_watchdog_pause_s"] < 10.0
    if qos:
        assert (figures["lost"], figures["scored"], overload.tally.flagged) == (0, overload.sent, flagged)
    else:
        assert figures["dropped"]["overflow"] > 0
        assert overload.tally.flagged > flagged
