"""Too little memory ends the daemon, and it goes on from its state; no payload makes it need more.

And when others take the processors, the watchdog is fed all the same.
"""

import contextlib
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.cgroup import Group
from tests.faults.clients import session
from tests.faults.conftest import Figures, Start
from tests.faults.kept import look, sections
from tests.faults.ledger import Ledger
from tests.faults.notify import Notify

pytestmark = pytest.mark.faults

KILLED = -9
LITTLE_MIB = 48  # pages of files that others use as well are not counted, else 96 would do
HOG = """
import time
kept = []
while True:
    kept.append(b"x" * 2**20)
    time.sleep(0.001)
"""


@pytest.fixture
def make_group() -> Iterator[Callable[[str], Group]]:
    """Makes control groups; to be asked for before what makes processes in them, so that these end first."""
    made: list[Group] = []

    def make(controller: str) -> Group:
        made.append(Group(controller))
        return made[-1]

    yield make
    for group in made:
        group.close()


@contextlib.contextmanager
def running(code: str, *prefix: str) -> Iterator[None]:
    """Run some Python meanwhile."""
    with subprocess.Popen([*prefix, sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        yield
        process.kill()


def test_a_daemon_that_is_killed_for_its_memory(
    make_group: Callable[[str], Group],
    broker: StoringBroker,
    ledger: Ledger,
    tmp_path: Path,
    start: Start,
    figures: Figures,
) -> None:
    group, folder = make_group("memory"), tmp_path / "state"
    group.limit_memory(LITTLE_MIB)
    starved = start(broker.url, sections(folder), prefix=group.prefix)
    assert starved.process.wait(60.0) == KILLED  # that is less than it needs at all
    group.limit_memory(256)
    process = start(broker.url, sections(folder), prefix=group.prefix)
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=10):
        wait_for(lambda: look(folder).state is not None, "a checkpoint")
        ledger.resumed(process, time.monotonic())
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")  # nobody else is to be killed
        with running(HOG, *group.prefix):
            assert process.process.wait(60.0) == KILLED
        process = start(broker.url, sections(folder), prefix=group.prefix)
        resumed = ledger.resumed(process, time.monotonic())
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"resumed_s": resumed}
    assert account.lost == []
    assert "streams: 20" in process.log()
    assert resumed <= 10.0


NUMBER = b"9" * 5000
BOMBS = {
    "literals": b'{"c0": NaN, "c1": Infinity, "c2": -Infinity}',
    "beyond floats": b'{"c0": 1e400, "c1": -1e400, "c2": 1}',
    "digits": b'{"c0": ' + NUMBER + b"}",
    "arrays": b"[" * 65_000,
    "objects": b'{"a":' * 13_000,
    "nested in what is not used": b'{"c0": 1, "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "many records": b"[" + b",".join([b'{"c0":1}'] * 7000) + b"]",
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(6000)) + b"}",
    "one long key": b'{"' + b"k" * 65_000 + b'": 1}',
    "one long text": b'{"c0": "' + b"1" * 65_000 + b'"}',
    "escapes": b'{"c0": "' + rb"\u0000" * 10_000 + b'"}',
    "spaces": b" " * 1_000_000 + b"1",
    "packed": zlib.compress(bytes(50_000_000), 9),
    "a lone surrogate": rb'{"c0": "\ud800"}',
    "no text": bytes(range(256)) * 250,
    "large": bytes(20_000_000),
    "very large": bytes(200_000_000),
}


def test_no_payload_needs_much_memory(
    make_group: Callable[[str], Group],
    broker: StoringBroker,
    ledger: Ledger,
    start: Start,
    figures: Figures,
    full: bool,
) -> None:
    group = make_group("memory")
    group.limit_memory(256)
    process = start(broker.url, prefix=group.prefix)
    ledger.wait_online(process)
    ledger.send(5)
    bomber = session("bomber", broker.port)
    bomber.loop_start()
    wait_for(bomber.is_connected, "the bomber's connection")
    times = 100 if full else 5
    for name, bomb in BOMBS.items():
        for qos in (0, 1):
            for _ in range(1 if len(bomb) > 2**20 else times):
                sent = bomber.publish(f"plant/{name}/data", bomb, qos)
        sent.wait_for_publish(60.0)
        ledger.send(1)
        ledger.settle()
        assert process.alive(), name
    rss_mib = process.rss_mib()
    bomber.disconnect()
    bomber.loop_stop()
    account = ledger.close_books(process)
    dropped = ledger.stats()["dropped"]
    figures |= ledger.figures(account) | {"dropped": dropped, "most_mib": group.most_mib(), "rss_mib": rss_mib}
    assert account == (account.sent, [], 0, 0, 0, 0)
    assert ledger.stats()["connects"] == 1


BUSY = "while True: pass"


def test_processors_that_are_busy(
    make_group: Callable[[str], Group],
    broker: StoringBroker,
    ledger: Ledger,
    tmp_path: Path,
    start: Start,
    figures: Figures,
    full: bool,
) -> None:
    """A tenth of a processor, and somebody else who wants all of both."""
    group, notify = make_group("cpu"), Notify(tmp_path)
    try:
        lines = sections(tmp_path / "state")
        process = start(broker.url, lines, prefix=group.prefix, environment=notify.environment)
        ledger.wait_online(process)
        notify.wait("READY=1")
        group.limit_cpu(0.1)
        with running(BUSY), running(BUSY), ledger.feeding(rounds_per_s=20):
            time.sleep(60.0 if full else 10.0)
            most = process.rss_mib()
        longest = notify.longest_silence_s()
        group.limit_cpu(0.0)
        account = ledger.close_books(process)
    finally:
        notify.close()
    connects = ledger.stats()["connects"]
    figures |= ledger.figures(account) | {"longest_silence_s": longest, "rss_mib": most, "connects": connects}
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)
    assert longest < 10.0
    assert connects == 1
