"""CSV files as columns of numbers: what ``replay`` and ``fit`` read. Standard library and NumPy only."""

import csv
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_lstm.errors import ConfigError

NOT_CHANNELS = frozenset(
    "label labels anomaly is_anomaly changepoint event att_flag attack fault alarm index".split()  # noqa: SIM905
)
TIME_NAMES = ("time", "timestamp", "datetime", "date", "epoch", "unix", "unixtime", "t", "ts")
TIME_FORMATS = (
    "%d/%m/%y %H", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",
)  # fmt: skip
MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "unknown", "unavailable"))
UNNAMED = re.compile(r"(unnamed: \d+(\.\d+)?)?", re.IGNORECASE)  # the row numbers that pandas writes
FIRST = 30  # cells that tell what a column is: later ones can't change what came before them


class Table(NamedTuple):
    """One file.

    Attributes:
        columns: names of the channels.
        clock: the cells of the time column as they stand; empty if there is none.
        t: float64 (n,), Unix seconds, NaN where missing; without a time column, one period after another from 0.
        x: float64 (n, C), data units, NaN where missing.
    """

    columns: tuple[str, ...]
    clock: list[str]
    t: NDArray[np.float64]
    x: NDArray[np.float64]


class _File(NamedTuple):
    """What a file says, cell by cell, all rows of one width."""

    path: Path
    header: list[str]
    cells: list[list[str]]
    decimal_commas: bool

    def column(self, k: int) -> list[str]:
        return [row[k] for row in self.cells]

    def first(self, k: int) -> list[str]:
        """Return a column's first cells that hold anything."""
        return _first(row[k] for row in self.cells)

    def number(self, cell: str) -> float | None:
        """Return the value of a cell, NaN if it is missing, ``None`` if it is something else."""
        text = cell.strip()
        if text.lower() in MISSING:
            return math.nan
        if self.decimal_commas and text.count(",") == 1 and "." not in text:
            text = text.replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            return None
        return value if math.isfinite(value) else math.nan


def read_table(
    path: str | Path, columns: tuple[str, ...] = (), time_column: str = "", rows: int = 0, period_s: float = 1.0
) -> Table:
    """Read a CSV file with a header line.

    What a column is, its first cells tell. A later cell that does not fit is missing, but an error in a column that is
    asked for.

    Args:
        path: comma, semicolon or tab separated; decimal commas are understood where the separator is another.
        columns: the channels; all numeric columns that are not known names of labels, if empty.
        time_column: name of the clock; found by its name or by holding dates, if empty.
        rows: how many rows from the start to use; all, if 0.
        period_s: time between rows without a clock.

    Raises:
        ConfigError: what the file lacks, and where.
    """
    file = _read(Path(path), rows)
    clock = _clock_column(file, time_column)
    names, x = _values(file, columns, clock)
    if clock is None:
        return Table(names, [], period_s * np.arange(len(x), dtype=np.float64), x)
    return Table(names, file.column(clock), _times(file, clock), x)


def _read(path: Path, rows: int) -> _File:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
            cells: list[list[str]] = []
            for row in csv.reader(file, delimiter=delimiter):
                if rows and len(cells) == rows:
                    break
                if any(row):
                    cells.append((row + [""] * len(header))[: len(header)])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{path}: can't be read: {error}"
        raise ConfigError(message) from None
    if not header or not cells:
        message = f"{path}: expected a header line and rows below it"
        raise ConfigError(message)
    repeated = next((name for k, name in enumerate(header) if name and name in header[:k]), None)
    if repeated:
        message = f"{path}: two columns are called {repeated!r}"
        raise ConfigError(message)
    return _File(path, header, cells, decimal_commas=delimiter != ",")


def _first(cells: Iterable[str]) -> list[str]:
    return list(islice((cell for cell in cells if cell.strip().lower() not in MISSING), FIRST))


