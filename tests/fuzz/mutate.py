"""Changes to valid input that keep most of it, so that what they break is looked at late: bytes, trees, texts."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

TOKENS = (
    b"", b"\x00", b"\xff", b"\x7f", b"\x80", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"{", b"}", b"[", b"]",
    b'"', b"'", b"\\", b"/", b":", b",", b"=", b".", b"#", b"+", b"$", b"\n", b"\r", b"\t", b" ", b"-", b"0", b"1",
    b"null", b"true", b"nan", b"NaN", b"Infinity", b"-inf", b"1e400", b"1e-400", b"1e308", b"-0.0", b"5e-324", b"0x",
    b"9223372036854775808", b"1" * 400, b"\\u0000", b"\\ud800", b"\\uffff", b"[" * 64, b'{"a":' * 64, b"1970-01-01",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 255, 256, 2**31, 2**53, 2**63, -(2**63), 2**64, 2**200, 10**400, 0.0, -0.0, 0.5, 1e-9, 5e-324,
    1e15, 1e100, 1.7976931348623157e308, -1e308, 1700000000, 1700000000000, 268435456, -1700000000.5,
)  # fmt: skip
TEXTS = (
    "", "a", "value", "t", "21.5", "21,5", "1_000", "\u0661", "nan", "inf", "ON", "unknown", "2026-01-31T12:00:00Z",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\x00", "\x1b[31m", "\r\n", "\u202e", "\ufffe",
    "\U0010ffff", "a/b", "/" * 40, "..", "%2e%2e", "+", "#", "$SYS", "{stream}", "x" * 200, "x" * 5000, '"', "a.b[0]",
)  # fmt: skip


def bytes_of(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Return bytes with a few changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(_CHANGES)(rng, data, corpus)
    return data


def _place(rng: Random, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def _flip(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    if not data:
        return b"\x01"
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def _insert(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _overwrite(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    at, new = _place(rng, data), rng.choice(TOKENS)
    return data[:at] + new + data[at + len(new) :]


def _noise(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 8, 40))) + data[at:]


def _cut(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = sorted((_place(rng, data), _place(rng, data)))
    return data[:start] + data[end:]


def _end(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    return data[: _place(rng, data)]


def _repeat(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = sorted((_place(rng, data), _place(rng, data)))
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 20)) + data[end:]


def _splice(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    return data[: _place(rng, data)] + other[_place(rng, other) :]


_CHANGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _insert, _overwrite, _noise, _cut, _end, _repeat, _splice,
)  # fmt: skip


def tree_of(rng: Random, node: Any, changes: int = 1) -> Any:
    """Return a parsed document with a few of its nodes changed; what was given stays as it is."""
    for _ in range(changes):
        node = _changed(rng, node, rng.random())
    return node


def _changed(rng: Random, node: Any, depth: float) -> Any:
    """Go down some way, and change what is there."""
    if depth > 0.25 and node and isinstance(node, dict | list):
        key: Any = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        copy = node.copy()
        copy[key] = _changed(rng, node[key], rng.random())
        return copy
    if isinstance(node, dict) and node and rng.random() < 0.7:
        return _changed_keys(rng, node)
    if isinstance(node, list) and node and rng.random() < 0.7:
        return _changed_items(rng, node)
    return leaf(rng, node)


def _changed_keys(rng: Random, node: dict[Any, Any]) -> dict[Any, Any]:
    copy = dict(node)
    key = rng.choice(list(copy))
    value = copy[key] if rng.random() < 0.5 else copy.pop(key)
    copy[rng.choice((*TEXTS, *map(str, node)))] = value
    return copy


_TIMES = (*(1, 2, 3, 10) * 10, 300, 5000)  # the largest seldom: they cost the most


def _changed_items(rng: Random, node: list[Any]) -> list[Any]:
    at = rng.randrange(len(node))
    times = rng.choice(_TIMES) if len(node) < 100 else 2  # many of many would only cost memory
    return rng.choice((node[:at] + node[at + 1 :], node[: at + 1] * 2, [node[at]] * times, node[::-1]))


def leaf(rng: Random, node: Any = None) -> Any:
    """Return a value that is odd, or what was there in another dress."""
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice(TEXTS)
    if kind == 5:
        return rng.choice((None, True, False, [], {}))
    if kind == 6:
        return rng.choice(([node], {"a": node}, [node] * 5, [[[node]]]))
    return str(node)[:1000] if not isinstance(node, float) else node * rng.choice((-1, 1e-300, 1e300))
