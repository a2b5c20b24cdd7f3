"""Results to bytes: flat JSON in snake_case, shortest floats that read back the same, never NaN.

A value that is not there, or not finite, is ``null``.
"""

import re
from functools import lru_cache

import msgspec

from edge_lstm.messages import Alert, Score

_encode = msgspec.json.Encoder().encode
# What a topic to publish to can't carry (MQTT 3.1.1, 3.3.2.1), or a log should not; and the sign that stands for it.
_UNPUBLISHABLE = re.compile("[%+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def encode_score(score: Score) -> bytes:
    """Return a score as JSON."""
    return _encode(score)


def encode_alert(alert: Alert) -> bytes:
    """Return an alert as JSON; its causes are an array of flat objects."""
    return _encode(alert)


@lru_cache(maxsize=16_384)
def score_topic(prefix: str, stream: str) -> str:
    """Return where a stream's scores go."""
    return f"{prefix}/{_topic_part(stream)}/score"


def alert_topic(prefix: str, stream: str) -> str:
    """Return where a stream's alerts go."""
    return f"{prefix}/{_topic_part(stream)}/alert"


def _topic_part(stream: str) -> str:
    """Make a stream's name fit to stand inside a topic, different names different; names from topics do as they are."""
    return _UNPUBLISHABLE.sub(lambda found: f"%{ord(found[0]):02X}", stream)
