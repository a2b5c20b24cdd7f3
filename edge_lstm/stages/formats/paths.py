"""Paths into a parsed JSON document: ``a.b[0]."key.with.dots"``, to any depth.

A quoted key is a JSON string; ``[-1]`` counts from the end. A path leads from keys to objects and
from indices to arrays, and to nothing else.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.stages.formats.scalar import quote
from edge_lstm.stages.formats.source import MAX_CHANNELS
from edge_lstm.stages.topics import is_safe

Path = tuple[str | int, ...]

ABSENT: Final = object()
_MAX_DEPTH = 32  # when looking for numbers; a written path may go deeper
_MAX_NAME = 128
_MAX_SLASHES = 16  # of a name that becomes part of a topic
_STEP = re.compile(r'(?:(?<=.)\.|^)(?:("(?:[^"\\]|\\.)+")|([^.\[\]"]+))|\[(-?[0-9]{1,6})\]')
_SPECIAL = re.compile(r'[.\[\]"]')


def parse_path(text: str) -> Path:
    """Return the steps of a written path; the empty path is the document itself.

    Raises:
        ConfigError: the text is not a path.
    """
    steps: list[str | int] = []
    end = 0
    while end < len(text):
        found = _STEP.match(text, end)
        if found is None:
            raise ConfigError(
                f"path {text!r} can't be read from {text[end:]!r} on; "
                "expected keys with dots between, [0] for arrays, quotes around odd keys"
            )
        quoted, key, index = found.groups()
        if quoted is not None:
            steps.append(_unquote(quoted, text))
        else:
            steps.append(key if key is not None else int(index))
        end = found.end()
    return tuple(steps)


def _unquote(quoted: str, path: str) -> str:
    try:
        return msgspec.json.decode(quoted, type=str)
    except msgspec.DecodeError as error:
        raise ConfigError(f"path {path!r} has a key that is no JSON string: {error}") from None


def find(node: object, path: Path) -> object:
    """Follow a path; ``ABSENT`` where it does not lead."""
    for step in path:
        if isinstance(node, dict):
            node = node.get(step, ABSENT)
        elif isinstance(node, list) and isinstance(step, int):
            if not -len(node) <= step < len(node):
                return ABSENT
            node = node[step]
        else:
            return ABSENT
    return node


def leaves(node: object, nested: bool, name: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield each value in a container that is no container itself, named by its path.

    Args:
        nested: go below the first level.

    Raises:
        PayloadError: ``too_deep``, or ``bad_type`` for a key that can't name a channel.
    """
    if depth > _MAX_DEPTH:
        raise PayloadError("too_deep", f"more than {_MAX_DEPTH} levels; name the channels' paths")
    if isinstance(node, dict):
        dot = "." if name else ""
        below = ((name + dot + step_name(key), value) for key, value in node.items())
    elif isinstance(node, list):
        below = ((f"{name}[{index}]", value) for index, value in enumerate(node))
    else:
        return
    for path, value in below:
        if not isinstance(value, dict | list):
            check_name(path)
            yield path, value
        elif nested:
            check_length(path)  # before it stands in front of thousands of others
            yield from leaves(value, nested, path, depth + 1)


def step_name(key: str) -> str:
    """Return a key as it stands in a path."""
    return key if key and not _SPECIAL.search(key) else msgspec.json.encode(key).decode()


def check_name(name: str) -> None:
    """Refuse a foreign text as a channel's name that would not do in a log or a topic.

    Raises:
        PayloadError: ``bad_type``.
    """
    check_length(name)
    if not is_safe(name) or name.count("/") > _MAX_SLASHES:
        raise PayloadError("bad_type", f"{quote(name)} can't name a channel")


def check_length(name: str) -> None:
    """Refuse a foreign text that is too long for a name.

    Raises:
        PayloadError: ``bad_type``.
    """
    if len(name) > _MAX_NAME:
        raise PayloadError("bad_type", f"{quote(name)} is too long for a name, at most {_MAX_NAME} characters")


def check_channel_count(count: int) -> None:
    """Refuse a payload with more numbers in it than any model has channels.

    Raises:
        PayloadError: ``too_many``.
    """
    if count > MAX_CHANNELS:
        raise PayloadError("too_many", f"more than {MAX_CHANNELS} numbers; name the channels that matter")
