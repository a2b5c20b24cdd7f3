"""A broker's name that vanishes, leads to a dead machine first, or takes long to look up delays a connection only."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import RESUMED_S, Ledger
from tests.faults.names import Names, SlowNameServer
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.faults

NAME = "broker-under-test"


def test_a_name_that_vanishes(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: Callable[..., Proxy],
    start: Start,
    figures: Figures,
    tmp_path: Path,
) -> None:
    names = Names(tmp_path)
    names.set(**{NAME: ("127.0.0.1",)})
    proxy = make_proxy(broker.port)
    process = start(f"mqtt://{NAME}:{proxy.port}", prefix=names.prefix)
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=5):
        names.set()
        proxy.reset()
        wait_for(lambda: process.alive() and process.log().count("trying again") > 1, "a failed attempt")
        names.set(**{NAME: ("127.0.0.1",)})
        resumed = ledger.resumed(process, time.monotonic(), 2 * RESUMED_S)
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"resumed_s": resumed}
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)
    assert resumed <= RESUMED_S


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port where nobody answers: its queue of callers is full, and more are not even refused."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = int(server.getsockname()[1])
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
        yield port
        for caller in callers:
            caller.close()


def test_the_first_of_two_addresses_is_dead(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: Callable[..., Proxy],
    start: Start,
    figures: Figures,
    tmp_path: Path,
    dead_port: int,
) -> None:
    names = Names(tmp_path)
    names.set(**{NAME: ("127.0.0.1", "127.0.0.3")})
    proxy = make_proxy(broker.port, address="127.0.0.3", port=dead_port)
    began = time.monotonic()
    process = start(f"mqtt://{NAME}:{proxy.port}", prefix=names.prefix)
    ledger.wait_online(process)
    figures |= {"online_s": time.monotonic() - began}
    ledger.send(10)
    account = ledger.close_books(process)
    figures |= ledger.figures(account)
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)


@pytest.mark.sizes("delay_s", quick=[5], full=[28])
def test_a_slow_name_server(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: Callable[..., Proxy],
    start: Start,
    figures: Figures,
    tmp_path: Path,
    delay_s: float,
) -> None:
    """The watchdog is petted while a name is looked up."""
    server = SlowNameServer("127.0.0.1", delay_s)
    names = Names(tmp_path, order="dns")
    names.ask(server.address, timeout_s=30)
    proxy = make_proxy(broker.port)
    try:
        process = start(f"mqtt://{NAME}.test:{proxy.port}", prefix=names.prefix)
        ledger.wait_online(process, 10.0 + 2 * delay_s)
        with ledger.feeding(rounds_per_s=5):
            proxy.reset()
            resumed = ledger.resumed(process, time.monotonic(), RESUMED_S + delay_s)
        account = ledger.close_books(process)
    finally:
        server.close()
    figures |= ledger.figures(account) | {"resumed_s": resumed, "asked": server.asked}
    assert server.asked
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)
    assert resumed <= RESUMED_S + delay_s
