"""Options, and what every fault test starts from: a broker, a daemon, a ledger, and a place for figures."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_lstm.bundle import Bundle
from tests.daemon.conftest import MOSQUITTO
from tests.faults.broker import StoringBroker
from tests.faults.ledger import Ledger
from tests.faults.namespace import Namespace
from tests.faults.process import Process, config_text
from tests.faults.proxy import Proxy

Figures = dict[str, Any]
Start = Callable[..., Process]
_PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="fault tests with their full numbers, for hours")
    parser.addoption("--figures", type=Path, help="file that a JSON line is appended to for each fault test")
    parser.addoption("--minutes", type=float, help="how long the soak takes; default: 120 with --full, else a third")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that are marked with sizes for each value of the quick set, or of the full one."""
    for mark in metafunc.definition.iter_markers("sizes"):
        chosen = "full" if metafunc.config.getoption("--full", False) else "quick"
        metafunc.parametrize(mark.args[0], mark.kwargs[chosen])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether the full numbers are asked for."""
    return bool(pytestconfig.getoption("--full", False))


@pytest.fixture
def figures(request: pytest.FixtureRequest, full: bool) -> Iterator[Figures]:
    """What the test measures; written down in the end."""
    began = time.monotonic()
    figures: Figures = {}
    yield figures
    file = request.config.getoption("--figures", None)
    if file is None:
        return
    passed = request.node.stash.get(_PASSED, False)
    head = {"name": request.node.name, "full": full, "passed": passed, "seconds": round(time.monotonic() - began, 1)}
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(head | figures, default=lambda value: round(float(value), 3)) + "\n")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = Namespace()
    yield namespace
    namespace.close()


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., StoringBroker]]:
    """Makes brokers that are ended in the end."""
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    made: list[StoringBroker] = []

    def make(**options: Any) -> StoringBroker:
        folder = tmp_path / f"broker{len(made)}"
        folder.mkdir()
        made.append(StoringBroker(folder, **options))
        made[-1].start()
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., StoringBroker]) -> StoringBroker:
    return make_broker()


@pytest.fixture
def make_proxy() -> Iterator[Callable[..., Proxy]]:
    """Makes proxies that are closed in the end."""
    made: list[Proxy] = []

    def make(*arguments: Any, **options: Any) -> Proxy:
        made.append(Proxy(*arguments, **options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def make_ledger(bundle: Bundle) -> Iterator[Callable[..., Ledger]]:
    """Makes ledgers that are closed in the end."""
    made: list[Ledger] = []

    def make(port: int, streams: int = 20) -> Ledger:
        made.append(Ledger(port, bundle, streams))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(broker: StoringBroker, make_ledger: Callable[..., Ledger]) -> Ledger:
    return make_ledger(broker.port)


@pytest.fixture
def start(tmp_path: Path, weights: Path) -> Iterator[Start]:
    """Starts daemons on an address, with further lines for sections of their configuration; ends them in the end."""
    made: list[Process] = []

    def make(url: str, sections: dict[str, str] | None = None, **options: Any) -> Process:
        config = tmp_path / f"daemon{len(made)}.toml"
        config.write_text(config_text(url, weights, **(sections or {})))
        made.append(Process(config, **options))
        return made[-1]

    yield make
    for process in made:
        process.close()
