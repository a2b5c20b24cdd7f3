"""CSV files of normal operation, as sequences of samples. Standard library and NumPy only."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_lstm.errors import ConfigError
from edge_lstm.tables import read_table

GAP = 30.0  # periods; as in docs/numerics.md, section 3
SHORTEST = 40  # rows of a sequence


class Sequence(NamedTuple):
    """Samples in order, without a gap.

    Attributes:
        source: the file it comes from.
        t: float64 (n,), Unix seconds; or sample numbers, if the file has no clock.
        x: float64 (n, C), data units, finite.
    """

    source: str
    t: NDArray[np.float64]
    x: NDArray[np.float64]


class Recording(NamedTuple):
    """One file.

    Attributes:
        columns: names of the channels.
        has_clock: whether ``t`` is time and not a count.
        dropped: rows left out: repeated, out of order, before every channel had a value, or too few between two gaps.
    """

    columns: tuple[str, ...]
    has_clock: bool
    sequences: tuple[Sequence, ...]
    dropped: int

    def ordered(self, columns: tuple[str, ...]) -> "Recording":
        """Return the same with its channels in another order.

        Raises:
            ConfigError: it has other channels.
        """
        if sorted(columns) != sorted(self.columns):
            message = f"{self.sequences[0].source}: columns {self.columns}, but the first file has {columns}"
            raise ConfigError(message)
        order = [self.columns.index(name) for name in columns]
        return self._replace(columns=columns, sequences=tuple(s._replace(x=s.x[:, order]) for s in self.sequences))


def read_csv(path: str | Path, columns: tuple[str, ...] = (), time_column: str = "", rows: int = 0) -> Recording:
    """Read a CSV file with a header line.

    A missing value repeats the one before. A row whose time is not later than the one before is left out. The file is
    cut where more than 30 sampling periods are missing.

    Args:
        path: comma, semicolon or tab separated; decimal commas are understood where the separator is another.
        columns: the channels; all numeric columns that are not known names of labels, if empty.
        time_column: name of the clock; found by its name or by holding dates, if empty.
        rows: how many rows from the start to use; all, if 0.

    Raises:
        ConfigError: what the file lacks, and where.
    """
    table = read_table(path, columns, time_column, rows)
    names, t, x = table.columns, table.t, table.x
    x = _carry_forward(x)
    known = np.flatnonzero(np.isfinite(x).all(1) & np.isfinite(t))
    keep = known[t[known] > np.maximum.accumulate(np.r_[-np.inf, t[known]])[:-1]]
    sequences = _split(str(path), t[keep], x[keep])
    if not sequences:
        message = f"{path}: no {SHORTEST} usable rows in a row"
        raise ConfigError(message)
    return Recording(names, bool(table.clock), sequences, len(t) - sum(len(sequence.t) for sequence in sequences))


def _carry_forward(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``x`` with each NaN replaced by the value above it, where there is one."""
    last = np.maximum.accumulate(np.where(np.isnan(x), 0, np.arange(len(x))[:, None]), axis=0)
    return np.asarray(np.take_along_axis(x, last, axis=0))


def _split(source: str, t: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[Sequence, ...]:
    if len(t) < SHORTEST:
        return ()
    step = np.diff(t)
    cuts = np.flatnonzero(step > GAP * np.median(step)) + 1
    pieces = zip(np.split(t, cuts), np.split(x, cuts), strict=True)
    return tuple(Sequence(source, a, b) for a, b in pieces if len(a) >= SHORTEST)
