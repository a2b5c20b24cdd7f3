"""Samples to rows: a table of what goes in and out, and the promise that nothing is lost."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_lstm.errors import ConfigError, StateError
from edge_lstm.messages import Sample
from edge_lstm.stages.align import Align, Row

NAN = math.nan
Values = dict[str, float]
Plain = list[tuple[str, float, list[float | None]]]

# Channels are a, b, c and the window is 10 s; each case lists (stream, t, values) and all rows out.
CASES: dict[str, tuple[list[tuple[str, float, Values]], Plain]] = {
    "complete": (
        [("s", 1, {"b": 2, "c": 3, "a": 1, "extra": 9})],
        [("s", 1, [1, 2, 3])],
    ),
    "joined, newest time": (
        [("s", 5, {"a": 1}), ("s", 3, {"b": 2}), ("s", 4, {"c": 3})],
        [("s", 5, [1, 2, 3])],
    ),
    "streams apart": (
        [("s", 1, {"a": 1, "b": 2}), ("r", 1, {"c": 7}), ("s", 2, {"c": 3})],
        [("s", 2, [1, 2, 3])],
    ),
    "channel again": (
        [("s", 1, {"a": 1}), ("s", 2, {"a": 4}), ("s", 3, {"b": 5, "c": 6})],
        [("s", 1, [1, None, None]), ("s", 3, [4, 5, 6])],
    ),
    "window over": (
        [("s", 0, {"a": 1}), ("s", 10, {"b": 2}), ("s", 10.5, {"c": 3})],
        [("s", 10, [1, 2, None])],
    ),
    "clock back": (
        [("s", 100, {"a": 1}), ("s", 1, {"b": 2}), ("s", 2, {"a": 3, "c": 4})],
        [("s", 100, [1, None, None]), ("s", 2, [3, 2, 4])],
    ),
    "complete one after a partial one": (
        [("s", 1, {"a": 1}), ("s", 2, {"a": 4, "b": 5, "c": 6})],
        [("s", 1, [1, None, None]), ("s", 2, [4, 5, 6])],
    ),
    "not a channel": ([("s", 1, {"z": 1})], []),
}


def plain(rows: list[Row]) -> Plain:
    """Write NaN as None, which equals itself."""
    return [(s, t, [None if math.isnan(v) else v for v in values]) for s, t, values in rows]


@pytest.mark.parametrize("case", CASES)
def test_join(case: str) -> None:
    samples, expected = CASES[case]
    align = Align(("a", "b", "c"), 10.0, each=False)
    rows = [row for sample in samples for row in align.push(Sample(*sample))]
    assert plain(rows) == expected


def test_complete_samples_leave_nothing_behind() -> None:
    align = Align(("a", "b"), 10.0, each=False)
    for i in range(100):
        align.push(Sample(f"s{i}", 0.0, {"a": 1.0, "b": 2.0}))
    assert align.dump() == {}


def test_each_channel_is_a_stream() -> None:
    align = Align((), 0.0, each=True)
    assert align.push(Sample("s", 1.0, {"value": 1.0, "hum": 2.0})) == [
        ("s", 1.0, [1.0]),
        ("s/hum", 1.0, [2.0]),
    ]


def test_ignored_samples_are_counted() -> None:
    align = Align(("a",), 0.0, each=False)
    assert align.push(Sample("s", 1.0, {"z": 1.0})) == []
    assert align.ignored == 1


def test_the_longest_wait_gives_way() -> None:
    align = Align(("a", "b"), 1e9, each=False, max_waiting=2)
    assert align.push(Sample("r", 1.0, {"a": 1.0})) == []
    assert align.push(Sample("s", 2.0, {"a": 2.0})) == []
    assert plain(align.push(Sample("t", 3.0, {"a": 3.0}))) == [("r", 1.0, [1.0, None])]
    assert sorted(align.dump()) == ["s", "t"]


def test_dump_and_load() -> None:
    align = Align(("a", "b", "c"), 10.0, each=False)
    align.push(Sample("s", 1.0, {"a": 1.0}))
    other = Align(("a", "b", "c"), 10.0, each=False)
    other.load(json.loads(json.dumps(align.dump())))
    last = Sample("s", 2.0, {"b": 2.0, "c": 3.0})
    assert other.push(last) == align.push(last) == [("s", 2.0, [1.0, 2.0, 3.0])]


@pytest.mark.parametrize(
    "waiting",
    [
        {"s": {"oldest": 1.0, "newest": 1.0, "values": {"z": 1.0}}},
        {"s": {"oldest": 1.0, "newest": 1.0, "values": {"a": 1.0, "b": 2.0}}},
        {"s": {"oldest": 1.0, "newest": "now", "values": {"a": 1.0}}},
        {"s": {"oldest": 1.0}},
        {"s": None},
    ],
)
def test_load_refuses_what_does_not_fit(waiting: dict[str, object]) -> None:
    align = Align(("a", "b"), 10.0, each=False)
    with pytest.raises(StateError, match="waiting row"):
        align.load(waiting)


@pytest.mark.parametrize(("channels", "window_s"), [((), 1.0), (("a",), -1.0), (("a",), NAN)])
def test_refused_settings(channels: tuple[str, ...], window_s: float) -> None:
    with pytest.raises(ConfigError, match="align"):
        Align(channels, window_s, each=False)


@settings(max_examples=300)
@given(
    st.lists(
        st.builds(
            Sample,
            st.sampled_from(["r", "s", "t"]),
            st.floats(-1e11, 1e11) | st.integers(0, 30).map(float),
            st.dictionaries(st.sampled_from(["a", "b", "c", "z"]), st.just(0.0)),
        ),
        max_size=40,
    )
)
def test_no_value_is_lost_doubled_or_mixed(samples: list[Sample]) -> None:
    # Each value is a number of its own, so that it can be found again.
    samples = [
        Sample(s.stream, s.t, {name: 10.0 * i + k for k, name in enumerate(s.values)}) for i, s in enumerate(samples)
    ]
    times = {(s.stream, v): s.t for s in samples for v in s.values.values()}
    align = Align(("a", "b", "c"), 10.0, each=False, max_waiting=2)
    rows = [row for sample in samples for row in align.push(sample)]
    assert len(align.dump()) <= 2
    out = sorted((s, v) for s, _, values in rows for v in values if v == v)
    waiting = [(s, v) for s, row in align.dump().items() for v in row["values"].values()]
    wanted = sorted((s.stream, v) for s in samples for n, v in s.values.items() if n != "z")
    assert sorted(out + waiting) == wanted
    for stream, t, values in rows:
        own = [times[stream, v] for v in values if v == v]
        assert t == max(own)
        assert t - min(own) <= 10.0


def test_without_joining_a_part_goes_out_as_it_is() -> None:
    align = Align(("a", "b"), 10.0, each=False, join=False)
    rows = align.push(Sample("s", 1.0, {"a": 1.0})) + align.push(Sample("s", 2.0, {"b": 2.0}))
    assert [(stream, t) for stream, t, _ in rows] == [("s", 1.0), ("s", 2.0)]
    assert rows[0][2][0] == 1.0
    assert math.isnan(rows[0][2][1])
    assert math.isnan(rows[1][2][0])
    assert rows[1][2][1] == 2.0
    assert align.push(Sample("s", 3.0, {"other": 1.0})) == []
    assert align.ignored == 1
