"""One value: a number, a word that stands for one, a word for none, or an error."""

import math
import re

from edge_lstm.errors import ConfigError, PayloadError

# float() takes "1_000", " 21.5\n", "nan" and Arabic digits; a sensor means none of these.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_NUMBER_LENGTH = 32
_MISSING = frozenset({"", "unknown", "unavailable", "none", "null", "nan"})
_INFINITE = frozenset({"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})
_KIND = {dict: "an object", list: "an array", bool: "true or false", type(None): "null"}


def quote(text: str) -> str:
    """Show foreign text safely: escaped and short."""
    return repr(text if len(text) <= 40 else text[:40] + "...")


def describe(node: object) -> str:
    """Name what was found in place of a number."""
    return quote(node) if isinstance(node, str) else _KIND.get(type(node), "a number")


class Scalars:
    """Reads single values under one source's rules.

    Raises:
        ConfigError: a word stands for something that is not a finite number.
    """

    def __init__(self, words: dict[str, float], coerce: bool) -> None:
        for word, value in words.items():
            if not math.isfinite(value):
                raise ConfigError(f"values: {word!r} is {value}, expected a finite number")
        self._words = words
        self._coerce = coerce

    def read(self, node: object, where: str) -> float | None:
        """Return a parsed JSON value as a number, or ``None`` for a missing one.

        Raises:
            PayloadError: ``bad_type`` or ``not_finite``.
        """
        if isinstance(node, float):
            return node  # the parser lets only finite ones through
        if isinstance(node, bool):
            word = "true" if node else "false"
            if word in self._words:
                return self._words[word]
        elif isinstance(node, int):
            try:
                return float(node)
            except OverflowError:
                raise PayloadError("not_finite", f"{where} is out of the range of float64") from None
        elif isinstance(node, str):
            return self._string(node, where)
        elif node is None:
            return None
        raise PayloadError("bad_type", f"{where} is {describe(node)}, expected a number")

    def is_value(self, node: object) -> bool:
        """Tell whether a value found by looking around is a number, or stands for one or none."""
        if isinstance(node, str):
            return node in self._words or node.lower() in _MISSING or (self._coerce and _is_number(node))
        if isinstance(node, bool):
            return ("true" if node else "false") in self._words
        return node is None or isinstance(node, int | float)

    def text(self, text: str, where: str) -> float | None:
        """Return what a text says: a number, what a word stands for, or ``None`` for none.

        Raises:
            PayloadError: ``bad_type`` or ``not_finite``.
        """
        if _is_number(text):
            value = float(text)
            if math.isinf(value):
                raise PayloadError("not_finite", f"{where} is out of the range of float64")
            return value
        if text in self._words:
            return self._words[text]
        lower = text.lower()
        if lower in _MISSING:
            return None
        if lower in _INFINITE:
            raise PayloadError("not_finite", f"{where} is {quote(text)}")
        hint = " (decimal comma?)" if _is_number(text.replace(",", ".", 1)) else ""
        raise PayloadError("bad_type", f"{where} is {quote(text)}, expected a number{hint}")

    def _string(self, text: str, where: str) -> float | None:
        """Read a JSON string."""
        if self._coerce:
            return self.text(text, where)
        if text in self._words:
            return self._words[text]
        if text.lower() in _MISSING:
            return None
        hint = "; coerce = true takes it" if _is_number(text) else ""
        raise PayloadError("bad_type", f"{where} is {quote(text)}, expected a number{hint}")


def _is_number(text: str) -> bool:
    return len(text) <= _MAX_NUMBER_LENGTH and _NUMBER.fullmatch(text) is not None
