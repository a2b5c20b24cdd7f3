"""Clocks that jump change nothing: the connection stays, streams keep their state, checkpoints and timeouts go on."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clock import Clock
from tests.faults.conftest import Figures, Start
from tests.faults.kept import look, sections
from tests.faults.ledger import Ledger
from tests.faults.process import Process

pytestmark = pytest.mark.faults

HOUR_S = 3600
YEAR_S = 365 * 86_400
JUMPS = {"an hour on": HOUR_S, "an hour back": -HOUR_S, "ten years on": 10 * YEAR_S, "ten years back": -10 * YEAR_S}


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    clock = Clock(tmp_path)
    yield clock
    clock.close()


def assert_nothing_happened(ledger: Ledger, process: Process, figures: Figures) -> None:
    """Hold that all is as if no clock had been touched."""
    account = ledger.close_books(process)
    stats = ledger.stats()
    figures |= ledger.figures(account) | {"connects": stats["connects"], "checkpoint": stats["checkpoint"]}
    assert (account.lost, account.duplicates, account.wrong) == ([], 0, 0)
    assert stats["connects"] == 1
    assert stats["problems"] == []


def next_checkpoint(folder: Path) -> None:
    """Return once one was written that is newer than the last."""

    def serial() -> int:
        state = look(folder).state
        return state.serial if state else 0

    before = serial()
    wait_for(lambda: serial() > before, "a checkpoint")


@pytest.mark.sizes("jump", quick=["an hour back", "ten years on"], full=list(JUMPS))
def test_the_wall_clock_jumps(
    broker: StoringBroker, ledger: Ledger, clock: Clock, tmp_path: Path, start: Start, figures: Figures, jump: str
) -> None:
    folder = tmp_path / "state"
    process = start(broker.url, sections(folder), environment=clock.environment)
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=10):
        next_checkpoint(folder)
        clock.set(JUMPS[jump])
        figures["resumed_s"] = ledger.resumed(process, time.monotonic(), 5.0)
        next_checkpoint(folder)
        clock.set(0)
        ledger.resumed(process, time.monotonic(), 5.0)
        next_checkpoint(folder)
    assert_nothing_happened(ledger, process, figures)


def test_a_machine_without_a_clock_starts_in_1970(
    broker: StoringBroker, ledger: Ledger, clock: Clock, tmp_path: Path, start: Start, figures: Figures
) -> None:
    folder = tmp_path / "state"
    clock.set_to(60)
    process = start(broker.url, sections(folder), environment=clock.environment)
    ledger.wait_online(process)
    assert process.log().startswith(("1970", "<"))
    with ledger.feeding(rounds_per_s=10):
        ledger.resumed(process, time.monotonic(), 5.0)
        next_checkpoint(folder)
        clock.set(0)
        ledger.resumed(process, time.monotonic(), 5.0)
        next_checkpoint(folder)
    assert_nothing_happened(ledger, process, figures)


@pytest.mark.sizes("jump", quick=["an hour back"], full=list(JUMPS))
def test_samples_that_are_stamped_on_arrival(
    broker: StoringBroker, ledger: Ledger, clock: Clock, start: Start, figures: Figures, jump: str
) -> None:
    """A clock that was set back is believed after ten samples, and each that was not is counted."""
    lines = {"source": "time = 'arrival'", "output": "stats_s = 1"}
    process = start(broker.url, lines, environment=clock.environment)
    ledger.wait_online(process)

    def scored() -> int:
        return int(json.loads(ledger.collector.last("edge-lstm/stats") or b'{"scored": 0}')["scored"])

    with ledger.feeding(rounds_per_s=20):
        wait_for(lambda: scored() > 20 * len(ledger.streams), "scores")
        clock.set(JUMPS[jump])
        time.sleep(2.0)  # the clock's new time is told for a while
        before = scored()
        wait_for(lambda: scored() > before + 20 * len(ledger.streams), "scores")
    wait_for(lambda: not ledger.publisher.outstanding(), "the broker")
    time.sleep(0.5)
    assert process.end() == 0, process.log()
    stats = ledger.stats()
    refused = dict(stats["refused"])  # type: ignore[call-overload]
    figures |= {"refused": refused, "samples": stats["samples"], "connects": stats["connects"]}
    assert stats["connects"] == 1
    assert stats["samples"] == stats["scored"] + sum(refused.values())  # type: ignore[operator]
    assert sum(refused.values()) <= (10 * len(ledger.streams) if JUMPS[jump] < 0 else 0)


def test_another_steady_clock(
    broker: StoringBroker, ledger: Ledger, tmp_path: Path, start: Start, figures: Figures
) -> None:
    """A process goes on from the state of one whose steady clock was far ahead, as after a boot."""
    probe = ["unshare", "-T", "--monotonic", "1000000", "--boottime", "1000000"]
    if shutil.which("unshare") is None or subprocess.run([*probe, "true"], capture_output=True, check=False).returncode:
        pytest.skip("there are no time namespaces here, or only for root")
    lines = sections(tmp_path / "state") | {"output": "stats_s = 1"}
    ages = []
    for prefix in (probe, [], probe):
        process = start(broker.url, lines, prefix=prefix)
        ledger.wait_online(process)
        with ledger.feeding(rounds_per_s=10):
            figures["resumed_s"] = ledger.resumed(process, time.monotonic(), 5.0)
            next_checkpoint(tmp_path / "state")
        ledger.settle()
        assert process.end() == 0, process.log()
        stats = ledger.stats()
        assert stats["problems"] == []
        ages += [stats["uptime_s"], stats["checkpoint"]["age_s"]]  # type: ignore[index]
    account = ledger.account()
    figures |= ledger.figures(account) | {"ages_s": ages}
    assert (account.lost, account.duplicates, account.wrong) == ([], 0, 0)
    assert all(0.0 <= age < 60.0 for age in ages)
