"""Engine: weights and a state table, on the CPU or on a CUDA device; the one object that advances rows."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core.cpu import CpuTable
from edge_lstm.core.cpu_kernels import DONE, MISSHAPEN
from edge_lstm.core.table import (
    ARRIVED,
    DOUBT,
    F64,
    I64,
    REASON,
    REASONS,
    ROW_COLUMNS,
    SILENT_SINCE,
    Results,
    State,
    Weights,
    new_state,
)
from edge_lstm.errors import StateError

WEEK_S = 604_800.0
STILL_SILENT = 1e-9  # since before any clock of this process began
Device = Literal["cpu", "cuda"]
Arrays = dict[str, NDArray[np.float32] | NDArray[np.float64]]


class Engine:
    """A table of rows under one set of weights, for one thread at a time; its kernels are compiled when it is made.

    Args:
        weights: what was trained.
        capacity: rows to start with; the table grows by ``grow``.
        budget_s: each row may raise one alert in this many seconds by chance.
        device: where the table is.
        threads: that share the rows of a large call on the CPU.

    Raises:
        StateError: there is no CUDA device.
    """

    def __init__(
        self, weights: Weights, capacity: int = 16, budget_s: float = WEEK_S,
        device: Device = "cpu", threads: int = 1,
    ) -> None:  # fmt: skip
        self.weights = weights
        self.channels = len(weights.norms.mean)
        self._table = _table(weights, capacity, budget_s, device, threads)
        self._table.compile()

    @property
    def device(self) -> Device:
        """Where the table is, ``cpu`` or ``cuda``."""
        return "cpu" if isinstance(self._table, CpuTable) else "cuda"

    @property
    def state(self) -> State:
        """The table, another one after ``grow``; of a device, a copy."""
        state: State = self._table.state
        return state

    @property
    def capacity(self) -> int:
        """Rows in the table."""
        return int(self._table.capacity)

    def grow(self, capacity: int) -> None:
        """Make the table at least ``capacity`` rows long; rows keep their places."""
        if capacity > self.capacity:
            self._table.grow(capacity)

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
        bad = self._table.advance(rows, t, x, now)
        if bad != DONE:
            self._refuse(bad, rows, t, x)
        results: Results = self._table.results(len(rows))
        return results

    def _refuse(self, bad: int, rows: I64, t: F64, x: F64) -> None:
        if bad != MISSHAPEN:
            message = f"row {rows[bad]} in a table of {self.capacity}"
            raise StateError(message)
        found = ", ".join(f"{a.dtype} {a.shape}" for a in (rows, t, x))
        n, channels = len(rows), self.channels
        expected = f"int64 ({n},), float64 ({n},), float64 ({n}, {channels}), contiguous and writable"
        raise StateError(f"rows, t, x are {found}, expected {expected}")

    def silent(self, used: int, now: float, shortest_s: float) -> I64:
        """Return the rows among the first ``used`` that have newly stopped talking."""
        rows: I64 = self._table.silent(used, now, shortest_s)
        return rows

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows ``start`` to ``stop`` of an array of ``State``, to be looked at only."""
        rows: NDArray[Any] = self._table.read(name, start, stop)
        return rows

    def reset(self, row: int) -> None:
        """Make ``row`` as fresh as a new one."""
        for name, fresh in new_state(1, self.weights)._asdict().items():
            self._table.write(name, row, fresh)

    def doubt(self, used: int) -> None:
        """Note that samples of the first ``used`` rows may have been missed (docs/numerics.md, section 8)."""
        row = self.read("row", 0, used).copy()
        row[:, DOUBT] = max(self.weights.norms.settle, 1.0)
        self._table.write("row", 0, row)

    def snapshot(self, used: int) -> Arrays:
        """Return a copy of the first ``used`` rows, by the names of ``State``."""
        return {name: np.array(self.read(name, 0, used)) for name in State._fields}

    def restore(self, arrays: Arrays) -> None:
        """Put a snapshot's rows back to where they were.

        Arrival times are of a clock that may have stopped since, so they start anew; a silence goes on.

        Raises:
            StateError: an array is missing, has another dtype or shape, or is not finite.
        """
        if set(arrays) != set(State._fields):
            message = f"state has {sorted(arrays)}, expected {sorted(State._fields)}"
            raise StateError(message)
        used = arrays["row"].size // ROW_COLUMNS
        for name, fresh in new_state(1, self.weights)._asdict().items():
            array, expected = arrays[name], (used, *fresh.shape[1:])
            if array.shape != expected or array.dtype != fresh.dtype:
                message = f"state.{name} is {array.dtype} {array.shape}, expected {fresh.dtype} {expected}"
                raise StateError(message)
            if not np.isfinite(array).all():
                message = f"state.{name} has a value that is not finite"
                raise StateError(message)
        if not np.isin(arrays["row"][:, REASON], range(len(REASONS))).all():
            raise StateError("state.row has an alert of no known reason")
        self.grow(used)
        row = arrays["row"].copy()
        row[:, ARRIVED] = 0.0
        row[:, SILENT_SINCE] = np.where(row[:, SILENT_SINCE] > 0.0, STILL_SILENT, 0.0)
        for name, array in (arrays | {"row": row}).items():
            self._table.write(name, 0, array)


def cuda_is_there() -> bool:
    """Return whether there is a CUDA device, and what it takes to use it."""
    import numba.cuda as cuda  # only here: it takes its time, and there is rarely a device

    return bool(cuda.is_available())


def _table(weights: Weights, capacity: int, budget_s: float, device: Device, threads: int) -> Any:
    """Return the table where it is wanted."""
    if device == "cpu":
        return CpuTable(weights, capacity, budget_s, threads)
    if not cuda_is_there():
        raise StateError("device 'cuda': there is no CUDA device, or the extra 'cuda' is not installed; use 'cpu'")
    from edge_lstm.core.cuda import CudaTable

    return CudaTable(weights, capacity, budget_s)
