"""The daemon's loop: what arrived, through the pipeline in one call, and out again; once a second the chores."""

import gc
import logging
import os
import signal
import socket
import time
from collections import Counter

import msgspec

from edge_lstm.daemon.mqtt import Link
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline

CHORES_S = 1.0
STATS_S = 60.0
GOODBYE_S = 5.0

log = logging.getLogger(__name__)


class Service:
    """Runs a pipeline on a connection until it is told to stop."""

    def __init__(self, pipeline: Pipeline, link: Link, prefix: str) -> None:
        self._pipeline = pipeline
        self._link = link
        self._prefix = prefix
        self._stopping = False
        self._started = time.monotonic()
        self._stats_at = 0.0
        self._summary = Summary()

    def run(self) -> None:
        """Connect, and work until SIGTERM or SIGINT."""
        gc.collect()
        gc.freeze()  # the compiler leaves many objects; looking through them time and again costs a sixth of the CPU
        wake = self._catch_signals()
        try:
            self._loop()
        finally:
            signal.set_wakeup_fd(-1)
            self._link.poller.unregister(wake[0])  # nobody has read what the signal wrote, and nobody waits for it now
            for end in wake:
                end.close()
        self._leave()

    def _catch_signals(self) -> tuple[socket.socket, socket.socket]:
        """Let a signal set a flag, and end a wait that is going on."""
        ours, handler = socket.socketpair()
        handler.setblocking(False)
        signal.set_wakeup_fd(handler.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._link.poller.register(ours, 1)
        return ours, handler

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _loop(self) -> None:
        link = self._link
        due = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            if now >= due:
                due = now + CHORES_S
                self._chores(now)
            link.wait(due - now)
            messages = link.traffic.receive()
            if messages:
                self._publish(self._pipeline.handle(messages, link.hearing.seconds, link.hearing.wall))
            link.traffic.acknowledge()
            link.traffic.flush()

    def _leave(self) -> None:
        """End what nobody will watch any more, and say goodbye."""
        log.info("stopping")
        self._publish(self._pipeline.close(time.time()))
        self._publish([self._stats(time.monotonic())])
        self._link.close(GOODBYE_S)

    def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            self._link.traffic.publish(message)

    def _chores(self, now: float) -> None:
        """Do what is due once a second."""
        link = self._link
        link.tend()
        if not link.connected:
            return
        self._publish(self._pipeline.watch(link.hearing.seconds, link.hearing.wall))
        if now >= self._stats_at:
            self._stats_at = now + STATS_S
            self._publish([self._stats(now)])
        link.traffic.flush()
        self._summary.write(now, self._pipeline, link)

    def _stats(self, now: float) -> Message:
        pipeline, link = self._pipeline, self._link
        stats = {
            "uptime_s": round(now - self._started, 1),
            "received": pipeline.received + link.traffic.bad_topics + link.traffic.inbox.too_large,
            "samples": pipeline.samples,
            "scored": pipeline.scored,
            "alerts": pipeline.alerts,
            "streams": sum(len(route.lane.streams) for route in pipeline.routes),
            "dropped": dict(dropped(pipeline, link)),
            "connects": link.connects,
            "rss_bytes": rss_bytes(),
        }
        return Message(f"{self._prefix}/stats", msgspec.json.encode(stats))


def dropped(pipeline: Pipeline, link: Link) -> Counter[str]:
    """Return everything that was dropped so far, by reason."""
    counts = pipeline.dropped.copy()
    counts.update(bad_topic=link.traffic.bad_topics, too_large=link.traffic.inbox.too_large, unsent=link.traffic.unsent)
    return +counts


def rss_bytes() -> int:
    """Return the memory this process takes; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class Summary:
    """Log lines about the work: at most one a minute, and one a minute for each reason to drop something."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._seen: Counter[str] = Counter()

    def write(self, now: float, pipeline: Pipeline, link: Link) -> None:
        """Log what is new, if it is time for it."""
        for reason, count in dropped(pipeline, link).items():
            if new := self._new(reason, count, now):
                log.warning("dropped %d, such as %s", new, pipeline.examples.get(reason, reason))
        if new := self._new("", pipeline.received, now):
            scored = self._new("scored", pipeline.scored, now)
            log.info("%d messages, %d samples scored; %d alerts so far", new, scored, pipeline.alerts)

    def _new(self, key: str, count: int, now: float) -> int:
        """Return how much a counter grew since it was last told; 0 if that was less than a minute ago."""
        if count == self._seen[key] or now < self._due.get(key, 0.0):
            return 0
        new = count - self._seen[key]
        self._seen[key] = count
        self._due[key] = now + STATS_S
        return new
