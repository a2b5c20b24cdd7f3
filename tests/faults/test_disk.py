"""A disk that is full, read-only or gone costs no sample: scoring goes on, the daemon says what is wrong, and mends.

What it writes is bounded, and what it has written is gone on from to the last bit.
"""

import contextlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_lstm.daemon.folder import SLOTS
from tests.daemon.conftest import wait_for
from tests.daemon.folders import mount, read_only, unmount
from tests.faults.broker import StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.kept import look, sections
from tests.faults.ledger import Ledger
from tests.faults.process import Process

pytestmark = pytest.mark.faults

POLICIES = ["published", "checkpoint"]


def checkpoints(ledger: Ledger) -> dict[str, float]:
    return dict(ledger.stats()["checkpoint"])  # type: ignore[call-overload]


def wait_problems(ledger: Ledger, there: bool, timeout_s: float = 10.0) -> float:
    """Return how long it took until the daemon said that something is wrong, or no longer is."""
    began = time.monotonic()
    wait_for(lambda: bool(problems(ledger)) == there, f"problems: {there}", timeout_s)
    return time.monotonic() - began


def problems(ledger: Ledger) -> list[str]:
    """Return what the daemon last said that is wrong."""
    return list(json.loads(ledger.collector.last("edge-lstm/stats") or b"{}").get("problems", []))


def assert_nothing_lost(ledger: Ledger, process: Process, figures: Figures) -> None:
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"checkpoint": checkpoints(ledger)}
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=300k,mode=700", "tmpfs", path)
    yield path
    unmount(path)


@pytest.fixture
def generous_broker(make_broker: Callable[..., StoringBroker]) -> StoringBroker:
    """A broker that sends everything it has, acknowledged or not."""
    broker = make_broker()
    broker.add("max_inflight_messages 0\n")
    return broker


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte on it."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    (disk / "filler").unlink()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_full_disk(
    generous_broker: StoringBroker,
    make_ledger: Callable[..., Ledger],
    small_disk: Path,
    start: Start,
    figures: Figures,
    policy: str,
) -> None:
    ledger = make_ledger(generous_broker.port)
    process = start(generous_broker.url, sections(small_disk / "state", policy))
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=10):
        wait_for(lambda: list(small_disk.glob("state/state.*")), "a checkpoint")
        with filled(small_disk):
            told = wait_problems(ledger, there=True)
            assert "No space left" in str(problems(ledger))
            resumed = ledger.resumed(process, time.monotonic())
            assert look(small_disk / "state").state is not None  # the one before is as it was
        cleared = wait_problems(ledger, there=False)
    figures |= {"told_s": told, "scored_meanwhile_s": resumed, "cleared_s": cleared}
    assert_nothing_lost(ledger, process, figures)
    assert resumed <= 2.0
    assert look(small_disk / "state").whole


@pytest.mark.parametrize("policy", POLICIES)
def test_a_folder_that_becomes_read_only(
    generous_broker: StoringBroker,
    make_ledger: Callable[..., Ledger],
    tmp_path: Path,
    start: Start,
    figures: Figures,
    policy: str,
) -> None:
    """Under ``checkpoint`` scores go on as well, as far as the broker sends without being acknowledged."""
    ledger, folder = make_ledger(generous_broker.port), tmp_path / "state"
    process = start(generous_broker.url, sections(folder, policy))
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=10):
        wait_for(lambda: list(folder.glob("state.*")), "a checkpoint")
        with read_only(folder):
            told = wait_problems(ledger, there=True)
            resumed = ledger.resumed(process, time.monotonic())
        cleared = wait_problems(ledger, there=False)
    figures |= {"told_s": told, "scored_meanwhile_s": resumed, "cleared_s": cleared}
    assert_nothing_lost(ledger, process, figures)
    assert resumed <= 2.0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_folder_that_vanishes(
    generous_broker: StoringBroker,
    make_ledger: Callable[..., Ledger],
    tmp_path: Path,
    start: Start,
    figures: Figures,
    policy: str,
) -> None:
    """It is made again, with all that belongs there, and the next process goes on from it."""
    ledger, folder = make_ledger(generous_broker.port), tmp_path / "state"
    lines = sections(folder, policy)
    process = start(generous_broker.url, lines)
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=10):
        wait_for(lambda: (folder / SLOTS[0]).exists(), "a checkpoint")
        shutil.rmtree(folder)
        wait_for(lambda: (folder / SLOTS[0]).exists() and (folder / "lock").exists(), "a checkpoint")
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
        process = start(generous_broker.url, lines)
        ledger.resumed(process, time.monotonic())
    account = ledger.close_books(process)
    figures |= ledger.figures(account)
    assert account.lost == []
    assert "going on where the last run was" in process.log()
