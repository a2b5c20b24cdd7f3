"""READ THIS FIRST: the path of a sample, from message to message.

    message -> decode -> align -> block -> engine.advance -> report -> encode -> message

``Pipeline`` is what the daemon drives with what came off the socket, and what ``replay`` drives with a file. It has no
clock, thread, file or network; times come with the messages, ``now`` from whoever drives it.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from edge_lstm.core.table import IN_ALERT, OUTCOMES, SCORED, START_END
from edge_lstm.errors import PayloadError, StateError
from edge_lstm.lane import Advanced, Lane
from edge_lstm.messages import Alert, Message
from edge_lstm.route import Outputs, Publish, Route, SavedRoute, alert_out, score_out
from edge_lstm.stages.topics import REMEMBERED, SHORT

__all__ = ["Outputs", "Pipeline", "Publish", "Route", "SavedRoute"]


class Pipeline:
    """Routes side by side; the first whose pattern matches a topic takes its messages.

    Attributes:
        received: messages handled: ``decoded`` and ``dropped``.
        decoded: those that gave samples.
        samples: rows of channels that came of them: ``scored`` and ``refused``.
        scored: those that stepped their row.
        alerts: alerts started.
        evicted: streams that gave way to others.
        dropped: by reason, messages that were not decoded.
        refused: by reason, samples that were not scored.
        examples: by reason, the last message that was not decoded, in words for a log.
    """

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self.received = 0
        self.decoded = 0
        self.samples = 0
        self.scored = 0
        self.alerts = 0
        self.evicted = 0
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._own = tuple({f"{route.outputs.prefix}/" for route in routes})
        self._route = lru_cache(maxsize=REMEMBERED)(self._find_route)

    def _find_route(self, topic: str) -> Route:
        if topic.startswith(self._own):
            raise PayloadError("own_topic", "a message of ours came back; narrow the filter")
        for route in self.routes:
            if route.decoder.pattern.match(topic) is not None:
                return route
        raise PayloadError("no_route", f"no source matches {topic[:80]!r}")

    def handle(self, messages: Iterable[Message], now: float = 0.0, wall: float = 0.0) -> list[Message]:
        """Take messages in, return those that go out; one call of the engine per route.

        Args:
            messages: in order of arrival.
            now: seconds on a steady clock, for the watch over silent streams.
            wall: Unix seconds, for when a silence ended.
        """
        for message in messages:
            self.received += 1
            try:
                topic = message.topic
                route = self._route(topic) if len(topic) <= SHORT else self._find_route(topic)
                for sample in route.decoder.decode(message):
                    route.lane.push(sample)
                self.decoded += 1
            except PayloadError as error:
                self.dropped[error.reason] += 1
                self.examples[error.reason] = f"{message.topic[:80]!r}: {error}"
        out: list[Message] = []
        for route in self.routes:
            self._count_refused(route.lane)
            if route.lane:
                out += self._flush(route, now, wall)
        return out

    def _flush(self, route: Route, now: float, wall: float) -> Iterable[Message]:
        lane, outputs, reporter = route.lane, route.outputs, route.reporter
        advanced = lane.flush(now)
        self._count(advanced)
        results = advanced.results
        phases, silences = results.phase.tolist(), results.silence.tolist()
        covered: set[str] = set()  # streams whose last word of alerts is that a silence ended
        for k, (stream, score) in enumerate(zip(advanced.streams, route.scores(advanced), strict=True)):
            if silences[k]:
                covered.add(stream)
                yield alert_out(reporter.silence(stream, wall, route.silent.pop(stream, wall), over=True), outputs)
            if score is not None:
                yield score_out(score, outputs)
            if phases[k] and not (phases[k] == START_END and silences[k]):  # silence said it already
                for alert in reporter.alerts(stream, float(advanced.t[k]), results, k):
                    self.alerts += alert.phase == "start"
                    covered.discard(stream)
                    yield alert_out(alert, outputs)
        for stream in covered:
            row = lane.rows[stream]
            if lane.row_number(row, IN_ALERT):  # a late subscriber shall see it, so it is told again
                yield route.unfinished("start", row)

    def _count(self, advanced: Advanced) -> None:
        outcomes = advanced.results.outcome.tolist()
        scored = outcomes.count(SCORED)
        self.samples += len(outcomes)
        self.scored += scored
        if scored < len(outcomes):
            self.refused.update(OUTCOMES[outcome] for outcome in outcomes if outcome != SCORED)

    def _count_refused(self, lane: Lane) -> None:
        """Count what did not get as far as the engine."""
        if lane.refused:
            self.refused["stream_limit"] += lane.refused
            self.samples += lane.refused
            lane.refused = 0
        if lane.align.ignored:
            self.refused["missing_field"] += lane.align.ignored
            self.samples += lane.align.ignored
            self.examples["missing_field"] = lane.align.example
            lane.align.ignored = 0

    def watch(self, now: float, wall: float) -> list[Message]:
        """Return alerts for streams that stopped talking, and let idle ones give way; call it about once a second.

        Args:
            now: the clock that ``handle`` is given.
            wall: the same moment in Unix seconds, for the alert's times.
        """
        out = []
        for route in self.routes:
            for stream, silent_s in route.lane.silent(now):
                start = route.silent[stream] = wall - silent_s
                self.alerts += 1
                out.append(alert_out(route.reporter.silence(stream, wall, start, over=False), route.outputs))
            for row in route.lane.idle(now):
                self.evicted += 1
                out += route.give_way(row, wall)
        return out

    def snapshot(self) -> list[SavedRoute]:
        """Return a copy of all that is remembered of the streams, for a checkpoint or a pipeline that takes over."""
        return [route.snapshot() for route in self.routes]

    def restore(self, saved: Iterable[SavedRoute]) -> list[str]:
        """Go on from a snapshot, where source and bundle are the same; to be done before anything is handled.

        Returns:
            Why a source can't, in words.
        """
        known = {(one.topic, one.bundle): one for one in saved}
        problems = []
        for route in self.routes:
            if route.identity in known:
                try:
                    route.restore(known[route.identity])
                except StateError as error:
                    problems.append(f"source {route.identity[0]!r}: {error}")
        return problems

    def succeed(self, old: "Pipeline") -> list[str]:
        """Go on in place of another pipeline, and with its counts; return what ``restore`` does."""
        for name in ("received", "decoded", "samples", "scored", "alerts", "evicted", "dropped", "refused", "examples"):
            setattr(self, name, getattr(old, name))
        return self.restore(old.snapshot())

    def doubt(self) -> None:
        """Note that samples of any stream may have been missed: scores are told as ``recovering`` for a while."""
        for route in self.routes:
            route.lane.doubt()

    def resume(self, wall: float) -> list[Message]:
        """Return every alert in progress, told again: after a restart they are no longer what was last said."""
        return [message for route in self.routes for message in route.in_progress("start", wall)]

    def orphans(self, alerts: Iterable[Alert]) -> list[Message]:
        """Return an end, as of when they were told, for alerts of an earlier run that are none of those in progress."""
        ours = {message.topic for route in self.routes for message in route.in_progress("start", 0.0)}
        outputs = self.routes[0].outputs
        ends = [msgspec.structs.replace(a, phase="end", end=a.t, duration_s=max(0.0, a.t - a.start)) for a in alerts]
        return [message for end in ends if (message := alert_out(end, outputs)).topic not in ours]

    def close(self, wall: float) -> list[Message]:
        """Return an end for every alert in progress, since nobody watches any more."""
        return [message for route in self.routes for message in route.in_progress("end", wall)]
