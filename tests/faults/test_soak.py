"""Devices that fail, a broker that hangs, a network that cuts, nonsense, and reloads, for hours: nothing grows.

    scripts/faults --full -k soak --minutes 120 --figures soak.jsonl

What was counted so far goes into the figures every five minutes, for a run that does not get to its end.
"""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from edge_lstm.bundle import read
from edge_lstm.lane import Settings
from edge_lstm.messages import Message
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.stages.decode import Source
from firmware_sim import KINDS, Device
from firmware_sim.plan import FaultPlan
from tests.daemon.conftest import ROOT, wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clients import EPOCH
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import check_conservation
from tests.faults.process import Process
from tests.faults.proxy import Proxy
from tests.faults.rolling import RollingLedger
from tests.faults.vitals import Vitals

pytestmark = pytest.mark.faults

PUMP = ROOT / "weights/pump.safetensors"
STREAMS = 500
ROUND_S = 1.0
LOOK_S = 10.0
REPORT_S = 300.0
HANG_S = 5.0
TROUBLES = 60  # in a full run, about; a short one has them closer together
GARBAGE = (b"", b"{", b"\xff\xfe", b"[" * 70_000, b"[" * 5_000, b'"text"', b'{"t": 1e400}', b"null")


class Fleet:
    """Pumps with faults at random; each sample is the message that carries it."""

    def __init__(self, size: int) -> None:
        kind, plan = KINDS["pump"], FaultPlan(mode="random", after_s=60.0)
        self._devices = [
            Device("pump", number, plan.faults(kind, number, 1.0, random.Random(number))) for number in range(size)
        ]
        self._round = 0

    def samples(self) -> list[Message]:
        """Return what all devices say next; some are silent."""
        t = float(EPOCH + self._round)
        self._round += 1
        said = ((number, device.sample()) for number, device in enumerate(self._devices))
        return [Message(topic_of(n), json.dumps({"t": t, **values}).encode()) for n, values in said if values]


def topic_of(number: int) -> str:
    return f"plant/p{number:03d}/data"


class Troubles:
    """What befalls the daemon, in a thread, one thing after the other."""

    def __init__(self, broker: StoringBroker, proxy: Proxy, process: Process, ledger: RollingLedger) -> None:
        self.happened: dict[str, int] = {}
        self._broker, self._proxy, self._process, self._ledger = broker, proxy, process, ledger
        self._random = random.Random(5)
        self._over = Event()

    def befall(self, every_s: float) -> None:
        """Go on until it is over."""
        kinds = (self.hang, self.cut, self.reload, self.litter)
        while True:
            for trouble in self._random.sample(kinds, len(kinds)):
                if self._over.wait(every_s * self._random.uniform(0.5, 1.5)):
                    return
                trouble()
                self.happened[trouble.__name__] = self.happened.get(trouble.__name__, 0) + 1

    def end(self) -> None:
        """Let nothing more happen."""
        self._over.set()

    def hang(self) -> None:
        self._broker.pause()
        try:
            self._over.wait(HANG_S)
        finally:
            self._broker.resume()

    def cut(self) -> None:
        self._proxy.reset()

    def reload(self) -> None:
        self._process.process.send_signal(signal.SIGHUP)

    def litter(self) -> None:
        for payload in GARBAGE:
            self._ledger.litter(topic_of(self._random.randrange(STREAMS)), payload)


@pytest.fixture(scope="session")
def weights() -> Path:
    return PUMP


@pytest.fixture
def minutes(request: pytest.FixtureRequest, full: bool) -> float:
    """How long it takes."""
    wanted = request.config.getoption("--minutes", None)
    return float(wanted) if wanted else (120.0 if full else 1.0 / 3.0)


@pytest.fixture
def soak_ledger(broker: StoringBroker) -> Iterator[RollingLedger]:
    route = Route(Source("plant/+/data"), read(PUMP), Settings(), Outputs())
    ledger = RollingLedger(broker.port, Pipeline([route]))
    yield ledger
    ledger.close()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], None]:
    """Writes down how far it has come."""
    file = request.config.getoption("--figures", None)

    def write(figures: dict[str, Any]) -> None:
        if file is not None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"name": request.node.name, "unfinished": True, **figures}) + "\n")

    return write


def feed(ledger: RollingLedger, seconds: float, each_round: Callable[[float], None]) -> None:
    """Send a round of the fleet's samples a second."""
    fleet = Fleet(STREAMS)
    began = due = time.monotonic()
    while due < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        ledger.send(fleet.samples())
        due += ROUND_S
        each_round(time.monotonic() - began)


def test_soak(
    broker: StoringBroker,
    soak_ledger: RollingLedger,
    make_proxy: Callable[..., Proxy],
    start: Start,
    figures: Figures,
    minutes: float,
    report: Callable[[dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    ledger, proxy = soak_ledger, make_proxy(broker.port)
    state = {"state": f"folder = '{tmp_path}/state'\nevery_s = 60"}
    process = start(proxy.url, state)
    wait_for(lambda: process.alive() and ledger.last.get("edge-lstm/status") == b"online", "the daemon", 60.0)
    vitals = Vitals(process, min(LOOK_S, 2.0 * minutes))
    troubles = Troubles(broker, proxy, process, ledger)
    told = [REPORT_S]

    def so_far() -> dict[str, Any]:
        return ledger.figures() | vitals.figures() | {"troubles": dict(troubles.happened), "stats": ledger.stats()}

    def look(elapsed_s: float) -> None:
        process.alive()
        vitals.look()
        if elapsed_s >= told[0]:
            told[0] += REPORT_S
            report({"seconds": round(elapsed_s, 1), "cpu_s": process.cpu_s(), **so_far()})

    with ThreadPoolExecutor(1) as pool:
        befallen: Future[None] = pool.submit(troubles.befall, 60.0 * minutes / max(8.0, TROUBLES * minutes / 120.0))
        try:
            feed(ledger, 60.0 * minutes, look)
        finally:
            troubles.end()
    befallen.result()
    ledger.settle()
    figures |= so_far() | {"cpu_s": process.cpu_s(), "minutes": minutes}
    assert process.end() == 0, process.log()
    wait_for(lambda: ledger.last["edge-lstm/status"] == b"offline", "the daemon's goodbye")
    stats = figures["stats"] = ledger.stats()
    check_conservation(stats)
    counts = ledger.figures()
    assert {name: counts[name] for name in ("waiting", "wrong", "flagged", "differing", "reordered")} == {
        "waiting": 0, "wrong": 0, "flagged": 0, "differing": 0, "reordered": 0,
    }  # fmt: skip
    assert stats["scored"] == counts["sent"]
    assert len(troubles.happened) == 4  # all kinds
    assert vitals.slope(0.5) < 1.0 or minutes < 60.0  # less says more about the first minutes than about leaks
    assert figures["rss_mib"]["most"] - figures["rss_mib"]["first"] < 32.0
    assert figures["threads"][1] - figures["threads"][0] <= 3  # one for a reload, one to connect
    assert figures["files"][1] - figures["files"][0] <= 8
