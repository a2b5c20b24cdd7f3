"""When a checkpoint is written, and what becomes of it; the loop never waits for the disk."""

import errno
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from edge_lstm.daemon.checkpoint import DAY_S, RETRY_S, Cut, Keeper, next_state
from edge_lstm.saved import SavedState, pack
from tests.daemon.conftest import ROOT, wait_for

MIB = 2**20
MUCH = 1e6  # MiB a day


class Disk:
    """Stands in for a state folder: remembers what is written, or fails, or takes its time."""

    def __init__(self) -> None:
        self.problem = ""
        self.written: list[int] = []
        self.error: OSError | None = None
        self.free = threading.Event()
        self.free.set()

    def write(self, data: bytes, serial: int) -> None:
        assert self.free.wait(10.0)
        if self.error:
            raise self.error
        self.written.append(serial)


@pytest.fixture
def disk() -> Any:
    disk = Disk()
    yield disk
    disk.free.set()


def cut(number: int, published: int = 0) -> Cut:
    return Cut(number, published, SavedState(serial=number))


def concluded(keeper: Keeper, now: float, confirmed: int = 0) -> None:
    """Go on until the attempt that is under way is over."""
    before = keeper.written + keeper.failed

    def over() -> bool:
        keeper.tend(now, confirmed)
        return keeper.written + keeper.failed > before

    wait_for(over, "the disk")


def keeper_on(disk: Disk, interval_s: float = 10.0, mib_per_day: float = MUCH, **options: Any) -> Keeper:
    return Keeper(disk, interval_s, mib_per_day, options.get("wake", lambda: None))  # type: ignore[arg-type]


def test_a_snapshot_rests_until_its_consequences_are_confirmed(disk: Disk) -> None:
    keeper, now = keeper_on(disk), time.monotonic()
    keeper.keep(cut(1, published=5))
    keeper.tend(now, confirmed=4)
    keeper.keep(cut(2, published=4))  # takes its place, which only one that rests leaves
    concluded(keeper, now, confirmed=4)
    assert (disk.written, keeper.holding) == ([2], 2)
    keeper.keep(cut(3, published=5))
    concluded(keeper, now, confirmed=5)
    assert (disk.written, keeper.holding, keeper.written) == ([2, 3], 3, 2)


def test_the_loop_is_woken_when_it_is_written(disk: Disk) -> None:
    woken = threading.Event()
    keeper = keeper_on(disk, wake=woken.set)
    keeper.keep(cut(1))
    assert not woken.is_set()
    keeper.tend(time.monotonic(), 0)
    assert woken.wait(10.0)
    assert keeper.holding == 0  # until the loop looks
    keeper.tend(time.monotonic(), 0)
    assert keeper.holding == 1


def test_it_is_due_after_the_interval_and_not_while_one_is_under_way(disk: Disk) -> None:
    keeper = keeper_on(disk, interval_s=10.0)
    now = time.monotonic()
    assert not keeper.due(now)
    assert keeper.due(now + 10.0)
    keeper.keep(cut(1, published=1))
    assert not keeper.due(now + 1e9)  # rests
    disk.free.clear()
    keeper.tend(now + 20.0, confirmed=1)
    keeper.tend(now + 30.0, confirmed=1)
    assert not keeper.due(now + 1e9)  # is being written, and nobody waits for that
    assert (keeper.holding, disk.written) == (0, [])
    disk.free.set()
    concluded(keeper, now + 40.0)
    assert not keeper.due(now + 49.9)
    assert keeper.due(now + 50.1)


def test_no_more_is_written_than_wanted(disk: Disk) -> None:
    size = len(pack(SavedState(serial=1)))
    keeper = keeper_on(disk, interval_s=10.0, mib_per_day=size / MIB * DAY_S / 100.0)  # one in 100 s
    now = time.monotonic()
    keeper.keep(cut(1))
    concluded(keeper, now)
    assert keeper.size == size
    assert not keeper.due(now + 99.0)
    assert keeper.due(now + 101.0)


def test_a_day_of_checkpoints_stays_below_what_is_wanted(disk: Disk) -> None:
    size = len(pack(SavedState(serial=1)))
    limit = 50 * size / MIB
    keeper = keeper_on(disk, interval_s=1.0, mib_per_day=limit)
    now, total = time.monotonic(), 0
    end = now + DAY_S
    while now < end:
        now += 60.0
        if keeper.due(now):
            keeper.keep(cut(1))
            concluded(keeper, now)
            total += keeper.size
    assert 45 * size <= total <= limit * MIB + size


def full(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, os.strerror(number))


