"""TOML to structs: every problem in it, each on one line that says where.

``tomllib`` forgets where a value stood, so a problem's line is searched for again in the text, by section and key.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from edge_lstm.errors import ConfigError

Place = tuple[str | int, ...]  # ("source", 1, "topic")
S = TypeVar("S", bound=msgspec.Struct)

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')\s*=")
_MAX_BYTES = 1_048_576  # of a file; no configuration has as many, and a device would never end
_LONGEST = 1000  # characters of a problem


class Problems:
    """What is wrong with a configuration.

    Args:
        name: what the configuration is called in front of each problem.
        text: of the file, to find lines in.
    """

    def __init__(self, name: str, text: str = "") -> None:
        self.found: list[str] = []
        self._name = name
        self._lines = _places(text)

    def add(self, place: Place, message: str) -> None:
        """Note a problem at a place, or as near to it as the text shows.

        Args:
            place: a key, or the section of the key that is the message's first word.
        """
        candidates = [(*place, message.split()[0].strip(":")), *(place[:n] for n in range(len(place), 0, -1))]
        line = next((self._lines[each] for each in candidates if each in self._lines), None)
        where = self._name if line is None else f"{self._name}:{line}"
        self.found.append(f"{where}: {_one_line(message)}")


def _one_line(message: str) -> str:
    """Return a message that quotes a file with what would disturb a terminal or a log escaped, and not too long."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message[:_LONGEST])
    return text if len(message) <= _LONGEST else text + "..."


def _places(text: str) -> dict[Place, int]:
    """Return the line of every section and key."""
    lines: dict[Place, int] = {}
    arrays: dict[str, int] = {}
    section: Place = ()
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() also splits where TOML does not
        header, key = _HEADER.match(line), _KEY.match(line)
        if header and header[1] == "[[":
            arrays[header[2]] = arrays.get(header[2], -1) + 1
            section = (header[2], arrays[header[2]])
            lines.setdefault((header[2],), number)
        elif header:
            first, *rest = header[2].split(".")
            section = (first, arrays[first], *rest) if first in arrays else (first, *rest)
        place = (*section, *_steps(key[1])) if key else section
        lines.setdefault(place, number)
    return lines


def _steps(key: str) -> list[str]:
    """Return the parts of a key as it is written."""
    if key[0] not in "\"'":
        return key.split(".")
    try:
        return list(tomllib.loads(f"{key} = 0"))
    except ValueError:
        return [key]


def read(path: Path) -> tuple[dict[str, Any], Problems]:
    """Return a file's content, and where to put what is wrong with it.

    Raises:
        ConfigError: there is no telling, because it can't be read or is not TOML.
    """
    try:
        text = _text(path)
        return tomllib.loads(text), Problems(str(path), text)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: can't be read: it is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and Python's own about enormous numbers
        at = re.search(r" \(at line (\d+), column \d+\)", str(error))
        message = str(error).replace(at[0], "") if at else str(error)
        message += " (byte order mark)" if text.startswith("\ufeff") else ""
        raise ConfigError(f"{path}:{at[1] if at else 1}: not TOML: {message}") from None


def _text(path: Path) -> str:
    """Return what a file says, line ends as TOML knows them."""
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path}: can't be read: it has more than {_MAX_BYTES} bytes")
    return content.decode("utf-8").replace("\r\n", "\n")


def file_of(folder: Path, name: str, value: str) -> Path:
    """Return the path that an option names, from the configuration's folder on.

    Raises:
        ConfigError: nothing can be called that.
    """
    try:
        if "\0" in value:
            raise ValueError("no file has a NUL in its name")
        return folder / Path(value).expanduser()
    except (RuntimeError, ValueError) as error:  # the former of a user without a home
        raise ConfigError(f"{name} is {value!r}: {error}") from None


def to_struct(data: dict[str, Any], kind: type[S], place: Place, problems: Problems) -> S:
    """Return a table as a struct; what is wrong with a field is noted, and its default stands in.

    A required field that is missing is left empty.
    """
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {name: "" for name, field in fields.items() if field.required}
    for key, value in data.items():
        here = (*place, key)
        if key not in fields:
            problems.add(here, _unknown(key, list(fields), place))
            continue
        try:
            values[key] = _convert(value, fields[key].type, here, problems)
        except msgspec.ValidationError as error:
            problems.add(here, f"{key} is {_short(value)}, {_expected(error, fields[key].type)}")
    for name, field in fields.items():
        if field.required and data.get(name, "") == "":
            problems.add((*place, name), f"{name} is missing; every {_section(place)} needs one")
    return kind(**values)


def _convert(value: Any, kind: Any, place: Place, problems: Problems) -> Any:
    """Return a value as what a field holds."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if isinstance(value, dict):
            return to_struct(value, kind, place, problems)
        raise msgspec.ValidationError(f"Expected a section [{place[-1]}]")
    inner = get_args(kind)[0] if get_origin(kind) is list else None
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return [to_struct(each, inner, (*place, index), problems) for index, each in enumerate(value)]
        raise msgspec.ValidationError(f"Expected sections, each under [[{place[-1]}]]")
    return msgspec.convert(value, kind)


def _unknown(key: str, known: list[str], place: Place) -> str:
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
    return f"{key!r} is not known in {_section(place)}; {hint}"


def _section(place: Place) -> str:
    if not place:
        return "the file"
    return f"[[{place[0]}]]" if len(place) > 1 else f"[{place[0]}]"


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"  # Python refuses to write out the longest
    return repr(value if not isinstance(value, str) or len(value) < 60 else value[:60] + "...")


def _expected(error: msgspec.ValidationError, kind: Any) -> str:
    """Put msgspec's words into a sentence of ours."""
    if get_origin(kind) is Literal:
        return f"expected one of {', '.join(repr(word) for word in get_args(kind) if word)}"
    text = str(error).split(" - at ")[0].replace("`", "").replace(" | null", "")
    return text[0].lower() + text[1:]
