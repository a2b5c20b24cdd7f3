"""What outlives the process, and what the broker is told because of it, whatever the disk does."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_lstm.daemon.check import prepare_options
from edge_lstm.daemon.folder import StateFolder
from edge_lstm.daemon.memory import Memory
from edge_lstm.daemon.mqtt import Link
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline
from tests.daemon.conftest import wait_for

EVERY_S = 10.0


class Disk(StateFolder):
    """A state folder on a disk that can be full, or let nothing be changed."""

    full = False
    fixed = False

    def write(self, data: bytes, serial: int) -> None:
        if self.full or self.fixed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(data, serial)

    def disown(self) -> bool:
        return not self.fixed and super().disown()


class Daemon:
    """All of a daemon but its connection: what would have come over it is handed in, and nothing is published."""

    def __init__(self, path: Path, weights: Path, policy: str) -> None:
        data = {
            "mqtt": {"ack_policy": policy, "client_id": "me"},
            "output": {"publish": "alerts"},
            "state": {"folder": str(path), "every_s": EVERY_S},
            "source": [{"topic": "plant/+/data", "weights": str(weights), "silence_s": 0}],
        }
        prepared = prepare_options(data)
        self.disk = Disk(path)
        self.link = Link(prepared.broker, prepared.filters)
        self.pipeline = Pipeline(prepared.routes)
        self.memory = Memory(self.disk, prepared, lambda: None)
        self.now = time.monotonic()
        self.acknowledged: list[int] = []
        self.memory.recall(self.pipeline, self.link)
        self.turn()

    def receive(self, number: int, qos: int = 1, again: bool = False) -> None:
        """Take in a message; its number is its second and its packet's."""
        payload = json.dumps({"t": 1.7e9 + number, "c0": number % 7, "c1": 1, "c2": 2}).encode()
        self.link.traffic._put(Message("plant/a/data", payload, qos=qos), number * qos, again)

    def turn(self, later_s: float = 0.0) -> None:
        """Do what the loop does once."""
        self.now += later_s
        traffic = self.link.traffic
        self.pipeline.handle(traffic.inbox.take(1000))
        traffic.handled()
        self.memory.tend(self.now, self.pipeline, self.link)
        traffic.receipts.confirmed(traffic.published)
        self.acknowledged += [mid for mid, _ in traffic.receipts.take_done()]

    def checkpoint(self) -> None:
        """Let the time pass until one is due, and wait for its end, good or bad."""
        keeper = self.memory.keeper
        before = keeper.written + keeper.failed
        self.turn(2 * EVERY_S)

        def over() -> bool:
            self.turn()
            return keeper.written + keeper.failed > before

        wait_for(over, "a checkpoint")
        self.turn()

    def finish(self) -> None:
        self.turn()
        self.memory.finish(self.pipeline, self.link, 10.0)
        self.memory.close()

    @property
    def seen(self) -> int:
        """How many samples the stream's row has taken."""
        lane = self.pipeline.routes[0].lane
        return int(lane.row_number(0, 0)) if lane.streams else 0


Make = Callable[..., Daemon]


@pytest.fixture
def make(tmp_path: Path, weights: Path) -> Iterator[Make]:
    """Makes one daemon after the other, on one folder."""
    made: list[Daemon] = []

    def make(policy: str = "checkpoint") -> Daemon:
        made.append(Daemon(tmp_path / "state", weights, policy))
        return made[-1]

    yield make
    for daemon in made:
        daemon.memory.close()


def killed(daemon: Daemon) -> None:
    """Let a daemon go without a word."""
    daemon.memory.close()


# ---- What is acknowledged ------------------------------------------------------------------------


def test_messages_are_done_when_a_checkpoint_holds_them(make: Make) -> None:
    daemon = make("checkpoint")
    daemon.receive(1)
    daemon.receive(2)
    daemon.turn()
    assert (daemon.acknowledged, daemon.seen) == ([], 2)
    daemon.checkpoint()
    assert daemon.acknowledged == [1, 2]
    daemon.receive(3)
    daemon.turn()
    assert daemon.acknowledged == [1, 2]


