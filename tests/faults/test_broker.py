"""A broker that is killed or hangs costs nothing that it had not lost itself, and is found again within 35 seconds.

Samples that were not in the broker's last save when it was killed are gone, whoever listens; all others are scored.
"""

import random
import time

import pytest

from tests.faults.broker import AUTOSAVE_S, StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import RESUMED_S, Ledger

pytestmark = pytest.mark.faults

SLACK_S = 0.5  # a broker on a busy machine saves that much late


def seconds_before(kills: list[float], at: float) -> float:
    """Return how long before the next kill something was."""
    return min((kill - at for kill in kills if kill >= at), default=float("inf"))


def test_a_killed_broker(broker: StoringBroker, ledger: Ledger, start: Start, figures: Figures, full: bool) -> None:
    process = start(broker.url)
    ledger.wait_online(process)
    draw, kills, resumed = random.Random(1), [], []
    with ledger.feeding(rounds_per_s=25):
        for _ in range(20 if full else 3):
            # It works for a while, so that the scores of what had waited are saved, and only the last seconds are lost.
            time.sleep(draw.uniform(AUTOSAVE_S + SLACK_S, 4.0))
            broker.kill()
            kills.append(time.monotonic())
            broker.start()
            resumed.append(ledger.resumed(process, time.monotonic(), 2 * RESUMED_S))
            ledger.wait_online(process)
    account = ledger.close_books(process, quiet_s=10.0)
    taken = ledger.publisher.taken_over()
    unsaved_s = [seconds_before(kills, taken[key]) for key in account.lost]
    stats = ledger.stats()
    figures |= ledger.figures(account) | {"kills": len(kills), "resumed_s": max(resumed), "connects": stats["connects"]}
    figures |= {"unsaved_s": max(unsaved_s, default=0.0), "scored": stats["scored"]}
    assert figures["unsaved_s"] <= AUTOSAVE_S + SLACK_S
    assert (account.differing, account.wrong) == (0, 0)
    assert max(resumed) <= RESUMED_S


@pytest.mark.sizes("hangs_s", quick=[10], full=[10, 60, 300])
def test_a_broker_that_hangs(
    broker: StoringBroker, ledger: Ledger, start: Start, figures: Figures, hangs_s: float
) -> None:
    process = start(broker.url)
    ledger.wait_online(process)
    ledger.send(10)
    ledger.settle()
    before = process.rss_mib()
    with ledger.feeding(rounds_per_s=5):
        broker.pause()
        time.sleep(hangs_s)
        most = process.rss_mib()
        broker.resume()
        resumed = ledger.resumed(process, time.monotonic())
        most = max(most, process.rss_mib())
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"resumed_s": resumed, "grew_mib": most - before}
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)
    assert most - before <= 8.0
