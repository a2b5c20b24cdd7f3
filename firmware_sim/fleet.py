"""Thousands of devices from one thread: a heap of what is due next, and the links to send it over.

When the machine can't keep up, messages go out late, in order, and none is dropped;
``Report.max_late_s`` tells.
"""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from firmware_sim import wire
from firmware_sim.device import Device
from firmware_sim.firmware import Emission, Firmware, Habits
from firmware_sim.kinds import KINDS
from firmware_sim.link import Link, serve
from firmware_sim.plan import FaultPlan

_TICK_S = 0.002  # messages may be this late; waiting for each by itself would cost a system call each
_SERVE_EVERY = 50  # messages between two looks at the sockets when there is no time to wait
_PER_DEVICE_LIMIT = 500  # connections; select() ends at 1,024 sockets


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What to run."""

    broker: str = "mqtt://localhost:1883"
    devices: int = 20
    kinds: Sequence[str] = tuple(KINDS)
    seconds: float | None = None  # wall time; None: until stopped
    speed: float = 1.0  # device seconds per wall second
    rate_hz: float | None = None  # samples per wall second; overrides speed
    start_time: float | None = None  # unix seconds of the first samples; None: now
    qos: int = 0
    seed: int = 1
    prefix: str = "sim"
    per_device_connections: bool = False
    plan: FaultPlan = field(default_factory=FaultPlan)
    habits: Habits = field(default_factory=Habits)


@dataclass(slots=True)
class Report:
    """What happened."""

    devices: int = 0
    seconds: float = 0.0
    telemetry: int = 0  # messages, duplicates included
    faults: int = 0
    sent: int = 0  # all messages: telemetry, truth, boot and device status
    acknowledged: int = 0
    lost: int = 0  # QoS 0 only, with a broken connection
    max_late_s: float = 0.0


@dataclass(slots=True)
class _Node:
    device: Device
    firmware: Firmware
    link: Link
    topic: str  # all but the leaf
    due_s: float  # first sample, then the next
    period_s: float  # wall time


class Fleet:
    """Devices, their firmware, and their way out."""

    def __init__(self, options: FleetOptions) -> None:
        """Build all devices; connect nothing yet.

        Raises:
            ValueError: an option makes no sense.
        """
        if options.per_device_connections and options.devices > _PER_DEVICE_LIMIT:
            raise ValueError(f"a connection per device: at most {_PER_DEVICE_LIMIT} devices")
        self._options = options
        self._start = time.time() if options.start_time is None else options.start_time
        self._nodes: list[_Node] = []
        self._links: list[Link] = []
        if not options.per_device_connections:
            self._links.append(Link(options.broker, f"{options.prefix}/status"))
        for number in range(options.devices):
            self._nodes.append(self._build(number))
        self._queue: list[tuple[float, int, _Node, Emission | None]] = []
        self._order = count()
        self._stopped = False
        self.report = Report(devices=len(self._nodes))

    def stop(self) -> None:
        """End the run soon, in good order; safe in a signal handler."""
        self._stopped = True

    def run(self) -> Report:
        """Run to the end and report.

        Raises:
            LinkError: the broker can't be reached.
        """
        for link in self._links:
            link.connect()
        self._say_status(b"online")
        for node in self._nodes:
            self._schedule(node)
        self._began = time.monotonic()
        self._loop()
        self._close()
        return self.report

    def _build(self, number: int) -> _Node:
        options = self._options
        name = options.kinds[number % len(options.kinds)]
        kind = KINDS[name]
        device_id = wire.device_id(name, number // len(options.kinds) + 1)
        seed = f"{options.seed}/{device_id}"
        speed = options.speed
        if options.rate_hz is not None:
            speed = options.rate_hz * kind.period_s
        rng = Random(f"fleet:{seed}")
        period_s = kind.period_s / speed
        due_s = rng.random() * period_s
        start = self._start + due_s * speed
        topic = wire.topic(options.prefix, name, device_id, "")
        if options.per_device_connections:
            self._links.append(Link(options.broker, topic + "status"))
        return _Node(
            device=Device(name, seed, options.plan.faults(kind, number, speed, rng), start),
            firmware=Firmware(options.habits, seed, period_s, start),
            link=self._links[-1],
            topic=topic,
            due_s=due_s,
            period_s=period_s,
        )

    def _loop(self) -> None:
        queue = self._queue
        since_served = 0
        while queue and not self._stopped:
            now_s = time.monotonic() - self._began
            late_s = now_s - queue[0][0]
            if late_s < 0.0 or since_served >= _SERVE_EVERY:
                serve(self._links, min(max(-late_s, _TICK_S), 0.5) if late_s < 0.0 else 0.0)
                since_served = 0
                continue
            self.report.max_late_s = max(self.report.max_late_s, late_s)
            since_served += 1
            due_s, _, node, emission = heapq.heappop(queue)
            if emission is None:
                self._sample(node, due_s)
            else:
                self._publish(node, emission)

    def _sample(self, node: _Node, due_s: float) -> None:
        device = node.device
        elapsed_s = device.elapsed_s
        values = device.sample()
        for fault in device.begun:
            self.report.faults += 1
            start = node.firmware.stamp(fault.start_s)
            truth = wire.truth(fault, start, node.firmware.stamp(fault.end_s))
            node.link.publish(node.topic + "truth", wire.payload(truth), qos=1)
        for emission in node.firmware.handle(due_s, elapsed_s, values):
            heapq.heappush(self._queue, (emission.at_s, next(self._order), node, emission))
        node.due_s += node.period_s
        self._schedule(node)

    def _schedule(self, node: _Node) -> None:
        if self._options.seconds is None or node.due_s < self._options.seconds:
            heapq.heappush(self._queue, (node.due_s, next(self._order), node, None))

    def _publish(self, node: _Node, emission: Emission) -> None:
        node.link.publish(node.topic + emission.leaf, emission.payload, self._options.qos)
        self.report.telemetry += emission.leaf == "telemetry"

    def _close(self) -> None:
        for _, _, node, emission in sorted(self._queue):  # left over if stopped
            if emission is not None:
                self._publish(node, emission)
        for node in self._nodes:
            for emission in node.firmware.close(node.due_s):
                self._publish(node, emission)
        self._say_status(b"offline")
        report = self.report
        report.seconds = round(time.monotonic() - self._began, 3)
        for link in self._links:
            link.close()
            report.sent += link.sent
            report.acknowledged += link.acknowledged
            report.lost += link.lost
        report.max_late_s = round(report.max_late_s, 3)

    def _say_status(self, status: bytes) -> None:
        """Speak for the devices; a device with its own connection speaks for itself."""
        if not self._options.per_device_connections:
            for node in self._nodes:
                node.link.publish(node.topic + "status", status, qos=1, retain=True)
