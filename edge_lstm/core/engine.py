"""Engine: weights and a state table; the one object that advances rows."""

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core import cpu
from edge_lstm.core.silence import silent
from edge_lstm.core.table import (
    ARRIVED,
    F64,
    I64,
    SILENT_SINCE,
    Results,
    State,
    Weights,
    new_results,
    new_scratch,
    new_state,
)
from edge_lstm.errors import StateError

WEEK_S = 604_800.0


class Engine:
    """A table of rows under one set of weights.

    Args:
        weights: what was trained.
        capacity: rows to start with; the table grows by ``grow``.
        budget_s: each row may raise one alert in this many seconds by chance.
    """

    def __init__(self, weights: Weights, capacity: int = 16, budget_s: float = WEEK_S) -> None:
        self.weights = weights
        self.budget_s = budget_s
        self.state = new_state(capacity, weights)
        self.channels = len(weights.head_bias) // 2
        self._scratch = new_scratch(weights)
        self._results = new_results(1, self.channels)

    @property
    def capacity(self) -> int:
        """Rows in the table."""
        return len(self.state.row)

    def grow(self, capacity: int) -> None:
        """Make the table at least ``capacity`` rows long; rows keep their places."""
        if capacity <= self.capacity:
            return
        larger = new_state(capacity, self.weights)
        for new, old in zip(larger._asdict().values(), self.state._asdict().values(), strict=True):
            new[: len(old)] = old
        self.state = larger

    def advance(self, rows: I64, t: F64, x: F64, now: float = 0.0) -> Results:
        """Take ``n`` samples into their rows, in order, in one jitted call.

        Args:
            rows: (n,) int64, each below ``capacity``.
            t: (n,) event times, Unix seconds.
            x: (n, C) values in data units, NaN where missing.
            now: arrival, seconds on a steady clock; 0 keeps the watch over silence off.

        Returns:
            Views, overwritten by the next call.

        Raises:
            StateError: a row is not in the table, or the shapes do not fit.
        """
        n = len(rows)
        if t.shape != (n,) or x.shape != (n, self.channels):
            message = f"{n} rows with t {t.shape} and x {x.shape}, expected t ({n},) and x ({n}, {self.channels})"
            raise StateError(message)
        if n and not (rows.min() >= 0 and rows.max() < self.capacity):
            message = f"rows {rows.min()} to {rows.max()} in a table of {self.capacity}"
            raise StateError(message)
        if n > len(self._results.outcome):
            self._results = new_results(max(n, 2 * len(self._results.outcome)), self.channels)
        cpu.advance(self.weights, self.state, rows, t, x, now, self.budget_s, self._scratch, self._results)
        return self._results.head(n)

    def compile(self) -> None:
        """Compile (or load from the cache) everything that ``advance`` and ``silent`` will run."""
        rows, t = np.zeros(0, np.int64), np.zeros(0)
        cpu.advance(
            self.weights, self.state, rows, t, np.zeros((0, self.channels)),
            0.0, self.budget_s, self._scratch, self._results,
        )  # fmt: skip
        silent(self.state, 0, 0.0, 0.0, rows)

    def silent(self, used: int, now: float, shortest_s: float) -> NDArray[np.int64]:
        """Return the rows among the first ``used`` that have newly stopped talking."""
        found = np.zeros(used, np.int64)
        return found[: silent(self.state, used, now, shortest_s, found)]

    def reset(self, row: int) -> None:
        """Make ``row`` as fresh as a new one."""
        for array in self.state._asdict().values():
            array[row] = 0

    def snapshot(self, used: int) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
        """Return a copy of the first ``used`` rows, by the names of ``State``."""
        return {name: array[:used].copy() for name, array in self.state._asdict().items()}

    def restore(self, arrays: dict[str, NDArray[np.float32] | NDArray[np.float64]]) -> None:
        """Put a snapshot's rows back to where they were.

        Arrival times are of a clock that may have stopped since, so they start anew.

        Raises:
            StateError: an array is missing, has another dtype or shape, or is not finite.
        """
        if set(arrays) != set(State._fields):
            message = f"state has {sorted(arrays)}, expected {sorted(State._fields)}"
            raise StateError(message)
        used = arrays["row"].size // self.state.row.shape[1]
        for name, own in self.state._asdict().items():
            array = arrays[name]
            expected = (used, *own.shape[1:])
            if array.shape != expected or array.dtype != own.dtype:
                message = f"state.{name} is {array.dtype} {array.shape}, expected {own.dtype} {expected}"
                raise StateError(message)
            if not np.isfinite(array).all():
                message = f"state.{name} has a value that is not finite"
                raise StateError(message)
        self.grow(used)
        for name, own in self.state._asdict().items():
            own[:used] = arrays[name]
        self.state.row[:used, ARRIVED] = 0.0
        self.state.row[:used, SILENT_SINCE] = 0.0
