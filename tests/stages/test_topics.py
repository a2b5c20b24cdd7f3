"""Topic filters against the rules of MQTT, and against paho's own matcher."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge_lstm.errors import ConfigError
from edge_lstm.stages.topics import TopicPattern, overlaps

CASES = [  # pattern, topic, named parts (None: no match), stream
    ("sensors/a/temperature", "sensors/a/temperature", {}, "sensors/a/temperature"),
    ("sensors/a", "sensors/a/temperature", None, ""),
    ("sensors/+/temperature", "sensors/a/temperature", {}, "sensors/a/temperature"),
    ("sensors/+/temperature", "sensors//temperature", {}, "sensors//temperature"),
    ("sensors/+", "sensors", None, ""),
    ("sensors/+", "sensors/", {}, "sensors/"),
    ("sensors/#", "sensors", {}, "sensors"),
    ("sensors/#", "sensors/a/b", {}, "sensors/a/b"),
    ("sensors/#", "sensorsx", None, ""),
    ("#", "/a", {}, "/a"),
    ("#", "$SYS/broker/load", None, ""),
    ("+/broker", "$SYS/broker", None, ""),
    ("$SYS/#", "$SYS/broker", {}, "$SYS/broker"),
    ("a.c/+", "abc/d", None, ""),
    ("home/{stream}/climate", "home/kitchen/climate", {"stream": "kitchen"}, "kitchen"),
    ("home/{stream}/climate", "home//climate", {"stream": ""}, "home//climate"),
    (
        "home/{room}/{channel}",
        "home/kitchen/temperature",
        {"room": "kitchen", "channel": "temperature"},
        "home/kitchen",
    ),
    (
        "{stream}/sensor/{channel}/state",
        "box/sensor/hum/state",
        {"stream": "box", "channel": "hum"},
        "box",
    ),
    ("a/{channel}/b", "a/a/b", {"channel": "a"}, "a/b"),
    ("{channel}", "temperature", {"channel": "temperature"}, "temperature"),
    ("{stream}/#", "$SYS/x", None, ""),
]


@pytest.mark.parametrize(("pattern", "topic", "parts", "stream"), CASES)
def test_match(pattern: str, topic: str, parts: dict[str, str] | None, stream: str) -> None:
    compiled = TopicPattern(pattern)
    assert compiled.match(topic) == parts
    if parts is not None:
        assert compiled.stream_name(topic, parts) == stream


def test_filter_has_no_names() -> None:
    assert TopicPattern("{stream}/+/{channel}/#").filter == "+/+/+/#"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "1 to 512 bytes"),
        ("a\x00b", "control characters"),
        ("a\nb", "control characters"),
        ("a\u202eb", "control characters"),
        ("a" * 513, "1 to 512 bytes"),
        ("a/#/b", "'#' before its end"),
        ("a/b#", "whole level"),
        ("a/b+", "whole level"),
        ("a/b{stream}", "whole level"),
        ("a/{Stream}", "whole level"),
        ("a/{", "whole level"),
        ("{stream}/{stream}", "twice"),
        ("$share/group/a", "shared subscription"),
    ],
)
def test_refused_patterns(pattern: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TopicPattern(pattern)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/+", "a/b", True),
        ("a/{stream}", "+/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/+/c", "a/b/d", False),
        ("#", "a", True),
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("$SYS/#", "$SYS/a", True),
    ],
)
def test_overlaps(a: str, b: str, expected: bool) -> None:
    assert overlaps(a, b) is expected
    assert overlaps(b, a) is expected


level = st.sampled_from(["", "a", "b", "$a", "a.b"])
topics = st.lists(level, min_size=1, max_size=4).map("/".join).filter(bool)
filters = st.builds(
    lambda levels, rest: "/".join(levels + rest),
    st.lists(st.one_of(level, st.just("+")), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)


@settings(max_examples=500)
@given(filters, topics)
def test_match_agrees_with_paho(pattern: str, topic: str) -> None:
    assert (TopicPattern(pattern).match(topic) is not None) == topic_matches_sub(pattern, topic)


@settings(max_examples=500)
@given(filters, filters, topics)
def test_overlap_is_never_denied(a: str, b: str, topic: str) -> None:
    if TopicPattern(a).match(topic) is not None and TopicPattern(b).match(topic) is not None:
        assert overlaps(a, b)
