"""READ THIS FIRST: the path of a sample, from message to message.

    message -> decode -> align -> block -> engine.advance -> report -> encode -> message

``Pipeline`` is what the daemon drives with what came off the socket, and what ``replay`` drives with a file. It has no
clock, thread, file or network; times come with the messages, ``now`` from whoever drives it.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import repeat
from typing import Literal

import msgspec

from edge_lstm.bundle import Bundle
from edge_lstm.changes import Changes
from edge_lstm.core.table import IN_ALERT, OUTCOMES, SCORED, START_END
from edge_lstm.errors import PayloadError
from edge_lstm.lane import Advanced, Lane, Settings
from edge_lstm.messages import Alert, Message, Score
from edge_lstm.report import Reporter
from edge_lstm.stages.decode import Decoder, Source
from edge_lstm.stages.encode import alert_topic, encode_alert, encode_score, score_topic
from edge_lstm.stages.topics import MAX_TOPIC_BYTES

Publish = Literal["every", "changes", "alerts"]


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how results are published.

    Attributes:
        prefix: first levels of every topic of ours.
        publish: ``every`` score, those that say something new (``changes``), or alerts only.
        score_qos: of scores, which are never retained.
        alert_qos: of alerts, which are retained, so that a late subscriber sees the last one.
    """

    prefix: str = "edge-lstm"
    publish: Publish = "every"
    score_qos: int = 0
    alert_qos: int = 1


class Route:
    """One source, the lane that its samples go to, and the words for what comes out.

    Attributes:
        silent: streams that were told to be silent, and since when, Unix seconds; no steady clock gives that back.
    """

    def __init__(self, source: Source, bundle: Bundle, settings: Settings, outputs: Outputs) -> None:
        self.decoder = Decoder(source)
        self.lane = Lane(bundle, settings, join=self.decoder.pattern.joins)
        self.reporter = Reporter(bundle)
        self.outputs = outputs
        self.changes = Changes()
        self.silent: dict[str, float] = {}

    def scores(self, advanced: Advanced) -> Iterable[Score | None]:
        """Return what is published of each sample, ``None`` where that is nothing."""
        publish, streams = self.outputs.publish, advanced.streams
        if publish == "alerts":
            return repeat(None, len(streams))
        scores = self.reporter.scores(streams, advanced.t, advanced.results)
        return scores if publish == "every" else map(self.changes.pick, scores)


class Pipeline:
    """Routes side by side; the first whose pattern matches a topic takes its messages.

    Attributes:
        received: messages handled.
        samples: rows that reached the engine.
        scored: those that stepped their row.
        alerts: alerts started.
        dropped: by reason, of messages that were not decoded and rows that were not scored.
        examples: by reason, the last message that was not decoded, in words for a log.
    """

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self.received = 0
        self.samples = 0
        self.scored = 0
        self.alerts = 0
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._own = tuple({f"{route.outputs.prefix}/" for route in routes})
        self._route = lru_cache(maxsize=16_384)(self._find_route)

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
                route = self._route(topic) if len(topic) <= MAX_TOPIC_BYTES else self._find_route(topic)
                for sample in route.decoder.decode(message):
                    route.lane.push(sample)
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
                yield _alert_out(reporter.silence(stream, wall, route.silent.pop(stream, wall), over=True), outputs)
            if score is not None:
                yield _score_out(score, outputs)
            if phases[k] and not (phases[k] == START_END and silences[k]):  # silence said it already
                for alert in reporter.alerts(stream, float(advanced.t[k]), results, k):
                    self.alerts += alert.phase == "start"
                    covered.discard(stream)
                    yield _alert_out(alert, outputs)
        for stream in covered:
            row = lane.rows[stream]
            if lane.row_number(row, IN_ALERT):  # a late subscriber shall see it, so it is told again
                yield _alert_out(reporter.unfinished("start", stream, lane.engine, row), outputs)

    def _count(self, advanced: Advanced) -> None:
        outcomes = advanced.results.outcome.tolist()
        scored = outcomes.count(SCORED)
        self.samples += len(outcomes)
        self.scored += scored
        if scored < len(outcomes):
            self.dropped.update(OUTCOMES[outcome] for outcome in outcomes if outcome != SCORED)

    def _count_refused(self, lane: Lane) -> None:
        """Count what did not get as far as the engine."""
        if lane.refused:
            self.dropped["stream_limit"] += lane.refused
            self.samples += lane.refused
            lane.refused = 0
        if lane.align.ignored:
            self.dropped["missing_field"] += lane.align.ignored
            self.examples["missing_field"] = lane.align.example
            lane.align.ignored = 0

    def watch(self, now: float, wall: float) -> list[Message]:
        """Return alerts for streams that stopped talking; call it about once a second.

        Args:
            now: the clock that ``handle`` is given.
            wall: the same moment in Unix seconds, for the alert's times.
        """
        out = []
        for route in self.routes:
            for stream, silent_s in route.lane.silent(now):
                start = route.silent[stream] = wall - silent_s
                self.alerts += 1
                out.append(_alert_out(route.reporter.silence(stream, wall, start, over=False), route.outputs))
        return out

    def close(self, wall: float) -> list[Message]:
        """Return an end for every alert in progress, so that none is kept for ever; nothing is handled afterwards.

        Args:
            wall: Unix seconds, for the end of silences; other alerts end with their stream's last sample.
        """
        out = []
        for route in self.routes:
            lane, reporter = route.lane, route.reporter
            rows = lane.engine.read("row", 0, len(lane.streams))[:, IN_ALERT].nonzero()[0].tolist()
            alerts = [reporter.silence(stream, wall, start, over=True) for stream, start in route.silent.items()]
            alerts += [reporter.unfinished("end", lane.streams[row], lane.engine, row) for row in rows]
            out += [_alert_out(alert, route.outputs) for alert in alerts]
        return out


def _score_out(score: Score, outputs: Outputs) -> Message:
    topic = score_topic(outputs.prefix, score.stream)
    return Message(topic, encode_score(score), qos=outputs.score_qos)


def _alert_out(alert: Alert, outputs: Outputs) -> Message:
    topic = alert_topic(outputs.prefix, alert.stream)
    return Message(topic, encode_alert(alert), retain=True, qos=outputs.alert_qos)
