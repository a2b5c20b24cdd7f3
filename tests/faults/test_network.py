"""A network that drops, delays, cuts or damages costs no sample, and 35 seconds after it is whole again all is well.

The daemon reaches the broker through a network of its own or through a proxy; the ledger reaches it directly.
"""

import time
from collections.abc import Callable

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import RESUMED_S, Account, Ledger
from tests.faults.namespace import Chain, Namespace
from tests.faults.process import Process
from tests.faults.proxy import BOTH, Direction, Proxy

pytestmark = pytest.mark.faults

MakeLedger = Callable[..., Ledger]
MakeProxy = Callable[..., Proxy]


def assert_nothing_happened(account: Account) -> None:
    """Hold that every sample has its score, and the right one."""
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)


@pytest.fixture
def cable(namespace: Namespace, make_broker: Callable[..., StoringBroker]) -> StoringBroker:
    """A broker that the namespace reaches as well."""
    return make_broker(addresses=(namespace.host,))


@pytest.fixture
def remote(cable: StoringBroker, namespace: Namespace, make_ledger: MakeLedger, start: Start) -> tuple[Ledger, Process]:
    """A daemon in the namespace that is at work."""
    ledger = make_ledger(cable.port)
    process = start(f"mqtt://{namespace.host}:{cable.port}", prefix=namespace.prefix)
    ledger.wait_online(process)
    ledger.send(10)
    return ledger, process


def partition(
    namespace: Namespace, chains: tuple[Chain, ...], seconds: float, remote: tuple[Ledger, Process], figures: Figures
) -> None:
    """Drop packets for a while, and hold that nothing came of it."""
    ledger, process = remote
    with ledger.feeding(rounds_per_s=5):
        namespace.drop(*chains)
        time.sleep(seconds)
        namespace.heal()
        resumed = ledger.resumed(process, time.monotonic(), 2 * RESUMED_S)
    ledger.wait_online(process)
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"resumed_s": resumed, "connects": ledger.stats()["connects"]}
    assert_nothing_happened(account)
    assert resumed <= RESUMED_S


@pytest.mark.sizes("seconds", quick=[5], full=[5, 30, 600])
def test_a_partition(namespace: Namespace, remote: tuple[Ledger, Process], figures: Figures, seconds: float) -> None:
    partition(namespace, ("INPUT", "OUTPUT"), seconds, remote, figures)


@pytest.mark.parametrize("chain", ["INPUT", "OUTPUT"])
@pytest.mark.sizes("seconds", quick=[5], full=[30, 120])
def test_a_network_that_is_deaf_in_one_direction(
    namespace: Namespace, remote: tuple[Ledger, Process], figures: Figures, seconds: float, chain: Chain
) -> None:
    partition(namespace, (chain,), seconds, remote, figures)


@pytest.mark.sizes("seconds", quick=[15], full=[300])
def test_a_link_too_slow_for_its_load(
    namespace: Namespace, remote: tuple[Ledger, Process], figures: Figures, seconds: float
) -> None:
    """64 kbit/s, a quarter of what is offered; what does not fit waits at the broker, not in the daemon."""
    ledger, process = remote
    ledger.settle()
    before = process.rss_mib()
    namespace.slow(kbit_s=64)
    with ledger.feeding(rounds_per_s=5):
        time.sleep(seconds)
        behind = len(ledger.publisher.sent) - ledger.scored()
        namespace.fast()
        resumed = ledger.resumed(process, time.monotonic())
    most = process.rss_mib()
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"resumed_s": resumed, "behind": behind, "grew_mib": most - before}
    assert behind > 0  # or the link was not too slow
    assert_nothing_happened(account)
    assert resumed <= RESUMED_S
    assert most - before <= 16.0  # 8 MiB that wait to be scored, and what waits for the broker


