"""Timestamps of payloads: numbers in a stated unit, or ISO 8601 text."""

import re
from datetime import UTC, datetime

from edge_lstm.errors import PayloadError
from edge_lstm.stages.formats.scalar import describe, quote
from edge_lstm.stages.formats.source import TimeUnit

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# fromisoformat() takes any character between date and time, and dates alone.
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9:.,Z+-]{2,32}")
_DIGITS = re.compile(r"-?[0-9]{1,24}(?:\.[0-9]{1,12})?")


def to_seconds(node: object, unit: TimeUnit, coerce: bool, where: str) -> float:
    """Return a payload's time in Unix seconds.

    Raises:
        PayloadError: ``bad_time``.
    """
    if isinstance(node, str) and coerce and _DIGITS.fullmatch(node):
        node = float(node) if "." in node else int(node)
    if isinstance(node, str):
        return _iso_seconds(node, where)
    if isinstance(node, bool) or not isinstance(node, int | float):
        raise PayloadError("bad_time", f"{where} is {describe(node)}, expected a time")
    if unit == "iso":
        raise PayloadError("bad_time", f"{where} is a number, expected ISO 8601 text")
    try:
        return node / _PER_SECOND[unit]  # an integer divides with one rounding, nanoseconds too
    except OverflowError:
        raise PayloadError("bad_time", f"{where} is out of the range of float64") from None


def _iso_seconds(text: str, where: str) -> float:
    try:
        if not _ISO.fullmatch(text):
            raise ValueError
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PayloadError(
            "bad_time", f"{where} is {quote(text)}, expected ISO 8601 such as 2026-01-31T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
