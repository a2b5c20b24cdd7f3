"""A state table in this machine's memory, and advance() over its rows on the CPU.

Judge, step, forecast; the step takes several rows at a time, so that weights are read once for all.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core import lstm
from edge_lstm.core.advance import after, before
from edge_lstm.core.cache import close, jit, kernel
from edge_lstm.core.dot import TILE
from edge_lstm.core.handle import Handle, fetcher
from edge_lstm.core.lstm import Packed, Tile
from edge_lstm.core.silence import hear, silent
from edge_lstm.core.table import (
    F64,
    I64,
    Norms,
    Results,
    Scratch,
    State,
    Weights,
    new_results,
    new_scratch,
    new_state,
    smallest_weights,
)

DONE, MISSHAPEN, NO_ROOM = -1, -2, -3
WHOLE = (0, 1)
SPAN = 64  # neighboring rows that one thread takes: their results share cache lines
MANY = 100  # samples that are worth a thread: handing over takes 26 us, a sample 0.2 us or more


class Tables(NamedTuple):
    """Everything that stays the same from call to call."""

    packed: Packed
    norms: Norms
    state: State
    tile: Tile
    scratch: Scratch
    results: Results


def new_tables(weights: Weights, rows: int, samples: int) -> Tables:
    """Return tables for ``rows`` fresh rows, with room for the results of ``samples``."""
    return Tables(
        packed=lstm.pack(weights.network),
        norms=weights.norms,
        state=new_state(rows, weights),
        tile=lstm.new_tile(weights.network),
        scratch=new_scratch(TILE, weights),
        results=new_results(samples, len(weights.norms.mean)),
    )


def apart(tables: Tables) -> Tables:
    """Return the same tables for another thread, with room of its own for what is intermediate."""
    tile = Tile._make(array.copy() for array in tables.tile)
    return tables._replace(tile=tile, scratch=Scratch._make(array.copy() for array in tables.scratch))


LIKE = new_tables(smallest_weights(), 1, 1)
_tables: Any = fetcher(LIKE)


@jit
def _of(scratch: Scratch, r: int) -> Scratch:
    """Return the scratch space of row ``r`` of a tile."""
    return Scratch(scratch.u[r], scratch.out[r], scratch.x[r], scratch.e[r], scratch.blame[r])


@jit
def _step(tables: Tables, n: int) -> None:
    """Let the network see the samples of the ``n`` rows in the tile, and forecast their next ones."""
    tile, state, scratch = tables.tile, tables.state, tables.scratch
    lstm.step(tables.packed, state.h, state.c, tile, n, scratch.u, scratch.out)
    for r in range(n):
        after(tables.norms, state, tile.rows[r], _of(scratch, r), tables.results, tile.samples[r])


@jit
def _waits(tile: Tile, n: int, row: int) -> bool:
    """Tell whether a row already stands in the tile."""
    for r in range(n):  # noqa: SIM110  jitted: no generators
        if tile.rows[r] == row:
            return True
    return False


@jit
def _check(tables: Tables, rows: I64, t: F64, x: F64) -> int:
    """Return DONE, or what is wrong with the samples of a call, before anything is touched."""
    if t.shape[0] != rows.shape[0] or x.shape != (rows.shape[0], tables.norms.mean.shape[0]):
        return MISSHAPEN
    if tables.results.outcome.shape[0] < rows.shape[0]:
        return NO_ROOM
    for k in range(rows.shape[0]):
        if not 0 <= rows[k] < tables.state.row.shape[0]:
            return k
    return DONE


@kernel
def advance(
    handle: int, part: tuple[int, int], rows: I64, t: F64, x: F64, now: float, budget_s: float,
) -> int:  # fmt: skip
    """Take ``n`` samples into their rows, in order; a row may stand in ``rows`` many times.

    Args:
        handle: of ``Tables``.
        part: (i, p): of the rows, only the i-th of p parts; threads take one each.
        rows: (n,) row of each sample.
        t: (n,) event times, Unix seconds.
        x: (n, C) values.
        now: when they arrived, seconds on any steady clock; for the watch over silent streams.

    Returns:
        DONE; or why nothing was done: MISSHAPEN, NO_ROOM for the results, or the index of the first row that is not in
        the table.
    """
    tables = _tables(handle)
    code = _check(tables, rows, t, x)
    if code != DONE:
        return code
    norms, state, tile, results = tables.norms, tables.state, tables.tile, tables.results
    n = 0
    for k in range(rows.shape[0]):
        row = rows[k]
        if part[1] > 1 and (row // SPAN) % part[1] != part[0]:
            continue
        if n == TILE or _waits(tile, n, row):
            _step(tables, n)
            n = 0
        results.silence[k] = hear(state, row, now)
        if before(norms, state, row, t[k], x[k], budget_s, _of(tables.scratch, n), results, k):
            tile.rows[n] = row
            tile.samples[n] = k
            n += 1
    _step(tables, n)
    return DONE


class CpuTable:
    """A state table and the kernels that work on it.

    Args:
        weights: what was trained.
        capacity: rows to start with.
        budget_s: each row may raise one alert in this many seconds by chance.
        threads: that share the rows of a large call; a process that forks makes its tables afterwards.
    """

    def __init__(self, weights: Weights, capacity: int, budget_s: float, threads: int = 1) -> None:
        self.weights = weights
        self.budget_s = float(budget_s)  # the first call's types are those that the kernel is compiled for
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._hold(new_tables(weights, capacity, 1))

    def __reduce__(self) -> Any:
        return _copied, (self.weights, self.budget_s, self._threads, self.state)

    def _hold(self, tables: Tables) -> None:
        """Let the kernels work on these tables."""
        self._tables = tables
        each = [tables, *(apart(tables) for _ in range(1, self._threads))]
        self._handles = [Handle(one, LIKE) for one in each]
        self._n, self._head = -1, tables.results  # what the last call wrote: the first so many

    @property
    def state(self) -> State:
        """The table; another one after ``grow``."""
        return self._tables.state

    @property
    def capacity(self) -> int:
        """Rows in the table."""
        return len(self.state.row)

    def grow(self, capacity: int) -> None:
        """Make the table ``capacity`` rows long; rows keep their places."""
        larger = new_state(capacity, self.weights)
        for new, old in zip(larger._asdict().values(), self.state._asdict().values(), strict=True):
            new[: len(old)] = old
        self._hold(self._tables._replace(state=larger))

    def advance(self, rows: I64, t: F64, x: F64, now: float) -> int:
        """Take samples as the kernel does; return what it returns."""
        samples = rows, t, x, float(now), self.budget_s
        try:
            while (code := self._run(*samples)) == NO_ROOM:
                room = max(len(rows), 2 * len(self._tables.results.outcome))
                self._hold(self._tables._replace(results=new_results(room, len(self.weights.norms.mean))))
        except TypeError:  # numbers of other types than the kernel was compiled for
            return MISSHAPEN
        return code

    def _run(self, *samples: Any) -> int:
        """Run the kernel in this thread, or, where there are many samples, in all."""
        handles = self._handles  # they, and what they hold, live until the kernels are done
        if self._pool is None or len(samples[0]) < MANY * self._threads:
            return advance(handles[0].address, WHOLE, *samples)
        parts = [(handle.address, (i, self._threads)) for i, handle in enumerate(handles)]
        others = [self._pool.submit(advance, *part, *samples) for part in parts[1:]]
        try:
            mine = advance(*parts[0], *samples)
        finally:
            wait(others)
        return max(mine, *(other.result() for other in others))

    def results(self, n: int) -> Results:
        """Return views of what became of the ``n`` samples of the last call."""
        if n != self._n:
            self._n, self._head = n, self._tables.results.head(n)
        return self._head

    def silent(self, used: int, now: float, shortest_s: float) -> I64:
        """Return the rows among the first ``used`` that have newly stopped talking."""
        found = np.zeros(used, np.int64)
        return found[: silent(self.state, used, now, shortest_s, found)]

    def compile(self) -> None:
        """Compile (or load from the cache) all kernels, for the types that they will get and no others."""
        rows, t = np.zeros(0, np.int64), np.zeros(0)
        self.advance(rows, t, np.zeros((0, len(self.weights.norms.mean))), 0.0)
        self.silent(0, 0.0, 0.0)
        close(advance)

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows ``start`` to ``stop`` of an array of ``State``, to be looked at only."""
        array: NDArray[Any] = getattr(self.state, name)
        return array[start:stop]

    def write(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Set the rows of an array of ``State`` from ``start`` on."""
        getattr(self.state, name)[start : start + len(values)] = values


def _copied(weights: Weights, budget_s: float, threads: int, state: State) -> CpuTable:
    """Return a table with these rows; addresses and packed weights are of this process and this CPU."""
    table = CpuTable(weights, 0, budget_s, threads)
    table._hold(table._tables._replace(state=state))
    return table
