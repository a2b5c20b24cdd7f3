"""Engine: weights and a state table; the one object that advances rows."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core import cpu
from edge_lstm.core.cache import close
from edge_lstm.core.handle import Handle
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
    new_state,
)
from edge_lstm.errors import StateError

WEEK_S = 604_800.0
WHOLE = (0, 1)
MANY = 100  # samples that are worth a thread: handing over takes 20 us, a sample 0.2 us or more


class Engine:
    """A table of rows under one set of weights.

    Args:
        weights: what was trained.
        capacity: rows to start with; the table grows by ``grow``.
        budget_s: each row may raise one alert in this many seconds by chance.
        threads: that share the rows of a large call.
    """

    def __init__(
        self, weights: Weights, capacity: int = 16, budget_s: float = WEEK_S, threads: int = 1,
    ) -> None:  # fmt: skip
        self.weights = weights
        self.budget_s = budget_s
        self.channels = len(weights.norms.mean)
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._room = 1  # samples that the results have room for
        self._hold(cpu.new_tables(weights, capacity, self._room))
        self.compile()

    def _hold(self, tables: cpu.Tables) -> None:
        """Let the kernels work on these tables."""
        self._tables = tables
        each = [tables, *(cpu.apart(tables) for _ in range(1, self.threads))]
        self._handles = [Handle(one, cpu.LIKE) for one in each]
        self._n, self._head = -1, self._tables.results  # what the last call wrote: the first so many

    @property
    def state(self) -> State:
        """The table; another one after ``grow``."""
        return self._tables.state

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
        self._hold(self._tables._replace(state=larger))

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
            StateError: a row is not in the table, or a shape or type does not fit.
        """
        n = len(rows)
        if n > self._room:
            self._room = max(n, 2 * self._room)
            self._hold(self._tables._replace(results=new_results(self._room, self.channels)))
        try:
            bad = self._run(rows, t, x, now, self.budget_s)
        except TypeError:  # numbers of other types than the kernel was compiled for
            bad = cpu.MISSHAPEN
        if bad != cpu.DONE:
            self._refuse(bad, rows, t, x)
        if n != self._n:
            self._n, self._head = n, self._tables.results.head(n)
        return self._head

    def _run(self, *samples: Any) -> int:
        """Advance in this thread, or, where there are many samples, in all."""
        if self._pool is None or len(samples[0]) < MANY * self.threads:
            return cpu.advance(self._handles[0].address, WHOLE, *samples)
        parts = [(handle.address, (i, self.threads)) for i, handle in enumerate(self._handles)]
        others = [self._pool.submit(cpu.advance, *part, *samples) for part in parts[1:]]
        mine = cpu.advance(*parts[0], *samples)
        return max(mine, *(other.result() for other in others))

    def _refuse(self, bad: int, rows: I64, t: F64, x: F64) -> None:
        if bad != cpu.MISSHAPEN:
            message = f"row {rows[bad]} in a table of {self.capacity}"
            raise StateError(message)
        found = ", ".join(f"{a.dtype} {a.shape}" for a in (rows, t, x))
        n, channels = len(rows), self.channels
        expected = f"int64 ({n},), float64 ({n},), float64 ({n}, {channels}), contiguous"
        raise StateError(f"rows, t, x are {found}, expected {expected}")

    def compile(self) -> None:
        """Compile (or load from the cache) everything that ``advance`` and ``silent`` will run."""
        rows, t = np.zeros(0, np.int64), np.zeros(0)
        cpu.advance(self._handles[0].address, WHOLE, rows, t, np.zeros((0, self.channels)), 0.0, self.budget_s)
        silent(self.state, 0, 0.0, 0.0, rows)
        close(cpu.advance)

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