def test_messages_are_done_at_once_where_that_is_wanted(make: Make) -> None:
    daemon = make("published")
    daemon.receive(1)
    daemon.turn()
    assert daemon.acknowledged == [1]


def test_nothing_new_is_no_reason_for_a_checkpoint(make: Make) -> None:
    daemon = make()
    daemon.receive(1)
    daemon.checkpoint()
    for _ in range(3):
        daemon.turn(2 * EVERY_S)
    assert daemon.memory.keeper.due(daemon.now)
    assert daemon.memory.keeper.written == 1


def test_a_full_disk_holds_nothing_up(make: Make) -> None:
    """The note that the state is whole goes, and messages are done at once; until there is room again."""
    daemon = make()
    daemon.receive(1)
    daemon.checkpoint()
    assert daemon.disk.load().whole
    daemon.disk.full = True
    daemon.receive(2)
    daemon.checkpoint()
    assert "No space" in daemon.memory.problem
    assert daemon.acknowledged == [1, 2]
    assert not daemon.disk.load().whole
    daemon.receive(3)
    daemon.turn()
    assert daemon.acknowledged == [1, 2, 3]
    daemon.disk.full = False
    daemon.receive(4)
    daemon.checkpoint()
    assert (daemon.memory.problem, daemon.acknowledged) == ("", [1, 2, 3, 4])
    assert daemon.disk.load().whole
    daemon.receive(5)
    daemon.turn()
    assert daemon.acknowledged == [1, 2, 3, 4]


def test_a_disk_that_lets_nothing_be_noted_holds_messages_up_until_it_does(make: Make) -> None:
    """The state there says that it is whole, so it must be: nothing is acknowledged that it lacks.

    The broker then sends nothing more, and yet the daemon finds out when the disk is well again.
    """
    daemon = make()
    daemon.receive(1)
    daemon.checkpoint()
    daemon.disk.fixed = True
    daemon.receive(2)
    daemon.checkpoint()
    daemon.checkpoint()
    assert daemon.memory.problem
    assert daemon.acknowledged == [1]
    assert daemon.disk.load().whole
    daemon.disk.fixed = False
    daemon.checkpoint()
    assert (daemon.memory.problem, daemon.acknowledged) == ("", [1, 2])


def test_a_problem_goes_by_itself_while_nothing_comes(make: Make) -> None:
    daemon = make("published")
    daemon.receive(1)
    daemon.disk.full = True
    daemon.checkpoint()
    assert daemon.memory.problem
    daemon.disk.full = False
    daemon.checkpoint()
    assert daemon.memory.problem == ""


# ---- What the next process finds -----------------------------------------------------------------


def doubted(daemon: Daemon) -> bool:
    """Tell whether scores would be told as ``recovering``."""
    return bool(daemon.pipeline.routes[0].lane.row_number(0, -1) > 0.0)


@pytest.mark.parametrize("policy", ["published", "checkpoint"])
def test_after_a_good_end_nothing_is_missing(make: Make, policy: str) -> None:
    first = make(policy)
    for number in range(1, 6):
        first.receive(number)
    first.turn()
    first.finish()
    second = make(policy)
    assert (second.seen, doubted(second)) == (5, False)
    assert second.link.expect_session


@pytest.mark.parametrize(("policy", "missing"), [("published", True), ("checkpoint", False)])
def test_after_a_kill_it_is_told_that_samples_may_be_missing(make: Make, policy: str, missing: bool) -> None:
    first = make(policy)
    first.receive(1)
    first.checkpoint()
    first.receive(2)
    first.turn()
    assert first.acknowledged == ([1, 2] if missing else [1])
    killed(first)
    second = make(policy)
    assert (second.seen, doubted(second)) == (1, missing)


