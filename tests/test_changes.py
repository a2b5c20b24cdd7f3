"""What is news of a stream, case by case."""

import numpy as np
import pytest

from edge_lstm.changes import HEARTBEAT_S, Changes
from edge_lstm.messages import Quality, Score


def score(
    t: float = 0.0, surprise: float | None = 0.5, quality: Quality = "ok", alert: bool = False, reason: str = "",
    stream: str = "s",
) -> Score:  # fmt: skip
    return Score(stream, t, None if surprise is None else 1.0 - 10.0**-surprise, surprise, quality, alert, reason, "m")


def told(*scores: Score) -> list[bool]:
    """Tell which of a stream's scores are published."""
    changes = Changes()
    return [changes.pick(each) is each for each in scores]


@pytest.mark.parametrize(
    ("first", "second", "news"),
    [
        (score(), score(1.0), False),
        (score(surprise=None, quality="warming_up"), score(1.0, None, "warming_up"), False),
        (score(surprise=None, quality="warming_up"), score(1.0), True),
        (score(), score(1.0, quality="suspect"), True),
        (score(), score(1.0, alert=True), True),
        (score(surprise=0.0), score(1.0, surprise=1.9), False),  # one normal sample in ten is above 1
        (score(surprise=0.0), score(1.0, surprise=2.0), True),
        (score(surprise=5.0), score(1.0, surprise=5.9), False),
        (score(surprise=5.0), score(1.0, surprise=6.0), True),
        (score(surprise=5.0), score(1.0, surprise=4.0), True),
        (score(surprise=2.0), score(1.0, surprise=0.1), True),
        (score(reason="bias"), score(1.0, reason="forecast"), False),  # of several that say nothing, the loudest
        (score(surprise=2.5, reason="bias"), score(1.0, surprise=2.4, reason="forecast"), True),
        (score(alert=True, reason="bias"), score(1.0, alert=True, reason="forecast"), False),  # an alert that fades
        (score(surprise=3.0, alert=True, reason="drift"), score(1.0, surprise=3.0, alert=True, reason="bias"), True),
        (score(), score(HEARTBEAT_S - 0.1), False),
        (score(), score(HEARTBEAT_S), True),
        (score(1e6), score(0.0), True),  # its clock was set back
        (score(), score(1.0, stream="other"), True),
    ],
)
def test_cases(first: Score, second: Score, news: bool) -> None:
    assert told(first, second) == [True, news]


def test_what_was_not_published_is_not_compared_with() -> None:
    """A slow rise is told where it is one whole step above what was told, not never."""
    rise = [score(float(t), surprise) for t, surprise in enumerate((1.0, 1.5, 1.9, 2.3, 2.8, 3.2, 3.4))]
    assert told(*rise) == [True, False, False, True, False, False, True]


def test_an_edge_does_not_flap() -> None:
    edge = [score(float(t), (1.95, 2.05)[t % 2]) for t in range(1, 50)]
    assert sum(told(score(surprise=0.5), *edge)) == 2


def test_no_score_is_no_news() -> None:
    assert Changes().pick(None) is None


def test_a_normal_stream_says_little() -> None:
    """Surprise of a normal sample is exponential, and its reason as it comes."""
    rng = np.random.default_rng(0)
    surprise, reason = rng.exponential(1.0 / np.log(10.0), 10_000), rng.integers(0, 3, 10_000)
    stream = [score(float(t), s, reason="abc"[r]) for t, (s, r) in enumerate(zip(surprise, reason, strict=True))]
    assert sum(told(*stream)) < 0.05 * len(stream)
