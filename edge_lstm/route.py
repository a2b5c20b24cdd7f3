"""One source: how its messages are read, the lane that its samples go to, and the words for what comes out."""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Literal, NamedTuple

import msgspec

from edge_lstm.bundle import Bundle
from edge_lstm.changes import Changes
from edge_lstm.core.table import IN_ALERT
from edge_lstm.lane import Advanced, Lane, Saved, Settings
from edge_lstm.messages import Alert, Message, Phase, Score
from edge_lstm.report import Reporter
from edge_lstm.stages.decode import Decoder, Source
from edge_lstm.stages.encode import alert_topic, encode_alert, encode_score, score_topic

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
    score_qos: int = 1
    alert_qos: int = 1


class SavedRoute(NamedTuple):
    """What a source's streams have been through."""

    topic: str  # of the source
    bundle: str  # digest
    silent: dict[str, float]
    lane: Saved


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

    @property
    def identity(self) -> tuple[str, str]:
        """What must be the same for another route to go on with this one's streams."""
        return self.decoder.source.topic, self.lane.bundle.digest

    def snapshot(self) -> SavedRoute:
        """Return a copy of all that is remembered of the streams."""
        return SavedRoute(*self.identity, self.silent.copy(), self.lane.snapshot())

    def restore(self, saved: SavedRoute) -> None:
        """Go on from a snapshot.

        Raises:
            StateError: it does not fit.
        """
        self.lane.restore(saved.lane)
        self.silent = {stream: since for stream, since in saved.silent.items() if stream in self.lane.rows}

    def in_progress(self, phase: Phase, wall: float) -> Iterator[Message]:
        """Yield an alert for every one that is in progress: to be told again, or ended.

        Args:
            wall: Unix seconds, for the end of silences; other alerts end with their stream's last sample.
        """
        lane, reporter = self.lane, self.reporter
        for stream, start in self.silent.items():
            yield alert_out(reporter.silence(stream, wall, start, over=phase == "end"), self.outputs)
        for row in lane.engine.read("row", 0, len(lane.streams))[:, IN_ALERT].nonzero()[0].tolist():
            yield self.unfinished(phase, row)

    def unfinished(self, phase: Phase, row: int) -> Message:
        """Return the alert that a row is in, as it stands."""
        alert = self.reporter.unfinished(phase, self.lane.streams[row], self.lane.engine, row)
        return alert_out(alert, self.outputs)

    def give_way(self, row: int, wall: float) -> Iterator[Message]:
        """Yield the end of what a row's stream was in; it is forgotten then."""
        stream = self.lane.streams[row]
        if stream in self.silent:
            yield alert_out(self.reporter.silence(stream, wall, self.silent.pop(stream), over=True), self.outputs)
        elif self.lane.row_number(row, IN_ALERT):
            yield self.unfinished("end", row)
        self.changes.forget(stream)
        self.lane.evict(row)

    def scores(self, advanced: Advanced) -> Iterable[Score | None]:
        """Return what is published of each sample, ``None`` where that is nothing."""
        publish, streams = self.outputs.publish, advanced.streams
        if publish == "alerts":
            return repeat(None, len(streams))
        scores = self.reporter.scores(streams, advanced.t, advanced.results)
        return scores if publish == "every" else map(self.changes.pick, scores)


def score_out(score: Score, outputs: Outputs) -> Message:
    """Return a score as it is published."""
    topic = score_topic(outputs.prefix, score.stream)
    return Message(topic, encode_score(score), qos=outputs.score_qos)


def alert_out(alert: Alert, outputs: Outputs) -> Message:
    """Return an alert as it is published, retained."""
    topic = alert_topic(outputs.prefix, alert.stream)
    return Message(topic, encode_alert(alert), retain=True, qos=outputs.alert_qos)
