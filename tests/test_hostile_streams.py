"""Streams that misbehave, from message to message: absurd values, stuck sensors, clocks that jump, odd names."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_lstm.bundle import Bundle
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline
from edge_lstm.stages.encode import alert_topic, score_topic
from tests.bundles import random_bundle, random_stream
from tests.test_pipeline import messages_of, payload_of, pipeline_of, scores_in

JUDGES = ["fitted", "adaptive"]
TOPIC = "plant/a/data"
START = 1.7e9
NEXT = START + 300  # after what ``used`` has seen


def bundle_of(judge: str = "fitted") -> Bundle:
    return random_bundle(judge, channels=2, hidden=5, seed=11, warm_up=5)


def used(bundle: Bundle, rows: int = 300) -> Pipeline:
    """Return a pipeline that has seen some normal samples of ``TOPIC``, one a second."""
    pipeline = pipeline_of(bundle)
    pipeline.handle(messages_of(TOPIC, *random_stream(rows, len(bundle.metadata.channels), 3)))
    assert pipeline.scored == rows
    return pipeline


def state_of(pipeline: Pipeline, topic: str = TOPIC) -> list[bytes]:
    lane = pipeline.routes[0].lane
    row = lane.rows[topic]
    return [array[row].tobytes() for array in lane.engine.state]


def sample(t: float, *values: float | None) -> Message:
    names = [f"c{k}" for k in range(len(values))] if len(values) > 1 else ["value"]
    return Message(TOPIC, json.dumps({"t": t, **dict(zip(names, values, strict=True))}).encode())


# ---- Values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("blocks", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_the_largest_numbers_are_clamped_and_marked_for_any_length_of_time(judge: str, blocks: int) -> None:
    """1e308 up and down, up to 10^5 samples of it: judged, marked, finite; and forgotten afterwards."""
    bundle = bundle_of(judge)
    pipeline, channels = used(bundle), len(bundle.metadata.channels)
    for block in range(blocks):
        times = [NEXT + 5000 * block + k for k in range(5000)]
        out = pipeline.handle([sample(t, *[1e308 if t % 2 else -1e308] * channels) for t in times])
        scores = scores_in(out)
        assert len(scores) == 5000
        assert {score.quality for score in scores} == {"suspect"}
        assert all(score.score is not None and 0.0 <= score.score <= 1.0 for score in scores)
        for array in pipeline.routes[0].lane.engine.state:
            assert np.isfinite(array).all()
    t, x = random_stream(300, channels, 3)
    later = scores_in(pipeline.handle(messages_of(TOPIC, t + 200_000, x)))
    assert later[-1].quality == "ok"


def test_a_stuck_sensor_is_an_alert_and_its_scores_go_on() -> None:
    pipeline = used(bundle_of())
    out = pipeline.handle([sample(NEXT + k, 1.25, 1.25) for k in range(600)])
    scores = scores_in(out)
    assert len(scores) == 600
    assert (scores[-1].reason, scores[-1].alert) == ("flat_line", True)


def test_another_unit_is_out_of_range() -> None:
    """Fahrenheit from one sample on: no value of the stream was ever there."""
    pipeline = used(bundle_of())
    out = pipeline.handle([sample(NEXT + k, 95.0 + k % 3, 97.0 + k % 2) for k in range(100)])
    assert pipeline.alerts > 0
    assert all(score.score is not None and score.score > 0.9 for score in scores_in(out)[5:])


@pytest.mark.parametrize("payload", [b'{"t": 1700001000, "c0": null, "c1": null}', b'{"t": 1700001000, "c0": NaN}'])
def test_a_sample_without_a_value_changes_nothing(payload: bytes) -> None:
    pipeline = used(bundle_of())
    before = state_of(pipeline)
    assert pipeline.handle([Message(TOPIC, payload)]) == []
    assert state_of(pipeline) == before


def test_one_missing_value_is_bridged_and_marked() -> None:
    pipeline = used(bundle_of())
    [score] = scores_in(pipeline.handle([sample(NEXT, 1.0, None)]))
    assert score.quality == "suspect"


def test_a_firmware_update_that_moves_a_field_leaves_others_alone() -> None:
    bundle = bundle_of()
    one, both = pipeline_of(bundle), pipeline_of(bundle)
    good = messages_of("plant/b/data", *random_stream(100, 2, 4))
    moved = [Message(TOPIC, b'{"t": %d, "sensors": {"c0": 1, "c1": 2}}' % k) for k in range(100)]
    mixed = [message for pair in zip(good, moved, strict=True) for message in pair]
    assert both.handle(mixed) == one.handle(good)
    assert both.refused == Counter(missing_field=100)


# ---- Time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [7.5, -3.0])
def test_the_first_sample_of_a_moment_wins(value: float) -> None:
    """The same value again, or another one for the same time: both are duplicates, and nothing steps."""
    bundle = bundle_of()
    pipeline, other = used(bundle), used(bundle)
    first = sample(NEXT, 7.5, 7.5)
    assert scores_in(pipeline.handle([first, sample(NEXT, value, value)])) == scores_in(other.handle([first]))
    assert pipeline.refused == Counter(duplicate=1)
    following = sample(NEXT + 1, 7.0, 7.0)
    assert pipeline.handle([following]) == other.handle([following])


@pytest.mark.parametrize("t", [0.0, -1e9, 4.3e9, 99_999_999_999.0])
def test_any_date_is_a_date(t: float) -> None:
    """1970, before, 2106, far away: a device without a clock still has an order in time."""
    pipeline = pipeline_of(bundle_of())
    out = pipeline.handle([sample(t - 2 + k, 1.0, 2.0) for k in range(2)])
    assert [score.t for score in scores_in(out)] == [t - 2, t - 1]


@pytest.mark.parametrize("t", [1.7e12, -1.7e12, 1.7e15, 1.7e18, 1e300])
def test_other_units_of_time_are_refused(t: float) -> None:
    pipeline = pipeline_of(bundle_of())
    assert pipeline.handle([sample(t, 1.0, 2.0)]) == []
    assert pipeline.dropped == Counter(bad_time=1)


def test_a_clock_that_is_set_back_is_believed_after_ten_samples() -> None:
    pipeline = used(bundle_of())
    back = START - 86_400
    out = pipeline.handle([sample(back + k, 1.0, 2.0) for k in range(40)])
    scores = scores_in(out)
    assert pipeline.refused == Counter(out_of_order=9)
    assert [score.t for score in scores] == [back + k for k in range(9, 40)]
    assert {score.quality for score in scores[:10]} == {"recovering"}


def test_a_block_out_of_order_is_put_in_order() -> None:
    bundle = bundle_of()
    t, x = random_stream(60, 2, 6)
    records = [json.loads(payload_of(time, values)) for time, values in zip(t.tolist(), x.tolist(), strict=True)]
    order = np.random.default_rng(1).permutation(60).tolist()
    block = Message(TOPIC, json.dumps([records[k] for k in order]).encode())
    assert pipeline_of(bundle).handle([block]) == pipeline_of(bundle).handle(messages_of(TOPIC, t, x))


def test_a_backlog_scores_as_if_it_had_come_in_time() -> None:
    """Ten hours of a message every five seconds at once, in batches as the daemon takes them."""
    bundle = bundle_of()
    t, x = random_stream(7_200, 2, 7)
    backlog = messages_of(TOPIC, START + 5 * (t - START), x)
    late, live = pipeline_of(bundle, publish="alerts"), pipeline_of(bundle, publish="alerts")
    out = [m for k in range(0, len(backlog), 1024) for m in late.handle(backlog[k : k + 1024])]
    assert out == live.handle(backlog)
    assert late.scored == 7_200
    assert state_of(late) == state_of(live)


def test_a_sequence_number_that_starts_again_means_nothing() -> None:
    pipeline = pipeline_of(bundle_of())
    numbers = [65_534, 65_535, 0, 1, 0, 0]
    for k, seq in enumerate(numbers):
        pipeline.handle([Message(TOPIC, json.dumps({"t": START + k, "seq": seq, "c0": 1.0, "c1": 2.0}).encode())])
    assert pipeline.scored == len(numbers)


# ---- Names ---------------------------------------------------------------------------------------

NAMES = st.text(
    st.one_of(st.sampled_from("ab/%+#2BFE\x00\x1f\x80\x9f\ufdd0\ufffe\U0001fffe\udc80"), st.characters()), max_size=8
)


@given(NAMES, NAMES)
def test_streams_of_other_names_have_other_topics(a: str, b: str) -> None:
    for topic_of in (score_topic, alert_topic):
        assert (topic_of("edge-lstm", a) == topic_of("edge-lstm", b)) is (a == b)


@pytest.mark.parametrize("name", ["..", "%2e%2e", "CON", "{{ 7*7 }}", "$(reboot)", "<b>", 'a"b\\c', "\N{THERMOMETER}"])
def test_names_are_only_ever_names(name: str) -> None:
    """No path, no template, no query comes of them."""
    pipeline = pipeline_of(bundle_of())
    topic = f"plant/{name}/data"
    [out] = pipeline.handle([Message(topic, payload_of(START, [1.0, 2.0]))])
    assert out.topic == f"edge-lstm/{topic.replace('%', '%25')}/score"
    assert json.loads(out.payload)["stream"] == topic


def test_ten_thousand_topics_cost_no_more_than_the_streams_that_are_let_in() -> None:
    pipeline = pipeline_of(bundle_of(), max_streams=10)
    topics = [f"plant/{k}/data" for k in range(10_000)]
    out = pipeline.handle([Message(topic, payload_of(START, [1.0, 2.0])) for topic in topics])
    assert {score.stream for score in scores_in(out)} == set(topics[:10])
    assert pipeline.refused == Counter(stream_limit=9_990)
    lane = pipeline.routes[0].lane
    assert len(lane.rows) == len(lane.streams) == 10
    assert lane.engine.capacity <= 20


# ---- The law of conservation ---------------------------------------------------------------------

PAYLOADS: list[Any] = [
    b"", b"{", b"21.5", b"[" * 2000, b'{"t":5}', b'{"t":5,"c0":1}', b'{"t":5,"c0":1e999}', b'{"c0":1,"c1":2}',
    b'[{"t":1,"c0":1,"c1":2},{"t":1,"c0":1,"c1":2},{"t":0,"c0":1,"c1":2},{"t":2,"x":1}]', b" " * 70_000,
]  # fmt: skip


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef\x07"), st.integers(0, len(PAYLOADS) - 1), st.booleans()), max_size=30)
)
def test_every_message_and_every_sample_is_counted_once(sent: list[tuple[str, int, bool]]) -> None:
    pipeline = pipeline_of(bundle_of(), max_streams=3)
    messages = [Message(f"plant/{name}/data", PAYLOADS[k], arrived=9.0, retain=kept) for name, k, kept in sent]
    out = pipeline.handle(messages)
    assert pipeline.received == len(sent) == pipeline.decoded + pipeline.dropped.total()
    assert pipeline.samples == pipeline.scored + pipeline.refused.total()
    assert len(scores_in(out)) == pipeline.scored
    assert not any(map(math.isnan, (score.t for score in scores_in(out))))
