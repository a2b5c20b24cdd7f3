"""The daemon's loop: what arrived, through the pipeline in one call, and out again; once a second the chores."""

import gc
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from edge_lstm.daemon import logs, stats
from edge_lstm.daemon.check import Prepared
from edge_lstm.daemon.folder import StateFolder
from edge_lstm.daemon.leftovers import Leftovers
from edge_lstm.daemon.memory import Memory
from edge_lstm.daemon.mqtt import Link
from edge_lstm.daemon.notify import Notifier
from edge_lstm.daemon.reload import Reload, take_over
from edge_lstm.daemon.signals import Signals
from edge_lstm.daemon.traffic import HELD
from edge_lstm.messages import Alert, Message
from edge_lstm.pipeline import Pipeline

CHORES_S = 1.0
GOODBYE_S = 5.0  # to get out what waits
LAST_WORDS_S = 1.0  # of it, to say that we go
BREATH_S = 0.1  # for the broker to confirm, before more is handled
KEEP_S = 3.0  # to write the last checkpoint

log = logging.getLogger(__name__)


class Service:
    """Runs a configuration until it is told to stop.

    Args:
        prepared: what to run.
        folder: of the state; ``None`` to keep none.
        link: to the broker.
        signals: on the link's poller.
        read_again: reads the configuration once more.
    """

    def __init__(
        self,
        prepared: Prepared,
        folder: StateFolder | None,
        link: Link,
        signals: Signals,
        read_again: Callable[[], Prepared],
    ) -> None:
        self._prepared = prepared
        self._pipeline = Pipeline(prepared.routes)
        self._link = link
        self._reload = Reload(read_again)
        self._signals = signals
        self._memory = Memory(folder, prepared, self._signals.wake) if folder else None
        self._notifier = Notifier()
        self._started = time.monotonic()
        self._stats_at = 0.0
        self._longest_turn_s = 0.0
        self._problems: list[str] = []
        self._overflow = 0
        self._connects = 0
        self._summary = stats.Summary()
        link.on_gap = self._doubt
        link.look_for(Leftovers(prepared.config.output.prefix, self._end_orphans))

    def run(self) -> None:
        """Connect, and work until SIGTERM or SIGINT."""
        self._signals.catch()
        if self._memory:
            self._memory.recall(self._pipeline, self._link)
            self._publish(self._pipeline.resume(time.time()))
        _tidy()
        try:
            self._loop()
        finally:
            self._signals.close()
        self._leave()

    def _loop(self) -> None:
        due = time.monotonic()
        while not self._signals.stop:
            now = time.monotonic()
            if now >= due:
                due = now + CHORES_S
                self._chores(now)
            self._link.wait(due - now)
            began = time.monotonic()
            self._signals.clear()
            self._turn(began)
            self._longest_turn_s = max(self._longest_turn_s, time.monotonic() - began)

    def _turn(self, now: float) -> None:
        """Handle what arrived, and tell the broker what is done."""
        traffic = self._link.traffic
        messages = traffic.receive()
        self._watch_for_loss()  # before what came after a gap is scored
        if messages and 0 < traffic.inbox.gap >= traffic.inbox.taken - len(messages):
            self._pipeline.doubt()  # again, for what came before the gap was scored meanwhile
        self._handle(messages)
        if self._memory:
            self._memory.tend(now, self._pipeline, self._link)
        traffic.acknowledge()
        traffic.flush()

    def _handle(self, messages: list[Message]) -> None:
        if messages:
            hearing = self._link.hearing
            self._publish(self._pipeline.handle(messages, hearing.seconds, hearing.wall))
        self._link.traffic.handled()

    def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            self._link.traffic.publish(message)

    def _chores(self, now: float) -> None:
        """Do what is due once a second."""
        link = self._link
        link.tend()
        self._tend_reload()
        if not self._memory or self._memory.keeper.alive:
            self._notifier.alive(ready=link.hearing.on and not self._reload.busy, status=self._status())
        if link.connected:
            self._publish(self._pipeline.watch(link.hearing.seconds, link.hearing.wall))
            self._tell_stats(now)
            link.traffic.flush()
        self._summary.write(now, self._pipeline, link)

    def _watch_for_loss(self) -> None:
        """Say so where samples may have been missed: messages of QoS 0 that came while we were away, or gave way."""
        link = self._link
        overflow = link.traffic.inbox.overflow
        if link.connects > self._connects > 0 and link.traffic.news > 0:
            self._doubt()
        elif overflow != self._overflow:
            self._pipeline.doubt()
        self._connects, self._overflow = link.connects, overflow

    def _end_orphans(self, alerts: list[Alert]) -> None:
        self._publish(self._pipeline.orphans(alerts))

    def _doubt(self) -> None:
        inbox = self._link.traffic.inbox
        inbox.gap = inbox.put_in
        self._pipeline.doubt()
        if self._memory:
            self._memory.gap(self._link.traffic.inbox.put_in)

    def _status(self) -> str:
        """Return one line about how it goes."""
        pipeline = self._pipeline
        line = f"{pipeline.scored} samples scored, {pipeline.alerts} alerts"
        return "; ".join([*self._problems_now(), line]) if self._problems_now() else "watching"

    def _problems_now(self) -> list[str]:
        found = list(self._link.problems)
        if self._memory and self._memory.problem:
            found.append(self._memory.problem)
        return found

    def _tell_stats(self, now: float) -> None:
        """Publish the counts, if it is time, or if something began or ceased to be wrong."""
        problems = self._problems_now()
        if problems != self._problems or now >= self._stats_at:
            self._stats_at = now + self._prepared.config.output.stats_s
            self._problems = problems
            self._publish([self._stats(now)])

    def _stats(self, now: float) -> Message:
        counts: dict[str, Any] = {"uptime_s": round(now - self._started, 1)}
        counts |= stats.work(self._pipeline, self._link)
        counts["checkpoint"] = stats.memory(self._memory.keeper, now) if self._memory else None
        counts["problems"] = self._problems_now()
        counts["longest_turn_s"] = round(self._longest_turn_s, 4)
        counts |= stats.process()
        self._longest_turn_s = 0.0
        return Message(f"{self._prepared.config.output.prefix}/stats", msgspec.json.encode(counts))

    def _tend_reload(self) -> None:
        """Read the configuration again, if that was asked for, and go on with it."""
        if self._signals.reload:
            self._signals.reload = False
            self._notifier.reloading()
            self._reload.begin()
        prepared = self._reload.take(self._prepared)
        if prepared is not None:
            self._pipeline, ends = take_over(self._pipeline, prepared)
            self._publish(ends)
            self._prepared = prepared
            logs.set_level(prepared.config.log.level)
            self._link.watch(prepared.filters, [stats.info(prepared)])
            _tidy()

    def _leave(self) -> None:
        """Finish what arrived, end what nobody will watch any more, keep the state, and say goodbye."""
        log.info("stopping")
        self._notifier.stopping()
        link, ends = self._link, time.monotonic() + GOODBYE_S
        self._drain(ends - LAST_WORDS_S)
        self._publish(self._pipeline.close(time.time()))
        self._publish([self._stats(time.monotonic())])
        link.settle(ends - time.monotonic())
        if self._memory:
            self._memory.finish(self._pipeline, link, KEEP_S)
        link.traffic.acknowledge()
        link.close(max(LAST_WORDS_S, ends - time.monotonic()))
        if self._memory:
            self._memory.close()

    def _drain(self, ends: float) -> None:
        """Handle what had arrived, as far as the broker takes what follows from it; the rest comes again."""
        traffic = self._link.traffic
        last = traffic.inbox.put_in  # what comes from now on is left with the broker
        while self._link.connected and traffic.inbox.taken < last and time.monotonic() < ends:
            if traffic.unconfirmed() < HELD:
                self._handle(traffic.inbox.take(HELD))
            self._link.settle(BREATH_S)


def _tidy() -> None:
    """Give back what is left of a start, and look at what stays no more: the compiler leaves many objects.

    Looking through them time and again costs a sixth of the processor time.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