def test_a_failure_is_told_and_tried_again_and_forgotten(disk: Disk) -> None:
    keeper, now = keeper_on(disk, interval_s=300.0), time.monotonic()
    keeper.keep(cut(1))
    concluded(keeper, now)
    disk.error = full()
    keeper.keep(cut(2))
    concluded(keeper, now)
    assert (keeper.failed, keeper.written, keeper.holding) == (1, 1, 1)
    assert keeper.problem == f"no checkpoint: {os.strerror(errno.ENOSPC)}"
    assert not keeper.due(now + RETRY_S - 1)
    assert keeper.due(now + RETRY_S + 1)  # sooner than otherwise
    disk.error = None
    keeper.keep(cut(3))
    concluded(keeper, now)
    assert (keeper.problem, keeper.failed, keeper.written, keeper.holding) == ("", 1, 2, 3)
    assert not keeper.due(now + 299.0)
    assert disk.written == [1, 3]


def test_a_failure_is_not_tried_again_more_often_than_the_interval(disk: Disk) -> None:
    keeper, now = keeper_on(disk, interval_s=10.0), time.monotonic()
    disk.error = full()
    keeper.keep(cut(1))
    concluded(keeper, now)
    assert not keeper.due(now + 9.0)
    assert keeper.due(now + 11.0)


def test_a_folder_that_was_no_good_from_the_start_is_tried_again(disk: Disk) -> None:
    disk.problem = "state folder x: Read-only file system"
    keeper, now = keeper_on(disk, interval_s=300.0), time.monotonic()
    assert keeper.problem == disk.problem
    assert keeper.due(now + RETRY_S + 1)
    keeper.keep(cut(1))
    concluded(keeper, now)
    assert keeper.problem == ""


def test_its_age_is_that_of_the_last_one_that_was_written(disk: Disk) -> None:
    keeper, now = keeper_on(disk), time.monotonic()
    keeper.keep(cut(1))
    concluded(keeper, now + 100.0)
    disk.error = full()
    keeper.keep(cut(2))
    concluded(keeper, now + 150.0)
    assert keeper.age_s(now + 160.0) == pytest.approx(60.0)


# ---- The end -------------------------------------------------------------------------------------


def test_a_last_one_is_written_after_the_one_under_way(disk: Disk) -> None:
    keeper = keeper_on(disk)
    disk.free.clear()
    keeper.keep(cut(1))
    keeper.tend(time.monotonic(), 0)
    threading.Timer(0.1, disk.free.set).start()
    assert keeper.finish(cut(2, published=3), timeout_s=10.0)
    assert disk.written == [1, 2]


def test_a_last_one_takes_the_place_of_one_that_rests(disk: Disk) -> None:
    keeper = keeper_on(disk)
    keeper.keep(cut(1, published=9))
    assert keeper.finish(cut(2, published=3), timeout_s=10.0)
    assert disk.written == [2]


def test_the_end_does_not_wait_for_a_disk_that_hangs(disk: Disk) -> None:
    keeper = keeper_on(disk)
    disk.free.clear()
    began = time.monotonic()
    assert not keeper.finish(cut(1), timeout_s=0.2)
    assert time.monotonic() - began < 5.0


def test_a_last_one_that_fails_is_told(disk: Disk) -> None:
    keeper = keeper_on(disk)
    disk.error = full()
    assert not keeper.finish(cut(1), timeout_s=10.0)
    assert keeper.problem


# ---- The thread ----------------------------------------------------------------------------------

BROKEN = """
import sys
from edge_lstm.daemon import death
from edge_lstm.daemon.checkpoint import Cut, Keeper
from edge_lstm.saved import SavedState

class Broken:
    problem = ""
    def write(self, data, serial):
        raise {error}

death.of_any_thread()
keeper = Keeper(Broken(), 1.0, 1.0, lambda: None)
keeper.keep(Cut(1, 0, SavedState()))
keeper.tend(0.0, 0)
sys.stdin.read()
"""


@pytest.mark.parametrize("error", ["RuntimeError('a fault of ours')", "MemoryError()"])
def test_a_fault_in_the_thread_ends_the_process(error: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BROKEN.format(error=error)],
        cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        began = time.monotonic()
        code = process.wait(10.0)
        assert process.stderr is not None
        said = process.stderr.read()
    assert code == 70
    assert error.partition("(")[0] in said
    assert "checkpoint" in said
    assert time.monotonic() - began < 5.0


def test_the_thread_is_told_to_be_alive(disk: Disk) -> None:
    keeper = keeper_on(disk)
    assert keeper.alive
    assert any(thread.name == "checkpoint" and thread.daemon for thread in threading.enumerate())


def test_states_count_on() -> None:
    before = time.time()
    state = next_state(SavedState(serial=4), filters=["a"])
    assert (state.serial, state.filters) == (5, ["a"])
    assert before <= state.written <= time.time()
