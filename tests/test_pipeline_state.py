"""Streams that come and go: room for new ones, and a pipeline that goes on where another one was."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from edge_lstm.bundle import Bundle
from edge_lstm.core.table import ARRIVED, DOUBT
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline
from edge_lstm.saved import pack
from edge_lstm.stages.decode import Source
from tests.states import START, bundle_of, feed, plain, restored, route_of, sample_of, state_of
from tests.test_detector import deaf

IDLE_S = 100.0
WALL = 1.7e9


def crowded(max_streams: int = 2, **options: Any) -> Pipeline:
    """Return a pipeline with room for few, whose judge nothing surprises."""
    bundle = deaf(bundle_of("fitted", warm_up=20))
    return Pipeline([route_of(bundle, max_streams=max_streams, **{"idle_s": IDLE_S, "silence_s": 0.0} | options)])


def talk(pipeline: Pipeline, stream: str, at: int, values: tuple[float, ...] = (0.0, 0.1, 0.2)) -> list[Message]:
    """Send a sample that comes the second it was taken."""
    return pipeline.handle([sample_of(stream, at, list(values))], now=START + at, wall=WALL + at)


def watch(pipeline: Pipeline, at: float) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in pipeline.watch(START + at, WALL + at)]


def streams(pipeline: Pipeline) -> set[str]:
    return {name.split("/")[1] for name in pipeline.routes[0].lane.rows}


def excited(pipeline: Pipeline, stream: str, until: int = 60) -> None:
    """Send a stream into an alert that goes on."""
    rng = np.random.default_rng(1)
    for at in range(until):
        wild = at >= until - 5
        talk(pipeline, stream, at, (700.0, -700.0, 700.0 + at) if wild else tuple(rng.normal(0, 1, 3).tolist()))
    assert pipeline.alerts == 1


# ---- Giving way ----------------------------------------------------------------------------------


def test_an_idle_stream_gives_way_when_there_is_no_room() -> None:
    pipeline = crowded()
    talk(pipeline, "a", 0)
    talk(pipeline, "b", 90)
    assert talk(pipeline, "c", 100) == []
    assert (pipeline.refused, pipeline.evicted) == (Counter(stream_limit=1), 0)
    assert watch(pipeline, 101) == []
    assert (pipeline.evicted, streams(pipeline)) == (1, {"b"})
    assert len(talk(pipeline, "c", 102)) == 1
    assert streams(pipeline) == {"b", "c"}
    assert talk(pipeline, "a", 103) == []
    assert pipeline.samples == pipeline.scored + pipeline.refused.total()


def test_no_stream_gives_way_while_there_is_room() -> None:
    pipeline = crowded(max_streams=3)
    talk(pipeline, "a", 0)
    talk(pipeline, "b", 90)
    watch(pipeline, 1e6)
    assert (pipeline.evicted, streams(pipeline)) == (0, {"a", "b"})


def test_no_stream_gives_way_before_its_time() -> None:
    pipeline = crowded(max_streams=1)
    talk(pipeline, "a", 0)
    watch(pipeline, IDLE_S)
    assert streams(pipeline) == {"a"}
    watch(pipeline, IDLE_S + 0.1)
    assert streams(pipeline) == set()


def test_no_stream_gives_way_where_that_is_not_wanted() -> None:
    pipeline = crowded(max_streams=1, idle_s=0.0)
    talk(pipeline, "a", 0)
    watch(pipeline, 1e9)
    assert streams(pipeline) == {"a"}


def test_a_row_that_changes_hands_is_as_new() -> None:
    pipeline = crowded(max_streams=1)
    excited(pipeline, "a")
    watch(pipeline, 200)
    new = crowded(max_streams=1)
    assert [talk(pipeline, "b", 200 + k) for k in range(40)] == [talk(new, "b", 200 + k) for k in range(40)]


def test_a_stream_that_comes_back_is_new() -> None:
    pipeline = crowded(max_streams=1)
    for at in range(30):
        talk(pipeline, "a", at)
    watch(pipeline, 200)
    [score] = talk(pipeline, "a", 201)
    assert json.loads(score.payload)["quality"] == "warming_up"


def test_many_take_turns_in_few_rows() -> None:
    pipeline = crowded(max_streams=3)
    for turn in range(20):
        for name in "abc":
            talk(pipeline, f"{name}{turn}", turn * 200)
        watch(pipeline, turn * 200 + 150)
    assert (pipeline.evicted, pipeline.scored, pipeline.refused) == (60, 60, Counter())
    lane = pipeline.routes[0].lane
    assert (len(lane.streams), lane.engine.capacity, lane.rows) == (3, 3, {})


def test_an_alert_ends_when_its_stream_gives_way() -> None:
    pipeline = crowded(max_streams=1)
    excited(pipeline, "a")
    [end] = watch(pipeline, 200)
    assert (end["stream"], end["phase"]) == ("plant/a/data", "end")
    assert pipeline.close(WALL) == []


def test_a_silence_ends_when_its_stream_gives_way() -> None:
    pipeline = crowded(max_streams=1, silence_s=5.0)
    for at in range(30):
        talk(pipeline, "a", at)
    [start] = watch(pipeline, 60)
    assert (start["reason"], start["phase"]) == ("silence", "start")
    [end] = watch(pipeline, 200)
    assert (end["reason"], end["phase"], end["start"]) == ("silence", "end", start["start"])
    assert pipeline.close(WALL) == []
    assert talk(pipeline, "b", 201)


@pytest.mark.parametrize("silence_s", [0.0, 5.0])
def test_streams_that_say_nothing_after_a_restart_give_way_in_time(silence_s: float) -> None:
    pipeline = crowded(silence_s=silence_s)
    talk(pipeline, "a", 0)
    talk(pipeline, "b", 0)
    other = crowded(silence_s=silence_s)
    assert other.restore(pipeline.snapshot()) == []
    other.watch(1.0, WALL)  # a new process has a new clock
    other.handle([sample_of("b", 50, [0.0, 0.1, 0.2])], now=50.0, wall=WALL)
    other.watch(100.0, WALL)
    assert streams(other) == {"a", "b"}
    other.watch(102.0, WALL)
    assert (streams(other), other.evicted) == ({"b"}, 1)


# ---- Going on ------------------------------------------------------------------------------------


def pair(bundle: Bundle) -> list[Any]:
    return [route_of(bundle, "plant/+/data"), route_of(bundle, "other/+/data")]


def test_restoring_goes_by_source_and_bundle() -> None:
    one, two = bundle_of("fitted", warm_up=20), bundle_of("fitted", warm_up=21)
    pipeline = Pipeline(pair(one))
    feed(pipeline, "ab", 0, 10)
    other = Pipeline([route_of(two, "other/+/data"), route_of(one, "plant/+/data"), route_of(one, "new/#")])
    assert other.restore(pipeline.snapshot()) == []
    assert [route.lane.streams for route in other.routes] == [[], ["plant/a/data", "plant/b/data"], []]
    assert feed(other, "ab", 10, 10) == feed(pipeline, "ab", 10, 10)


def test_a_snapshot_is_a_copy() -> None:
    pipeline = Pipeline([route_of(bundle_of("fitted", warm_up=20))])
    feed(pipeline, "ab", 0, 30)
    state = state_of(pipeline)
    before = plain(state)
    feed(pipeline, "abc", 30, 30)
    assert plain(state) == before


def test_restoring_does_not_tie_two_pipelines_together() -> None:
    bundle = bundle_of("fitted", warm_up=20)
    pipeline = Pipeline([route_of(bundle)])
    feed(pipeline, "ab", 0, 30)
    other = Pipeline([route_of(bundle)])
    other.restore(pipeline.snapshot())
    before = plain(state_of(pipeline))
    feed(other, "abc", 30, 30)
    other.doubt()
    assert plain(state_of(pipeline)) == before


def test_arrivals_start_anew() -> None:
    """They are of a clock that another process had."""
    pipeline = Pipeline([route_of(bundle_of("fitted"))])
    feed(pipeline, "ab", 0, 30)
    other = Pipeline([route_of(bundle_of("fitted"))])
    other.restore(pipeline.snapshot())
    rows = [p.routes[0].lane.engine.read("row", 0, 2) for p in (pipeline, other)]
    assert (rows[0][:, ARRIVED] > 0.0).all()
    assert (rows[1][:, ARRIVED] == 0.0).all()


def qualities(messages: list[Message], stream: str) -> list[str]:
    topic = f"edge-lstm/plant/{stream}/data/score"
    return [json.loads(message.payload)["quality"] for message in messages if message.topic == topic]


def test_doubt_lasts_until_each_row_has_settled_and_changes_no_score() -> None:
    bundle = bundle_of("fitted", warm_up=20, settle=7)
    sure, unsure = Pipeline([route_of(bundle)]), Pipeline([route_of(bundle)])
    for pipeline in (sure, unsure):
        feed(pipeline, "ab", 0, 40)
    unsure.doubt()
    first, second = feed(unsure, "ab", 40, 5), feed(unsure, "a", 45, 15)
    assert qualities(first, "a") == qualities(first, "b") == ["recovering"] * 5
    assert qualities(second, "a") == ["recovering"] * 2 + ["ok"] * 13
    expected = feed(sure, "ab", 40, 5) + feed(sure, "a", 45, 15)
    blind = [message.payload.replace(b'"recovering"', b'"ok"') for message in first + second]
    assert blind == [message.payload for message in expected]
    assert qualities(feed(unsure, "b", 45, 3), "b") == ["recovering"] * 2 + ["ok"]


def test_doubt_is_kept_in_a_checkpoint() -> None:
    pipeline = Pipeline([route_of(bundle_of("fitted", settle=7))])
    feed(pipeline, "ab", 0, 10)
    pipeline.doubt()
    feed(pipeline, "a", 10, 3)
    other = Pipeline([route_of(bundle_of("fitted", settle=7))])
    other.restore(pipeline.snapshot())
    assert other.routes[0].lane.engine.read("row", 0, 2)[:, DOUBT].tolist() == [4.0, 7.0]


def test_alerts_in_progress_are_told_again_after_a_restart_and_end() -> None:
    pipeline = crowded(max_streams=2)
    excited(pipeline, "a")
    other = crowded(max_streams=2)
    other.restore(pipeline.snapshot())
    told = [json.loads(message.payload) for message in other.resume(WALL + 61)]
    assert [(alert["stream"], alert["phase"], alert["end"]) for alert in told] == [("plant/a/data", "start", None)]
    assert other.resume(WALL + 62)[0].retain
    assert [json.loads(message.payload)["phase"] for message in other.close(WALL + 63)] == ["end"]


def test_a_pipeline_that_takes_over_goes_on_with_counts_and_streams() -> None:
    bundle = bundle_of("fitted", warm_up=20)
    old = Pipeline([route_of(bundle), route_of(bundle, "gone/+/data")])
    feed(old, "ab", 0, 30)
    old.handle([Message("plant/a/data", b"{"), sample_of("a", 3, [0.0, 0.0, 0.0])])
    new = Pipeline([route_of(bundle), route_of(bundle, "new/+/data")])
    assert new.succeed(old) == []
    for name in ("received", "decoded", "samples", "scored", "alerts", "evicted", "dropped", "refused", "examples"):
        assert getattr(new, name) == getattr(old, name), name
    assert new.dropped == Counter(bad_json=1)
    twin = restored_twin(old, bundle)
    assert feed(new, "ab", 30, 20) == feed(twin, "ab", 30, 20)


def restored_twin(old: Pipeline, bundle: Bundle) -> Pipeline:
    return restored(pack(state_of(old)), route_of(bundle))


def test_parts_that_wait_go_on_with_the_pipeline_that_takes_over() -> None:
    bundle, source = bundle_of("fitted"), Source("parts/{stream}/{channel}", format="number")
    old = Pipeline([route_of(bundle, source)])
    old.handle([Message(f"parts/x/{channel}", b"1", arrived=5.0) for channel in ("c0", "c1")])
    new = Pipeline([route_of(bundle, source)])
    new.succeed(old)
    assert len(new.handle([Message("parts/x/c2", b"1", arrived=5.0)])) == 1
