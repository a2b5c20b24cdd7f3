"""Whatever a broker says or leaves unsaid, the daemon lives on, keeps within bounds, and works with the next one."""

import random
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.clients import sample
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Ledger
from tests.faults.process import Process
from tests.faults.scripted import (
    CONNECT,
    PUBLISH,
    SUBSCRIBE,
    Packet,
    Peer,
    ScriptedBroker,
    connack,
    publish,
    random_frame,
    suback,
)

pytestmark = pytest.mark.faults

HURRIED = "tests.faults.hurried"
PUBACK = 4
WAITING = 4096  # messages of the daemon that wait for the broker, at most
Play = Callable[[Callable[[Peer], None]], ScriptedBroker]


@pytest.fixture
def play(request: pytest.FixtureRequest) -> Play:
    """Makes scripted brokers that are closed in the end."""

    def make(scene: Callable[[Peer], None]) -> ScriptedBroker:
        broker = ScriptedBroker(scene)
        request.addfinalizer(broker.close)
        return broker

    return make


def assert_works_afterwards(
    make_broker: Callable[..., StoringBroker],
    make_ledger: Callable[..., Ledger],
    process: Process,
    port: int,
    figures: Figures,
) -> None:
    """Put a real broker into a scripted one's place, and let the daemon score."""
    broker = make_broker(port=port)
    ledger = make_ledger(broker.port)
    ledger.wait_online(process, 60.0)
    ledger.send(10)
    account = ledger.close_books(process)
    figures |= ledger.figures(account)
    assert (account.lost, account.differing, account.wrong) == ([], 0, 0)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.sizes("frames", quick=[400], full=[10_000])
def test_random_frames(
    make_broker: Callable[..., StoringBroker],
    make_ledger: Callable[..., Ledger],
    play: Play,
    start: Start,
    figures: Figures,
    frames: int,
    protocol: str,
) -> None:
    """One after each CONNACK, before or after the SUBACK."""
    draw = random.Random(7)

    def scene(peer: Peer) -> None:
        if draw.random() < 0.5:
            peer.greet()
        else:
            next(peer.packets())
            peer.send(connack(peer.five))
        peer.send(random_frame(draw))
        peer.drain()

    hostile = play(scene)
    process = start(hostile.url, {"mqtt": f"protocol = '{protocol}'"}, module=HURRIED)
    wait_for(lambda: process.alive() and hostile.scenes >= frames, f"{frames} connections", 30.0 + 0.2 * frames)
    hostile.close()
    figures |= {"frames": hostile.scenes, "rss_mib": process.rss_mib(), "descriptors": process.descriptors()}
    assert process.descriptors() < 32  # none is left over from a connection
    assert_works_afterwards(make_broker, make_ledger, process, hostile.port, figures)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_connacks_of_all_codes(
    make_broker: Callable[..., StoringBroker],
    make_ledger: Callable[..., Ledger],
    play: Play,
    start: Start,
    figures: Figures,
    protocol: str,
) -> None:
    """The standard names a few codes; the others are reserved."""
    codes = iter(range(1, 256))

    def scene(peer: Peer) -> None:
        next(peer.packets())
        peer.send(connack(peer.five, next(codes, 5)))
        peer.drain()

    hostile = play(scene)
    process = start(hostile.url, {"mqtt": f"protocol = '{protocol}'"}, module=HURRIED)
    wait_for(lambda: process.alive() and hostile.scenes >= 255, "255 refusals", 60.0)
    hostile.close()
    assert_works_afterwards(make_broker, make_ledger, process, hostile.port, figures)


def test_a_broker_that_never_answers_is_left(play: Play, start: Start, figures: Figures) -> None:
    """A CONNACK that does not come is waited for as long as for any other word, not for ever."""
    asked: list[float] = []
    left: list[float] = []

    def scene(peer: Peer) -> None:
        asked.extend(packet.at for packet in peer.packets(15.0))
        left.append(time.monotonic())

    process = start(play(scene).url, {"mqtt": "keepalive_s = 5"})
    wait_for(lambda: process.alive() and left, "the daemon to give up", 30.0)
    figures |= {"given_up_s": left[0] - asked[0]}
    assert figures["given_up_s"] <= 2 * 5 + 1


@pytest.mark.sizes("asks", quick=[1], full=[2])
def test_a_refused_subscription_is_asked_for_again_in_a_minute(
    play: Play, start: Start, figures: Figures, asks: int
) -> None:
    asked: list[Packet] = []

    def scene(peer: Peer) -> None:
        for packet in peer.packets(90.0 if asks > 1 else 5.0):
            if packet.kind == CONNECT:
                peer.send(connack(peer.five))
            if packet.kind == SUBSCRIBE:  # to what it may have left here before, too
                asked.extend([packet] if b"plant/" in packet.body else [])
                peer.send(suback(packet, peer.five, 0x80))

    broker = play(scene)
    process = start(broker.url, {"mqtt": "keepalive_s = 600"})
    wait_for(lambda: process.alive() and (len(asked) > asks or broker.scenes), "the scene to end", 120.0)
    assert len(asked) == asks
    assert "refuses the subscription to plant/+/data" in process.log()
    figures |= {"pause_s": asked[-1].at - asked[0].at}
    assert figures["pause_s"] >= 60.0 * (asks - 1)


def test_the_brokers_own_keepalive_is_heeded(play: Play, start: Start, figures: Figures) -> None:
    """A broker that asks for a word each second may cut off who says nothing for one and a half (5.0, 3.1.2.10)."""
    heard: list[float] = []

    def scene(peer: Peer) -> None:
        peer.greet(connack_properties=b"\x13\x00\x01")
        heard.append(time.monotonic())
        for packet in peer.packets(4.0):
            heard.append(packet.at)
            if packet.kind == 12:
                peer.send(b"\xd0\x00")

    broker = play(scene)
    process = start(broker.url, {"mqtt": "protocol = '5'"})
    wait_for(lambda: process.alive() and broker.scenes, "the scene to end", 30.0)
    gaps = [later - earlier for earlier, later in pairwise(heard)]
    figures |= {"longest_gap_s": max(gaps)}
    assert max(gaps) <= 1.5


def test_a_broker_that_acknowledges_nothing_is_not_taken_from_without_end(
    play: Play, start: Start, figures: Figures
) -> None:
    """It holds what we can't finish: we acknowledge no more of its messages than ours can wait."""
    offered = 20_000
    acknowledged: list[Packet] = []
    scored: list[Packet] = []

    def scene(peer: Peer) -> None:
        peer.greet()
        for seq in range(offered):
            peer.send(publish(*sample("s000", seq), seq % 65_535 + 1))
        for packet in peer.packets(4.0):
            if packet.kind == PUBACK:
                acknowledged.append(packet)
            if packet.kind == PUBLISH and b"/score" in packet.body[:64]:
                scored.append(packet)

    broker = play(scene)
    process = start(broker.url)
    wait_for(lambda: process.alive() and broker.scenes, "the scene to end", 60.0)
    figures |= {"acknowledged": len(acknowledged), "scored": len(scored), "rss_mib": process.rss_mib()}
    assert 0 < len(scored) <= WAITING
    assert len(acknowledged) <= len(scored)
