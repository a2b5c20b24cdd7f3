"""Results to bytes: flat JSON in snake_case, shortest floats that read back the same, never NaN.

A value that is not there, or not finite, is ``null``.
"""

import re

import msgspec

from edge_lstm.messages import NO_TEXT, Alert, Score

_encode = msgspec.json.Encoder().encode
# What a topic to publish to can't carry (MQTT 3.1.1, 1.5.3 and 3.3.2.1), or a log should not; and the sign that stands
# for it. A broker may cut us off for any of them.
_RESERVED = re.compile("[%+#]")
_UNPUBLISHABLE = re.compile(f"[%+#{NO_TEXT}]")


def encode_score(score: Score) -> bytes:
    """Return a score as JSON."""
    return _encode(score)


def encode_alert(alert: Alert) -> bytes:
    """Return an alert as JSON; its causes are an array of flat objects."""
    return _encode(alert)


def score_topic(prefix: str, stream: str) -> str:
    """Return where a stream's scores go."""
    return f"{prefix}/{_topic_part(stream)}/score"


def alert_topic(prefix: str, stream: str) -> str:
    """Return where a stream's alerts go."""
    return f"{prefix}/{_topic_part(stream)}/alert"


def _topic_part(stream: str) -> str:
    """Make a stream's name fit to stand inside a topic, different names different; names from topics do as they are."""
    if stream.isascii() and stream.isprintable() and _RESERVED.search(stream) is None:
        return stream  # nearly all are; in a fifth of the time
    return _UNPUBLISHABLE.sub(_percent, stream)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