@pytest.mark.parametrize(("kept", "missing"), [(False, True), (True, False)])
def test_after_a_kill_what_a_broker_had_forgotten_may_be_missing(make: Make, kept: bool, missing: bool) -> None:
    """A new session begins before the next checkpoint: what waited for that does not come again."""
    first = make()
    first.receive(1)
    first.checkpoint()
    first.receive(2)
    first.memory.gap(first.link.traffic.inbox.put_in)
    first.turn()
    if kept:
        first.checkpoint()
    killed(first)
    second = make()
    assert (second.seen, doubted(second)) == (1 + kept, missing)


def test_after_a_kill_while_the_disk_was_full_samples_may_be_missing(make: Make) -> None:
    first = make()
    first.receive(1)
    first.checkpoint()
    first.disk.full = True
    first.receive(2)
    first.checkpoint()
    assert first.acknowledged == [1, 2]
    killed(first)
    second = make()
    assert (second.seen, doubted(second)) == (1, True)


def test_a_second_kill_at_once_is_told_as_well(make: Make) -> None:
    first = make("published")
    first.receive(1)
    first.finish()
    killed(make("published"))
    assert doubted(make("published"))


def test_samples_that_nobody_sends_again_may_be_missing(make: Make) -> None:
    first = make()
    first.receive(1)
    first.receive(2, qos=0)
    first.checkpoint()
    killed(first)
    assert doubted(make())


def test_messages_that_the_state_holds_are_known_when_they_come_again(make: Make) -> None:
    """It was killed when the checkpoint was on the disk, and the broker did not know yet."""
    first = make()
    for number in (1, 2):
        first.receive(number)
    first.turn()
    keeper = first.memory.keeper
    keeper.keep(first.memory._cut(first.pipeline, first.link))
    wait_for(lambda: keeper.tend(first.now, 0) or keeper.written, "a checkpoint")
    killed(first)
    second = make()
    for number in (1, 2):
        second.receive(number, again=True)
    second.turn()
    assert (second.seen, second.acknowledged) == (2, [1, 2])
    assert second.link.traffic.receipts.redelivered == 2


@pytest.mark.parametrize("policy", ["published", "checkpoint"])
def test_a_checkpoint_made_while_the_broker_is_away_knows_what_will_come_again(make: Make, policy: str) -> None:
    first = make(policy)
    for number in (1, 2):
        first.receive(number)
    first.pipeline.handle(first.link.traffic.inbox.take(1000))
    first.link.traffic.lose()
    first.checkpoint()
    killed(first)
    second = make(policy)
    for number in (1, 2):
        second.receive(number, again=True)
    second.turn()
    assert (second.seen, second.acknowledged) == (2, [1, 2])
    assert second.link.traffic.receipts.redelivered == 2


def test_filters_that_are_no_longer_wanted_are_told(make: Make) -> None:
    first = make()
    first.link.watch(["plant/+/data", "old/#"], [])
    first.receive(1)
    first.finish()
    assert make().link.stale_filters == ["old/#"]


def test_an_end_without_the_brokers_confirmation_keeps_the_state_before(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make("published")
    first.receive(1)
    first.checkpoint()
    first.receive(2)
    first.turn()
    monkeypatch.setattr(first.link.traffic, "unconfirmed", lambda: 3)
    first.finish()
    second = make("published")
    assert (second.seen, doubted(second)) == (1, True)


def test_a_damaged_state_is_told_and_not_fatal(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = make()
    first.receive(1)
    first.finish()
    for path in (tmp_path / "state").glob("state.*"):
        path.write_bytes(path.read_bytes()[:-1])
    second = make()
    assert second.seen == 0
    assert "damaged" in caplog.text


def test_a_state_of_another_version_is_told_and_not_fatal(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make()
    first.receive(1)
    first.finish()
    for path in (tmp_path / "state").glob("state.*"):
        path.write_bytes(path.read_bytes().replace(b"edge-lstm state 1\n", b"edge-lstm state 9\n"))
    second = make()
    assert second.seen == 0
    assert "not a state of ours" in caplog.text
    second.receive(1)
    second.checkpoint()
    killed(second)
    assert make().seen == 1
