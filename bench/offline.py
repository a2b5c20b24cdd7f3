"""The path of a message without a network: ``Pipeline.handle`` and its stages; the first part of ``bench.path``."""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.machine import ROOT
from bench.stations import publish
from edge_lstm.bundle import read
from edge_lstm.daemon.packets import write_publish
from edge_lstm.daemon.wire import Wire
from edge_lstm.lane import Settings
from edge_lstm.messages import Message
from edge_lstm.pipeline import Outputs, Pipeline, Publish, Route
from edge_lstm.stages.decode import Source
from firmware_sim import Device

KIND, DEVICES = "bearing", 50
EPOCH = 1_700_000_000
WEIGHTS = ROOT / "weights" / f"{KIND}.safetensors"
POLICIES: tuple[Publish, ...] = ("every", "changes", "alerts")


class Samples:
    """Payloads of simulated devices, device after device, in order of time; a new time for each message."""

    def __init__(self) -> None:
        self._devices = [Device(KIND, seed=k) for k in range(DEVICES)]
        self.channels = tuple(self._devices[0].sample())
        self._n = 0

    def take(self, count: int) -> list[tuple[str, bytes]]:
        """Return devices and payloads; each device is sampled once a second, but no two at once."""
        out = []
        for _ in range(count):
            second, device = divmod(self._n, DEVICES)
            values = {name: round(value, 3) for name, value in self._devices[device].sample().items()}
            payload = json.dumps({"ts": EPOCH + second + device / DEVICES, **values}).encode()
            out.append((f"device-{device}/telemetry", payload))
            self._n += 1
        return out


def pipeline(policy: Publish) -> Pipeline:
    """Return what the daemon runs."""
    return Pipeline([Route(Source("in/#"), read(WEIGHTS), Settings(), Outputs(publish=policy))])


def median_us(work: Callable[[], Any], count: int, rounds: int = 7) -> float:
    """Return the processor time of a piece of work, us for each of so many."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(1e6 * (time.process_time() - began) / count)
    return round(statistics.median(times), 2)


def offline(samples: Samples, count: int) -> dict[str, float]:
    """Measure ``Pipeline.handle``, by policy and size of a batch."""
    found = {}
    for policy in POLICIES:
        pipe = pipeline(policy)
        for batch in (1, 10, 100):
            messages = [Message(f"in/{topic}", payload) for topic, payload in samples.take(8 * count)]
            rest = iter([messages[k : k + count] for k in range(0, len(messages), count)])
            pipe.handle(next(rest))  # compiled, and every stream known

            def work(pipe: Pipeline = pipe, batch: int = batch, rest: Any = rest) -> None:
                part = next(rest)
                for k in range(0, count, batch):
                    pipe.handle(part[k : k + batch], time.monotonic(), time.time())

            found[f"{policy}, batch {batch}"] = median_us(work, count)
    return found


def stages(samples: Samples, count: int) -> dict[str, float]:
    """Measure the stages one by one, in batches of a hundred."""
    messages = [Message(f"in/{topic}", payload) for topic, payload in samples.take(count)]
    route = pipeline("every").routes[0]
    found = {"decode": median_us(lambda: [route.decoder.decode(message) for message in messages], count)}
    decoded = [sample for message in messages for sample in route.decoder.decode(message)]
    again = iter([[samples.take(100) for _ in range(count // 100)] for _ in range(8)])
    lane = route.lane

    def align() -> None:
        for sample in decoded:
            lane.align.push(sample)

    found["align"] = median_us(align, count)
    parts = [[route.decoder.decode(Message(f"in/{t}", p))[0] for t, p in part] for block in again for part in block]
    rest = iter(parts)

    def advance() -> None:
        for _ in range(count // 100):
            for sample in next(rest):
                lane.push(sample)
            lane.flush(time.monotonic())

    found["align, push and advance"] = median_us(advance, count)
    pipe = pipeline("every")
    out = pipe.handle(messages)
    found["to packets"] = median_us(lambda: [write_publish(m.topic, m.payload, False, False) for m in out], count)
    wire = Wire(_Canned(b"".join(publish(m.topic, m.payload, 0, 0) for m in messages)), five=False)  # type: ignore[arg-type]

    def cut() -> None:
        wire.fill()
        assert sum(1 for _ in wire.publishes()) == count

    found["from packets"] = median_us(cut, count)
    return found


class _Canned:
    """A socket that always has the same."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, _size: int) -> bytes:
        return self._data
