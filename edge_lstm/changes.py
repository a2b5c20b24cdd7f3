"""Which scores say something new: what is published of a stream under ``publish = "changes"``.

A score is new when, against the last one published of its stream,
1. its quality, or whether an alert is on, is another;
2. its surprise moved by ``STEP`` or more, where all below ``CALM`` counts as ``CALM``;
3. its reason is another, while the surprise is that far above ``CALM``;
4. or ``HEARTBEAT_S`` have passed, so that a quiet stream can be told from a daemon that died.

Of a normal stream a tenth of all samples have a surprise above 1 and a hundredth above 2, and the reason, which names
the loudest of several that say nothing, is another at every second sample. So one whole step, a factor of ten in
probability, above what one sample in ten reaches: one message in a hundred samples or less while all is well, one at
the first sample of whatever is going on, one each time it gets ten times as improbable, or less so, and one when it
is over. A step from the last one *published* has no edge to flap on.
"""

from edge_lstm.messages import Score

CALM, STEP = 1.0, 1.0
HEARTBEAT_S = 60.0  # of the stream's own time


class Changes:
    """Remembers what was last published of each stream."""

    def __init__(self) -> None:
        self._told: dict[str, Score] = {}

    def pick(self, score: Score | None) -> Score | None:
        """Return a score that says something new, and take it as published; else ``None``."""
        if score is None:
            return None
        told = self._told.get(score.stream)
        if told is not None and not _differ(told, score):
            return None
        self._told[score.stream] = score
        return score

    def forget(self, stream: str) -> None:
        """Take nothing as published of a stream."""
        self._told.pop(stream, None)


def _differ(told: Score, score: Score) -> bool:
    before, after = _loudness(told), _loudness(score)
    return (
        abs(after - before) >= STEP
        or score.quality != told.quality
        or score.alert != told.alert
        or (score.reason != told.reason and after >= CALM + STEP)
        or abs(score.t - told.t) >= HEARTBEAT_S  # a clock that was set back must not silence a stream
    )


def _loudness(score: Score) -> float:
    return CALM if score.surprise is None or score.surprise < CALM else score.surprise