@pytest.mark.sizes("seconds", quick=[20], full=[600])
def test_a_link_that_flaps(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: MakeProxy,
    start: Start,
    figures: Figures,
    seconds: float,
) -> None:
    """The connection is reset every two seconds; attempts get rarer, and no processor is busy with them."""
    proxy = make_proxy(broker.port)
    process = start(proxy.url)
    ledger.wait_online(process)
    ledger.send(10)
    began, cpu_s = time.monotonic(), process.cpu_s()
    with ledger.feeding(rounds_per_s=5):
        while (now := time.monotonic()) < began + seconds:
            proxy.reset()
            time.sleep(2.0)
        cpu = (process.cpu_s() - cpu_s) / (now - began)
        attempts = proxy.accepted
        resumed = ledger.resumed(process, time.monotonic(), 2 * RESUMED_S)
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"resumed_s": resumed, "attempts": attempts, "cpu": cpu}
    assert_nothing_happened(account)
    assert resumed <= RESUMED_S
    assert cpu < 0.2
    assert attempts <= 3 + seconds / 5  # every few seconds, less and less often


@pytest.mark.sizes("held", quick=[BOTH], full=[BOTH, frozenset(("up",)), frozenset(("down",))])
def test_a_dead_peer_is_noticed_within_twice_the_keepalive(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: MakeProxy,
    start: Start,
    figures: Figures,
    held: frozenset[Direction],
) -> None:
    proxy = make_proxy(broker.port)
    process = start(proxy.url, {"mqtt": "keepalive_s = 5"})
    ledger.wait_online(process)
    ledger.send(10)
    ledger.settle()
    proxy.held = held
    stopped = time.monotonic()
    wait_for(lambda: "lost after" in process.log(), "the daemon to notice", 2 * 5 + 1)
    noticed = time.monotonic() - stopped
    proxy.reset()
    proxy.held = frozenset()
    with ledger.feeding(rounds_per_s=5):
        resumed = ledger.resumed(process, time.monotonic())
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"noticed_s": noticed, "resumed_s": resumed}
    assert_nothing_happened(account)
    assert noticed <= 2 * 5 + 1


@pytest.mark.parametrize(
    ("trouble", "value"),
    [("latency_s", 0.2), ("rate", 20_000), ("piece", 1)],
    ids=["late", "slow", "in-bytes"],
)
def test_a_bad_link(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: MakeProxy,
    start: Start,
    figures: Figures,
    trouble: str,
    value: float,
) -> None:
    """Late, slow, or in single bytes: it all arrives."""
    proxy = make_proxy(broker.port)
    setattr(proxy, trouble, value)
    process = start(proxy.url)
    ledger.wait_online(process)
    ledger.send(25)
    account = ledger.close_books(process)
    figures |= ledger.figures(account)
    assert_nothing_happened(account)


def test_a_link_that_ends_in_the_middle_of_packets(
    broker: StoringBroker, ledger: Ledger, make_proxy: MakeProxy, start: Start, figures: Figures
) -> None:
    """Each connection carries more than the daemon has on its way at once, or nothing would ever be confirmed."""
    proxy = make_proxy(broker.port)
    proxy.limit = 500_001
    process = start(proxy.url, module="tests.faults.hurried")
    ledger.wait_online(process)
    ledger.send(400)
    ledger.settle()
    proxy.limit = 0
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"connections": proxy.accepted}
    assert proxy.accepted >= 4
    assert_nothing_happened(account)


def test_wrong_bits(
    broker: StoringBroker, ledger: Ledger, make_proxy: MakeProxy, start: Start, figures: Figures
) -> None:
    """One byte in two thousand has a wrong bit: connections end, samples are dropped or changed, and counted."""
    proxy = make_proxy(broker.port)
    process = start(proxy.url)
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=10):
        proxy.flips = 0.0005
        time.sleep(10.0)
        proxy.flips = 0.0
        proxy.reset()
        resumed = ledger.resumed(process, time.monotonic(), 2 * RESUMED_S)
    account = ledger.close_books(process, quiet_s=5.0)
    figures |= ledger.figures(account) | {"resumed_s": resumed, "connections": proxy.accepted}
    assert resumed <= RESUMED_S
