"""MQTT topic filters whose wildcards may carry a name.

Rules, from MQTT 3.1.1 section 4.7:
1. ``+`` stands for one whole level, which may be empty; ``#`` for all that follow, or none.
2. A wildcard in first place never matches a topic that begins with ``$``.
3. Our addition: ``{name}`` is a ``+`` whose text is kept. ``{stream}`` names the stream, and
   topics that differ in ``{channel}`` alone belong to one stream.
"""

import re

from edge_lstm.errors import ConfigError
from edge_lstm.messages import NO_TEXT

_NAMED = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_BIDIRECTIONAL = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[{NO_TEXT}{_BIDIRECTIONAL}]")
MAX_TOPIC_BYTES = 512
REMEMBERED = 4096  # topics of which somebody may remember something,
SHORT = 128  # and the characters of one; so what foreign topics make us keep stays small
# Ours are some levels deeper, and brokers cut off whoever goes too deep: Mosquitto beyond 200 levels, EMQX beyond 128.
MAX_LEVELS = 64


def is_safe(text: str) -> bool:
    """Tell whether a text is free of control and bidirectional characters, and of those that are none."""
    return text.isprintable() if text.isascii() else _UNSAFE.search(text) is None


def is_sound(topic: str) -> bool:
    """Tell whether a topic is safe, and no longer or deeper than anyone needs."""
    return is_safe(topic) and 0 < len(topic.encode()) <= MAX_TOPIC_BYTES and topic.count("/") < MAX_LEVELS


class TopicPattern:
    """A topic filter with named wildcards, compiled.

    Attributes:
        filter: what to subscribe to, with ``+`` in place of each name.

    Raises:
        ConfigError: the pattern is not one.
    """

    def __init__(self, pattern: str) -> None:
        levels = pattern.split("/")
        _check(pattern, levels)
        self.pattern = pattern
        self.filter = "/".join("+" if _NAMED.fullmatch(level) else level for level in levels)
        self._channel_level = levels.index("{channel}") if "{channel}" in levels else None
        self._match = re.compile(_expression(levels), re.DOTALL).fullmatch

    @property
    def joins(self) -> bool:
        """Whether messages of several topics belong to one stream."""
        return self._channel_level is not None

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a concrete topic, or ``None`` if it does not match."""
        found = self._match(topic)
        return None if found is None else found.groupdict()

    def stream_name(self, topic: str, parts: dict[str, str]) -> str:
        """Name the stream of a matching topic: ``{stream}``, or the topic without ``{channel}``."""
        if "stream" in parts:
            return parts["stream"] or topic
        if self._channel_level is None:
            return topic
        levels = topic.split("/")
        del levels[self._channel_level]
        return "/".join(levels) or topic


def _check(pattern: str, levels: list[str]) -> None:
    """Refuse what is not a topic filter, in the user's words."""
    where = f"topic {pattern[:80]!r}"
    if not is_sound(pattern):
        raise ConfigError(
            f"{where} is not 1 to {MAX_TOPIC_BYTES} bytes of text without control characters, "
            f"in at most {MAX_LEVELS} levels; expected an MQTT filter such as 'sensors/+/temperature'"
        )
    if levels[0] == "$share":
        # A stream's state lives in one place; a broker that deals samples out would tear it apart.
        raise ConfigError(f"{where} is a shared subscription; give each daemon its own streams")
    if "#" in levels[:-1]:
        raise ConfigError(f"{where} has '#' before its end; it may only stand last")
    named = [level for level in levels if _NAMED.fullmatch(level)]
    if len(set(named)) < len(named):
        raise ConfigError(f"{where} has one of {', '.join(named)} twice; a name may stand once")
    for level in levels:
        if level not in ("+", "#", *named) and not set(level).isdisjoint("+#{}"):
            raise ConfigError(
                f"{where} has {level!r} as one level; a wildcard ('+', '#', or '{{name}}' in lower "
                "case) must be a whole level"
            )


def _expression(levels: list[str]) -> str:
    """Write the regular expression of a checked pattern."""
    parts = []
    for place, level in enumerate(levels):
        named = _NAMED.fullmatch(level)
        slash = "/" if place else ""
        no_dollar = "" if place else r"(?!\$)"
        if level == "#":
            parts.append(f"(?:{slash}.*)?" if place else f"{no_dollar}.*")
        elif named:
            parts.append(f"{slash}{no_dollar}(?P<{named[1]}>[^/]*)")
        elif level == "+":
            parts.append(f"{slash}{no_dollar}[^/]*")
        else:
            parts.append(slash + re.escape(level))
    return "".join(parts)


def overlaps(a: str, b: str) -> bool:
    """Tell whether some topic matches both filters, or both patterns."""
    left, right = (_NAMED.sub("+", text).split("/") for text in (a, b))
    for wild, plain in ((left[0], right[0]), (right[0], left[0])):
        if wild in ("+", "#") and plain.startswith("$"):
            return False
    for one, other in zip(left, right, strict=False):
        if "#" in (one, other):
            return True
        if one != other and "+" not in (one, other):
            return False
    shorter, longer = sorted((left, right), key=len)
    return len(shorter) == len(longer) or longer[len(shorter) :] == ["#"]
