"""A message that the broker sends again because an acknowledgement was lost steps no row twice.

Here samples have no time of their own by which they could be known.
"""

import json
import time
from collections.abc import Callable

import pytest

from tests.daemon.conftest import wait_for
from tests.faults.broker import StoringBroker
from tests.faults.conftest import Figures, Start
from tests.faults.ledger import Ledger, check_conservation
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.faults


@pytest.mark.sizes("seconds", quick=[8], full=[120])
def test_acknowledgements_that_are_lost_with_their_connections(
    broker: StoringBroker,
    ledger: Ledger,
    make_proxy: Callable[..., Proxy],
    start: Start,
    figures: Figures,
    seconds: float,
) -> None:
    broker.add("max_inflight_messages 0\n")
    proxy = make_proxy(broker.port)
    lines = {"source": "time = 'arrival'", "output": "stats_s = 1"}
    process = start(proxy.url, lines, module="tests.faults.hurried")
    ledger.wait_online(process)
    with ledger.feeding(rounds_per_s=50):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = proxy.accepted
            proxy.reset()
            wait_for(lambda: proxy.accepted > before, "a new connection")  # noqa: B023  called here
            time.sleep(0.2)  # it works for a while
    wait_for(lambda: not ledger.publisher.outstanding(), "the broker")
    sent = len(ledger.publisher.sent)

    def handled() -> int:
        return int(json.loads(ledger.collector.last("edge-lstm/stats") or b'{"samples": 0}')["samples"])

    wait_for(lambda: handled() >= sent, "the samples", 40.0)
    assert process.end() == 0, process.log()
    stats = ledger.stats()
    check_conservation(stats)
    figures |= {"sent": sent, "samples": stats["samples"], "connections": proxy.accepted, "dropped": stats["dropped"]}
    assert stats["samples"] == sent
