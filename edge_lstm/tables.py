"""CSV files as columns of numbers: what ``replay`` and ``fit`` read. Standard library and NumPy only."""

import csv
import math
import re
from datetime import UTC, datetime
from itertools import pairwise
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
FIRST = 30  # rows that tell a clock by


class Table(NamedTuple):
    """One file.

    Attributes:
        columns: names of the channels.
        clock: the cells of the time column as they stand; empty if there is none.
        t: float64 (n,), Unix seconds, NaN where missing; row numbers without a time column.
        x: float64 (n, C), data units, NaN where missing.
    """

    columns: tuple[str, ...]
    clock: list[str]
    t: NDArray[np.float64]
    x: NDArray[np.float64]


def read_table(path: str | Path, columns: tuple[str, ...] = (), time_column: str = "", rows: int = 0) -> Table:
    """Read a CSV file with a header line.

    Args:
        path: comma, semicolon or tab separated; decimal commas are understood where the separator is another.
        columns: the channels; all numeric columns that are not known names of labels, if empty.
        time_column: name of the clock; found by its name or by holding dates, if empty.
        rows: how many rows from the start to use; all, if 0.

    Raises:
        ConfigError: what the file lacks, and where.
    """
    header, cells = _cells(Path(path), rows)
    clock = _clock_column(path, header, cells, time_column)
    names, x = _values(path, header, cells, columns, clock)
    if clock is None:
        return Table(names, [], np.arange(len(x), dtype=np.float64), x)
    texts = [row[clock] for row in cells]
    return Table(names, texts, _times(path, texts), x)


def _cells(path: Path, rows: int) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows, all of one width."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            header = next(csv.reader([first], delimiter=delimiter), [])
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
    return [name.strip() for name in header], cells


def _clock_column(path: str | Path, header: list[str], cells: list[list[str]], asked: str) -> int | None:
    if asked:
        if asked not in header:
            message = f"{path}: no column {asked!r}; it has {', '.join(header)}"
            raise ConfigError(message)
        return header.index(asked)
    for k, name in enumerate(header):
        word = re.split("[^a-z]+", name.lower())[0]
        if (word in TIME_NAMES and _rises(cells, k)) or _is_date(cells[0][k]):
            return k
    return None


def _is_date(text: str) -> bool:
    return not _number(text)[1] and _date_format([text]) is not None


def _rises(cells: list[list[str]], k: int) -> bool:
    """Return whether the first cells of a column are text or never fall, as a clock's; a ``t`` may be a temperature."""
    values = [_number(row[k]) for row in cells[:FIRST]]
    if not values[0][1]:
        return True
    known = [value for value, _ in values if not math.isnan(value)]
    return len(known) < 2 or (known[0] < known[-1] and all(a <= b for a, b in pairwise(known)))


def _values(
    path: str | Path, header: list[str], cells: list[list[str]], columns: tuple[str, ...], clock: int | None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names and the values of the channels, NaN where missing."""
    unknown = [name for name in columns if name not in header]
    if unknown:
        message = f"{path}: no column {unknown[0]!r}; it has {', '.join(header)}"
        raise ConfigError(message)
    names, values = [], []
    for name in columns or header:
        k = header.index(name)
        if k == clock or (not columns and name.lower() in NOT_CHANNELS):
            continue
        numbers = [_number(row[k]) for row in cells]
        bad = next((row for row, (_, good) in enumerate(numbers) if not good), None)
        column = np.array([value for value, _ in numbers])
        if bad is None and np.isfinite(column).any():
            names.append(name)
            values.append(column)
        elif columns:
            what = "holds no number" if bad is None else f"row {bad + 1} is not a number: {cells[bad][k]!r}"
            message = f"{path}: column {name!r} {what}"
            raise ConfigError(message)
    if not names:
        message = f"{path}: no numeric column besides clocks and labels"
        raise ConfigError(message)
    return tuple(names), np.stack(values, axis=1)


def _number(cell: str) -> tuple[float, bool]:
    """Return the value, NaN if missing, and whether the cell is a number or missing at all."""
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan, True
    try:
        value = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return math.nan, False
    return (value if math.isfinite(value) else math.nan), True


def _date_format(texts: list[str]) -> str | None:
    """Return the first format that fits all, with later texts being later times; "" is ISO 8601."""
    for form in ("", *TIME_FORMATS):
        try:
            times = [_date(text, form) for text in texts]
        except ValueError:
            continue
        if all(a <= b for a, b in pairwise(times)):
            return form
    return None


def _date(text: str, form: str) -> float:
    date = datetime.strptime(text.strip(), form) if form else datetime.fromisoformat(text.strip())  # noqa: DTZ007
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _times(path: str | Path, texts: list[str]) -> NDArray[np.float64]:
    """Return Unix seconds, NaN where missing; a date without a zone is UTC; large numbers are milliseconds."""
    numbers = [_number(text) for text in texts]
    if all(good for _, good in numbers):
        t = np.array([value for value, _ in numbers])
        return t / 1000.0 if np.nanmedian(t) > 1e11 else t
    form = _date_format(texts)
    if form is None:  # out of order somewhere, or not dates: let the first row decide
        form = _date_format(texts[:1])
    try:
        if form is None:
            raise ValueError(texts[0])
        return np.array([_date(text, form) for text in texts])
    except ValueError as error:
        message = f"{path}: times are not dates of a known format: {error}"
        raise ConfigError(message) from None
