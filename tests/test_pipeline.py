"""Messages in, messages out: nothing lost, nothing raised, and the bits of the library face."""

import json
import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_lstm.bundle import Bundle
from edge_lstm.changes import Changes
from edge_lstm.core.table import OUTCOMES
from edge_lstm.detector import Detector
from edge_lstm.errors import PayloadError
from edge_lstm.lane import Settings
from edge_lstm.messages import Alert, Message, Score
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.stages.decode import Source
from tests.bundles import hostile_stream, random_bundle, random_stream
from tests.test_detector import deaf

JUDGES = ["fitted", "adaptive"]
BUDGET_S = 600.0
STREAMS = ("plant/a/data", "plant/b/data", "plant/c/data")


def bundle_of(judge: str) -> Bundle:
    return random_bundle(judge, channels=3, hidden=5, seed=31)


def pipeline_of(bundle: Bundle, topic: str = "plant/+/data", **settings: Any) -> Pipeline:
    outputs = {name: settings.pop(name) for name in ("prefix", "publish") if name in settings}
    source = Source(topic, format=settings.pop("format", "json"))
    options = {"budget_s": BUDGET_S, "silence_s": 0.0} | settings
    return Pipeline([Route(source, bundle, Settings(**options), Outputs(**outputs))])


def payload_of(t: float, values: list[float]) -> bytes:
    """Write a sample as devices do; a channel without a value is null."""
    names = [f"c{k}" for k in range(len(values))] if len(values) > 1 else ["value"]
    fields = {name: None if math.isnan(value) else value for name, value in zip(names, values, strict=True)}
    return json.dumps({"t": t, **fields}).encode()


def messages_of(topic: str, t: np.ndarray, x: np.ndarray) -> list[Message]:
    """Return what JSON can carry of a stream, a message a row."""
    return [
        Message(topic, payload_of(time, values))
        for time, values in zip(t.tolist(), x.tolist(), strict=True)
        if math.isfinite(time) and not any(map(math.isinf, values))
    ]


def scores_in(messages: list[Message], stream: str = "") -> list[Score]:
    found = [msgspec.json.decode(m.payload, type=Score) for m in messages if m.topic.endswith("/score")]
    return [score for score in found if not stream or score.stream == stream]


def alerts_in(messages: list[Message], stream: str = "") -> list[Alert]:
    found = [msgspec.json.decode(m.payload, type=Alert) for m in messages if m.topic.endswith("/alert")]
    return [alert for alert in found if not stream or alert.stream == stream]