def _clock_column(file: _File, asked: str) -> int | None:
    if asked:
        _check_known(file, asked)
        return file.header.index(asked)
    for k, name in enumerate(file.header):
        word = re.split("[^a-z]+", name.lower())[0]
        if (word in TIME_NAMES and _rises(file, k)) or _is_date(file, k):
            return k
    return None


def _check_known(file: _File, name: str) -> None:
    if name not in file.header:
        message = f"{file.path}: no column {name!r}; it has {', '.join(file.header)}"
        raise ConfigError(message)


def _is_date(file: _File, k: int) -> bool:
    text = next(iter(file.first(k)), "")
    return file.number(text) is None and bool(_date_formats([text]))


def _rises(file: _File, k: int) -> bool:
    """Return whether the first cells of a column are text or never fall, as a clock's; a ``t`` may be a temperature."""
    values = [file.number(cell) for cell in file.first(k)]
    if values and values[0] is None:
        return True
    known = [value for value in values if value is not None]
    return len(known) < 2 or (known[0] < known[-1] and all(a <= b for a, b in pairwise(known)))


def _values(file: _File, columns: tuple[str, ...], clock: int | None) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names and the values of the channels, NaN where missing."""
    for name in columns:
        _check_known(file, name)
    names = columns or tuple(
        name
        for k, name in enumerate(file.header)
        if not UNNAMED.fullmatch(name) and name.lower() not in NOT_CHANNELS and k != clock and _is_numeric(file, k)
    )
    names = tuple(name for name in names if file.header.index(name) != clock)
    if not names:
        message = f"{file.path}: no numeric column besides clocks and labels"
        raise ConfigError(message)
    return names, np.stack([_channel(file, name, asked=bool(columns)) for name in names], axis=1)


def _is_numeric(file: _File, k: int) -> bool:
    values = [file.number(cell) for cell in file.first(k)]
    return None not in values and any(value is not None and math.isfinite(value) for value in values)


def _channel(file: _File, name: str, *, asked: bool) -> NDArray[np.float64]:
    cells = file.column(file.header.index(name))
    numbers = [file.number(cell) for cell in cells]
    column = np.array(numbers, np.float64)  # None becomes NaN
    if asked and None in numbers:
        bad = numbers.index(None)
        message = f"{file.path}: column {name!r} row {bad + 1} is not a number: {cells[bad]!r}"
        raise ConfigError(message)
    if asked and not np.isfinite(column).any():
        message = f"{file.path}: column {name!r} holds no number"
        raise ConfigError(message)
    return column


def _date_formats(texts: list[str]) -> list[str]:
    """Return the formats that fit all texts; "" is ISO 8601."""
    return [form for form in ("", *TIME_FORMATS) if not any(math.isnan(_date(text, form)) for text in texts)]


def _date(text: str, form: str) -> float:
    """Return Unix seconds, NaN for what is not of the format."""
    try:
        date = datetime.strptime(text.strip(), form) if form else datetime.fromisoformat(text.strip())  # noqa: DTZ007
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _times(file: _File, k: int) -> NDArray[np.float64]:
    """Return Unix seconds, NaN where missing; a date without a zone is UTC; large numbers are milliseconds."""
    first = file.first(k)
    numbers = [file.number(text) for text in first]
    if first and None not in numbers:
        t = np.array([file.number(cell) for cell in file.column(k)], np.float64)
        return t / 1000.0 if np.nanmedian(np.array(numbers, np.float64)) > 1e11 else t
    forms = _date_formats(first) if first else []
    if not forms:
        message = f"{file.path}: times are not dates of a known format: {', '.join(first[:3]) or 'the column is empty'}"
        raise ConfigError(message)
    readings = (np.array([_date(cell, form) for cell in file.column(k)]) for form in forms)
    # day or month first, where the first rows leave it open: what is read as rising
    return min(readings, key=lambda t: (_falls(t[:FIRST]), _falls(t)))


def _falls(t: NDArray[np.float64]) -> int:
    """Return how often a time is not after the one before, or can't be read."""
    return int(np.count_nonzero(~(np.diff(t) >= 0.0)))
