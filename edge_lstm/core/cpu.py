"""A state table in this machine's memory."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core.cache import close
from edge_lstm.core.cpu_kernels import (
    LIKE,
    LIKE_LAYERS,
    MISSHAPEN,
    NO_ROOM,
    WHOLE,
    Tables,
    advance,
    advance_layers,
    apart,
    new_tables,
)
from edge_lstm.core.handle import Handle
from edge_lstm.core.silence import silent
from edge_lstm.core.table import F64, I64, Network, Results, State, Weights, new_results, new_state

MANY = 100  # samples that are worth a thread: handing over takes 26 us, a sample 0.2 us or more


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
        plain = isinstance(weights.network, Network)
        self._advance, self._like = (advance, LIKE) if plain else (advance_layers, LIKE_LAYERS)
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
        self._handles = [Handle(one, self._like) for one in each]
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
            return self._advance(handles[0].address, WHOLE, *samples)
        parts = [(handle.address, (i, self._threads)) for i, handle in enumerate(handles)]
        others = [self._pool.submit(self._advance, *part, *samples) for part in parts[1:]]
        try:
            mine = self._advance(*parts[0], *samples)
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
        close(self._advance)

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