def stream_of(bundle: Bundle, seed: int, rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Return a hostile stream that JSON can carry, with an excursion."""
    t, x = hostile_stream(rows, len(bundle.metadata.channels), seed)
    x[rows // 3 : rows // 3 + 20] += 70.0
    good = np.isfinite(t) & ~np.isinf(x).any(1) & (np.abs(t) < 1e11) & np.isfinite(x).any(1)
    good[:1] = False
    return t[good], np.where(np.abs(x[good]) > 1e300, 0.0, x[good])


# ---- The same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("batch", [1, 37, 5000])
def test_scores_equal_the_detector(judge: str, batch: int) -> None:
    """Three streams shuffled together under one wildcard, each as if it were alone."""
    bundle = bundle_of(judge)
    rng = np.random.default_rng(batch)
    waiting = {topic: messages_of(topic, *stream_of(bundle, k)) for k, topic in enumerate(STREAMS)}
    order = rng.permutation(np.repeat(STREAMS, [len(waiting[topic]) for topic in STREAMS])).tolist()
    queues = {topic: iter(found) for topic, found in waiting.items()}
    mixed = [next(queues[topic]) for topic in order]
    pipeline = pipeline_of(bundle)
    out = [m for k in range(0, len(mixed), batch) for m in pipeline.handle(mixed[k : k + batch])]
    for k, topic in enumerate(STREAMS):
        detector = Detector(bundle, BUDGET_S)
        scores, alerts = [], []
        for time, values in zip(*(a.tolist() for a in stream_of(bundle, k)), strict=True):
            try:
                scores.append(detector.score_one(values, time))
            except PayloadError:
                continue
            alerts += detector.alerts
        assert scores_in(out, topic) == [msgspec.structs.replace(score, stream=topic) for score in scores]
        assert alerts_in(out, topic) == [msgspec.structs.replace(alert, stream=topic) for alert in alerts]
        assert alerts
    assert pipeline.received == len(mixed) == pipeline.scored + pipeline.refused.total() + pipeline.dropped.total()


def test_how_results_are_published() -> None:
    bundle = bundle_of("fitted")
    t, x = stream_of(bundle, 0)
    out = pipeline_of(bundle, prefix="site/watch").handle(messages_of("plant/a/data", t, x))
    assert {m.topic for m in out} == {"site/watch/plant/a/data/score", "site/watch/plant/a/data/alert"}
    for message in out:
        assert message.retain == message.topic.endswith("/alert")
        assert message.qos == 1
    first, last = scores_in(out)[0], scores_in(out)[-1]
    assert (first.score, first.surprise, first.quality) == (None, None, "warming_up")
    assert last.score is not None
    assert last.surprise is not None
    assert last.score == pytest.approx(1.0 - 10.0**-last.surprise)


def test_alerts_alone() -> None:
    bundle = bundle_of("fitted")
    messages = messages_of("plant/a/data", *stream_of(bundle, 1))
    every = pipeline_of(bundle).handle(messages)
    quiet = pipeline_of(bundle, publish="alerts")
    assert quiet.handle(messages) == [m for m in every if m.topic.endswith("/alert")] != []
    assert quiet.scored == len(scores_in(every))
    assert quiet.alerts == len([alert for alert in alerts_in(every) if alert.phase == "start"])


@pytest.mark.parametrize("batch", [1, 100])
def test_changes_alone(batch: int) -> None:
    """What is published is some of what ``every`` publishes, the news among it, whatever the batches."""
    bundle = bundle_of("fitted")
    messages = messages_of("plant/a/data", *stream_of(bundle, 1))
    every = pipeline_of(bundle).handle(messages)
    some = pipeline_of(bundle, publish="changes")
    out = [m for k in range(0, len(messages), batch) for m in some.handle(messages[k : k + batch])]
    changes = Changes()
    expected = [m for m in every if m.topic.endswith("/alert") or changes.pick(scores_in([m])[0])]
    assert out == expected
    assert some.scored == len(scores_in(every)) > len(scores_in(out)) > 2
    flags = [score.alert for score in scores_in(every)]
    seen = [score.alert for score in scores_in(out)]
    assert np.count_nonzero(np.diff(seen)) == np.count_nonzero(np.diff(flags)) > 0


def test_an_alert_shows_in_the_scores_between() -> None:
    bundle = bundle_of("fitted")
    out = pipeline_of(bundle).handle(messages_of("plant/a/data", *stream_of(bundle, 2)))
    on = False
    changes = 0
    for message in out:
        if message.topic.endswith("/score"):
            said, score = on, msgspec.json.decode(message.payload, type=Score)
            after = score.alert
            changes += said != after
            on = after
        else:
            alert = msgspec.json.decode(message.payload, type=Alert)
            assert alert.t == score.t
            if alert.reason != "gap":
                assert on == (alert.phase == "start")
    assert changes >= 2


@pytest.mark.parametrize("judge", JUDGES)
def test_a_block_message_equals_single_ones(judge: str) -> None:
    bundle = bundle_of(judge)
    t, x = stream_of(bundle, 3)
    order = np.argsort(t, kind="stable")
    t, x = t[order], x[order]
    records = [json.loads(payload_of(time, values)) for time, values in zip(t.tolist(), x.tolist(), strict=True)]
    block = Message("plant/a/data", json.dumps(records).encode())
    one, many = pipeline_of(bundle), pipeline_of(bundle)
    assert one.handle([block]) == many.handle(messages_of("plant/a/data", t, x))
    assert (one.received, many.received) == (1, len(t))
    assert one.samples == many.samples == one.scored + one.refused.total()


# ---- Adaptive ------------------------------------------------------------------------------------


def test_channels_of_an_adaptive_bundle_are_streams() -> None:
    bundle = bundle_of("adaptive")
    t, x = random_stream(300, 2, 5)
    messages = [
        Message("plant/a/data", json.dumps({"t": time, "temperature": a, "humidity": b}).encode())
        for time, (a, b) in zip(t.tolist(), x.tolist(), strict=True)
    ]
    pipeline = pipeline_of(bundle)
    out = pipeline.handle(messages)
    for column, name in enumerate(("temperature", "humidity")):
        detector = Detector(bundle, BUDGET_S)
        expected = [detector.score_one(value, time) for value, time in zip(x[:, column].tolist(), t, strict=True)]
        found = scores_in(out, f"plant/a/data/{name}")
        assert [score.surprise for score in found] == [score.surprise for score in expected]
    assert pipeline.received == 300
    assert pipeline.samples == pipeline.scored == 600
    assert len(pipeline.routes[0].lane.streams) == 2


def test_a_bare_number_is_a_stream_by_its_topic() -> None:
    bundle = bundle_of("adaptive")
    pipeline = pipeline_of(bundle, "plant/#", format="number")
    out = pipeline.handle([Message("plant/x/y", b"21.5", arrived=1e9), Message("plant/z", b"3", arrived=1e9)])
    assert [(score.stream, score.t) for score in scores_in(out)] == [("plant/x/y", 1e9), ("plant/z", 1e9)]


# ---- What does not get through -------------------------------------------------------------------

GOOD = payload_of(1e9, [1.0, 2.0, 3.0])
BAD = [
    (Message("plant/a/data", b""), "empty"),
    (Message("plant/a/data", b" " * 70_000), "too_large"),
    (Message("plant/a/data", b'{"c0": "\xff"}'), "bad_utf8"),
    (Message("plant/a/data", b"{"), "bad_json"),
    (Message("plant/a/data", b"[" * 3000), "too_deep"),
    (Message("plant/a/data", b'"hello"'), "bad_type"),
    (Message("plant/a/data", b'{"c0": 1e999, "t": 5}'), "not_finite"),
    (Message("plant/a/data", b'{"t": 5}'), "missing_field"),
    (Message("plant/a/data", b'{"t": 1700000000000, "c0": 1, "c1": 2, "c2": 3}'), "bad_time"),
    (Message("plant/a/data", b"[" + b",".join([b'{"c0":1}'] * 4097) + b"]"), "too_many"),
    (Message("plant/a/data", GOOD, retain=True), "retained_ignored"),
    (Message("plant/a\x07/data", GOOD), "bad_topic"),
    (Message("other/a/data", GOOD), "no_route"),
    (Message("edge-lstm/plant/a/data/score", GOOD), "own_topic"),
    (Message("edge-lstm/status", b"online"), "own_topic"),
]


def test_bad_messages_are_counted_and_leave_nothing() -> None:
    bundle = bundle_of("fitted")
    pipeline = pipeline_of(bundle)
    for message, reason in BAD:
        before = pipeline.dropped[reason]
        assert pipeline.handle([message]) == [], reason
        assert pipeline.dropped[reason] == before + 1, (reason, pipeline.dropped)
    assert pipeline.received == len(BAD) == pipeline.dropped.total()
    assert pipeline.samples == pipeline.scored == 0
    assert not any(array.any() for array in pipeline.routes[0].lane.engine.state)
    assert len(pipeline.handle([Message("plant/a/data", GOOD)])) == 1


@pytest.mark.parametrize("judge", JUDGES)
def test_bad_messages_among_good_ones_change_nothing(judge: str) -> None:
    bundle = bundle_of(judge)
    good = messages_of("plant/a/data", *stream_of(bundle, 4))
    rng = np.random.default_rng(0)
    mixed = list(good)
    for k in rng.integers(0, len(mixed), 200).tolist():
        mixed.insert(k, BAD[int(rng.integers(len(BAD)))][0])
    if judge == "adaptive":  # which takes any number as a channel of its own
        mixed = [message for message in mixed if b"1e999" not in message.payload]
    clean, dirty = pipeline_of(bundle), pipeline_of(bundle)
    assert clean.handle(good) == dirty.handle(mixed)
    assert dirty.received == len(mixed) == dirty.decoded + dirty.dropped.total()
    assert dirty.samples == dirty.scored + dirty.refused.total()
    lost = [pipeline.dropped.total() + pipeline.refused.total() for pipeline in (dirty, clean)]
    assert dirty.received - clean.received == lost[0] - lost[1] > 150


def test_rows_that_are_not_taken_are_counted_by_reason() -> None:
    bundle = bundle_of("fitted")
    values = [1.0, 2.0, 3.0]
    times = [1e9, 1e9, 1e9 + 1, 1e9 - 5, 1e9 + 1, 1e9 + 2]
    pipeline = pipeline_of(bundle)
    out = pipeline.handle([Message("plant/a/data", payload_of(t, values)) for t in times])
    assert [score.t for score in scores_in(out)] == [1e9, 1e9 + 1, 1e9 + 2]
    assert pipeline.refused == Counter(duplicate=2, out_of_order=1)
    assert set(pipeline.refused) < set(OUTCOMES)
    assert (pipeline.received, pipeline.samples, pipeline.scored) == (6, 6, 3)


def test_samples_of_no_channel_of_ours_are_counted() -> None:
    pipeline = pipeline_of(bundle_of("fitted"))
    assert pipeline.handle([Message("plant/a/data", b'{"t": 5, "pressure": 3}')] * 3) == []
    assert pipeline.refused == Counter(missing_field=3)
    assert (pipeline.decoded, pipeline.samples) == (3, 3)


def test_channels_in_separate_messages_meet() -> None:
    pipeline = pipeline_of(bundle_of("fitted"), window_s=1.0)
    parts = [b'{"t": 5, "c0": 1}', b'{"t": 5.2, "c1": 2}']
    assert pipeline.handle([Message("plant/a/data", part) for part in parts]) == []
    assert pipeline.samples == 0
    out = pipeline.handle([Message("plant/a/data", b'{"t": 5.4, "c2": 3}')])
    assert [score.t for score in scores_in(out)] == [5.4]


def test_too_many_streams() -> None:
    bundle = bundle_of("fitted")
    pipeline = pipeline_of(bundle, max_streams=2)
    payloads = [payload_of(1e9 + k, [1.0, 2.0, 3.0]) for k in range(4)]
    messages = [Message(f"plant/{name}/data", payload) for payload in payloads for name in "abcd"]
    out = pipeline.handle(messages)
    assert {score.stream for score in scores_in(out)} == {"plant/a/data", "plant/b/data"}
    assert pipeline.refused == Counter(stream_limit=8)
    assert pipeline.received == pipeline.samples == 16 == pipeline.scored + 8
    assert pipeline.handle(messages[:4]) == []
    assert pipeline.refused == Counter(stream_limit=10, out_of_order=2)


def test_many_streams_grow_the_table() -> None:
    bundle = bundle_of("fitted")
    pipeline = pipeline_of(bundle)
    t, x = random_stream(3, 3)
    topics = [f"plant/{k}/data" for k in range(300)]
    messages = [Message(topic, payload_of(t[k], x[k].tolist())) for k in range(3) for topic in topics]
    out = pipeline.handle(messages)
    assert pipeline.scored == 900
    assert pipeline.routes[0].lane.engine.capacity >= 300
    detector = Detector(bundle, BUDGET_S)
    expected = [detector.score_one(x[k].tolist(), t[k]) for k in range(3)]
    for topic in topics:
        assert scores_in(out, topic) == [msgspec.structs.replace(score, stream=topic) for score in expected]
    rows = pipeline.routes[0].lane.engine.state.h[:300]
    assert (rows == rows[0]).all()


def test_the_first_route_that_matches_takes_a_message() -> None:
    fitted, adaptive = bundle_of("fitted"), bundle_of("adaptive")
    outputs, settings = Outputs(), Settings()
    pipeline = Pipeline([
        Route(Source("plant/a/data"), fitted, settings, outputs),
        Route(Source("plant/#"), adaptive, settings, outputs),
    ])  # fmt: skip
    out = pipeline.handle([
        Message("plant/b/data", b'{"t": 5, "value": 3}'), Message("plant/a/data", payload_of(5.0, [1.0, 2.0, 3.0])),
    ])  # fmt: skip
    assert [(score.stream, score.model) for score in scores_in(out)] == [
        ("plant/a/data", f"random-31-{fitted.digest}"), ("plant/b/data", f"random-31-{adaptive.digest}"),
    ]  # fmt: skip


# ---- Silence and gaps ----------------------------------------------------------------------------


def calm(pipeline: Pipeline, count: int, topic: str = "plant/a/data") -> float:
    """Send a sample a second; return the last one's time, which is also when it came, less 1e9."""
    rng = np.random.default_rng(1)
    for k in range(count):
        pipeline.handle([Message(topic, payload_of(1e9 + k, rng.normal(0, 1, 3).tolist()))], now=1000.0 + k)
    return float(count - 1)


def test_silence_starts_and_ends() -> None:
    bundle = random_bundle("fitted", channels=3, hidden=5, seed=31, warm_up=1000)  # no other alert
    pipeline = pipeline_of(bundle, silence_s=5.0)
    last = calm(pipeline, 40)
    assert pipeline.watch(1000 + last + 4, 1e9 + last + 4) == []
    started = pipeline.watch(1000 + last + 6, 1e9 + last + 6.5)
    assert [m.topic for m in started] == ["edge-lstm/plant/a/data/alert"]
    assert started[0].retain
    assert started[0].qos == 1
    [start] = alerts_in(started)
    assert (start.reason, start.phase, start.end, start.duration_s) == ("silence", "start", None, 6.0)
    assert start.t == 1e9 + last + 6.5
    assert start.start == start.peak == 1e9 + last + 0.5
    assert pipeline.watch(1000 + last + 7, 1e9 + last + 7) == []
    assert pipeline.alerts == 1
    old = Message("plant/a/data", payload_of(1e9 + last + 1, [0.0, 0.1, 0.2]))  # kept back on its way
    out = pipeline.handle([old], now=1000 + last + 15, wall=1e9 + last + 20.5)  # the steady clock stood still meanwhile
    [end] = alerts_in(out)
    assert (end.reason, end.phase, end.duration_s) == ("silence", "end", 20.0)
    assert end.end == end.t == 1e9 + last + 20.5
    assert end.start == start.start
    assert len(scores_in(out)) == 1
    assert pipeline.alerts == 1
    assert pipeline.watch(1000 + last + 21, 0.0) == []


def test_silence_ends_with_a_sample_that_is_not_taken() -> None:
    bundle = random_bundle("fitted", channels=3, hidden=5, seed=31, warm_up=1000)
    pipeline = pipeline_of(bundle, silence_s=5.0)
    last = calm(pipeline, 40)
    assert len(pipeline.watch(1000 + last + 6, 1e9)) == 1
    out = pipeline.handle([Message("plant/a/data", payload_of(1e9 + last, [0.0, 0.1, 0.2]))], now=1000 + last + 9)
    assert [alert.phase for alert in alerts_in(out)] == ["end"]
    assert scores_in(out) == []


def test_no_watch_without_a_wish_for_it() -> None:
    pipeline = pipeline_of(bundle_of("fitted"), silence_s=0.0)
    calm(pipeline, 40)
    assert pipeline.watch(1e6, 1e9) == []


def quiet_pipeline(silence_s: float) -> Pipeline:
    """Return one whose judge nothing surprises, so that only rules and silence speak."""
    return pipeline_of(deaf(bundle_of("fitted")), silence_s=silence_s)


def test_a_gap_starts_and_ends_at_once() -> None:
    pipeline = quiet_pipeline(0.0)
    last = calm(pipeline, 60)
    out = pipeline.handle([Message("plant/a/data", payload_of(1e9 + last + 100, [0.0, 0.1, 0.2]))], now=2000.0)
    assert [m.topic.rsplit("/", 1)[1] for m in out] == ["score", "alert", "alert"]
    start, end = alerts_in(out)
    assert (start.phase, end.phase) == ("start", "end")
    assert start.reason == end.reason == "gap"
    assert start.start == end.start == 1e9 + last
    assert start.t == end.t == end.end == 1e9 + last + 100
    assert end.duration_s == 100.0
    [score] = scores_in(out)
    assert score.quality == "recovering"
    assert score.reason == "gap"
    assert not score.alert
    assert pipeline.alerts == 1


def test_a_gap_that_silence_told_is_not_told_again() -> None:
    pipeline = quiet_pipeline(5.0)
    last = calm(pipeline, 60)
    assert len(pipeline.watch(1000 + last + 50, 1e9 + last + 50)) == 1
    late = Message("plant/a/data", payload_of(1e9 + last + 100, [0.0, 0.1, 0.2]))
    out = pipeline.handle([late], now=1000 + last + 100)
    assert [(alert.reason, alert.phase) for alert in alerts_in(out)] == [("silence", "end")]
    assert scores_in(out)[0].reason == "gap"


def alarmed(pipeline: Pipeline) -> tuple[float, Alert]:
    """Send a stream into an alert that goes on; return its last time, as ``calm`` does, and the alert."""
    last = calm(pipeline, 60) + 5
    times = np.arange(last - 4, last + 1).tolist()
    rows = [Message("plant/a/data", payload_of(1e9 + t, [700.0, -700.0, 700.0 + t])) for t in times]
    [start] = alerts_in([m for row, t in zip(rows, times, strict=True) for m in pipeline.handle([row], now=1000 + t)])
    assert start.phase == "start"
    assert start.reason != "gap"
    return last, start


@pytest.mark.parametrize("taken", [True, False])
def test_what_is_kept_after_a_silence_is_the_alert_that_goes_on(taken: bool) -> None:
    pipeline = quiet_pipeline(5.0)
    last, start = alarmed(pipeline)
    [silence] = alerts_in(pipeline.watch(1000 + last + 50, 1e9 + last + 50))
    t = 1e9 + last + taken  # or one that is there already
    late = Message("plant/a/data", payload_of(t, [700.0, -700.0, 700.0]))
    out = pipeline.handle([late], now=1000 + last + 60, wall=1e9 + last + 60)
    over, again = alerts_in(out)
    assert (over.reason, over.phase, over.start) == ("silence", "end", silence.start)
    assert (again.phase, again.t, again.start, again.end) == ("start", t, start.start, None)
    assert again.level == pytest.approx(start.level)
    assert again.strength >= start.strength
    assert again.reason
    assert {cause.channel for cause in again.causes} == {"c0", "c1", "c2"}
    assert [score.alert for score in scores_in(out)] == [True] * taken
    assert pipeline.alerts == 2
    assert alerts_in(pipeline.handle([late], now=1000 + last + 61, wall=1e9 + last + 61)) == []


def test_closing_ends_what_goes_on() -> None:
    pipeline = quiet_pipeline(5.0)
    assert pipeline.close(1e9) == []
    last, start = alarmed(pipeline)
    calm(pipeline, 60, "plant/b/data")
    [end] = alerts_in(pipeline.close(1e9 + last + 1))
    assert (end.stream, end.phase, end.start, end.reason) == ("plant/a/data", "end", start.start, start.reason)
    assert end.t == end.end == 1e9 + last
    silences = alerts_in(pipeline.watch(1000 + last + 50, 1e9 + last + 50))
    assert len(silences) == 2
    out = pipeline.close(1e9 + last + 51)
    assert all(message.retain for message in out)
    ends = alerts_in(out)
    assert sorted((end.stream, end.reason == "silence", end.phase) for end in ends) == [
        ("plant/a/data", False, "end"), ("plant/a/data", True, "end"), ("plant/b/data", True, "end"),
    ]  # fmt: skip
    assert {end.start for end in ends if end.reason == "silence"} == {silence.start for silence in silences}
