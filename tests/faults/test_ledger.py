"""The harness itself: the ledger finds what is wrong, and an undisturbed daemon has clean books."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clients import Arrival
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Key, Ledger, account, check_conservation
from tests.faults.notify import Notify

pytestmark = pytest.mark.faults


def arrival(score: float, again: bool = False) -> Arrival:
    return Arrival(0.0, "", json.dumps({"score": score, "quality": "ok"}).encode(), again)


def books(*scores: tuple[Key, Arrival]) -> tuple[list[Key], list[int]]:
    """Close the books of three samples, of which the first has the score 0, and so on."""
    taken = {("a", seq): 0.0 for seq in range(3)}
    expected = {key: arrival(key[1]).payload for key in taken}
    found = account(taken, list(scores), expected)
    return found.lost, [found.duplicates, found.differing, found.reordered, found.wrong]


RIGHT = [(("a", seq), arrival(seq)) for seq in range(3)]


@pytest.mark.parametrize(
    ("scores", "lost", "rest"),
    [
        (RIGHT, [], [0, 0, 0, 0]),
        (RIGHT[:2], [("a", 2)], [0, 0, 0, 0]),
        ([*RIGHT, RIGHT[1]], [], [1, 0, 0, 0]),
        ([*RIGHT, (("a", 1), arrival(1, again=True))], [], [0, 0, 0, 0]),
        ([*RIGHT, (("a", 1), arrival(9))], [], [1, 1, 0, 0]),
        ([RIGHT[0], RIGHT[2], RIGHT[1]], [], [0, 0, 1, 0]),
        ([RIGHT[0], RIGHT[1], (("a", 2), arrival(9))], [], [0, 0, 0, 1]),
        ([RIGHT[0], (("a", 2), arrival(9))], [("a", 1)], [0, 0, 0, 0]),
    ],
)
def test_the_books_tell(scores: list[tuple[Key, Arrival]], lost: list[Key], rest: list[int]) -> None:
    assert books(*scores) == (lost, rest)


def test_counts_that_do_not_add_up_are_found() -> None:
    stats = {"received": 10, "decoded": 7, "dropped": {"empty": 2}, "queued": 1}
    stats |= {"samples": 7, "scored": 6, "refused": {"duplicate": 1}}
    check_conservation(stats)
    for name in ("received", "decoded", "queued", "samples", "scored"):
        with pytest.raises(AssertionError):
            check_conservation(stats | {name: 3})


def test_a_watchdog_that_is_not_petted_is_found(tmp_path: Path) -> None:
    notify = Notify(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
            service.connect(notify.environment["NOTIFY_SOCKET"])
            assert notify.longest_silence_s() == float("inf")
            service.send(b"READY=1\nWATCHDOG=1")
            petted = notify.wait("WATCHDOG=1")
            assert notify.moments("READY=1")
            wait_for(lambda: time.monotonic() > petted + 0.1, "a pause")
            service.send(b"WATCHDOG=1")
            wait_for(lambda: len(notify.moments("WATCHDOG=1")) == 2, "the second time")
            assert 0.1 < notify.longest_silence_s() < 10.0
    finally:
        notify.close()


def test_an_undisturbed_daemon_has_clean_books(
    broker: StoringBroker, make_ledger: Callable[..., Ledger], start: Start, figures: Figures, full: bool
) -> None:
    rounds = 500 if full else 100
    ledger = make_ledger(broker.port, streams=200)
    process = start(broker.url)
    ledger.wait_online(process)
    began = time.monotonic()
    ledger.send(rounds)
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"samples_per_s": 200 * rounds / (time.monotonic() - began)}
    assert account == (200 * rounds, [], 0, 0, 0, 0)
