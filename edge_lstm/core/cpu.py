"""advance() over many rows on the CPU: judge, step, forecast; several rows at a time, so that weights are read once."""

from typing import Any, NamedTuple

from edge_lstm.core import lstm
from edge_lstm.core.advance import after, before
from edge_lstm.core.cache import jit, kernel
from edge_lstm.core.dot import TILE
from edge_lstm.core.handle import fetcher
from edge_lstm.core.lstm import Packed, Tile
from edge_lstm.core.silence import hear
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

DONE, MISSHAPEN = -1, -2
SPAN = 64  # neighboring rows that one thread takes: their results share cache lines


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


@kernel
def advance(
    handle: int, part: tuple[int, int], rows: I64, t: F64, x: F64, now: float, budget_s: float,
) -> int:  # fmt: skip
    """Take ``n`` samples into their rows, in order; a row may stand in ``rows`` many times.

    Args:
        handle: of ``Tables``, with room for the results.
        part: (i, p): of the rows, only the i-th of p parts; threads take one each.
        rows: (n,) row of each sample.
        t: (n,) event times, Unix seconds.
        x: (n, C) values.
        now: when they arrived, seconds on any steady clock; for the watch over silent streams.

    Returns:
        DONE; or why nothing was done: MISSHAPEN, or the index of the first row that is not in the table.
    """
    tables = _tables(handle)
    norms, state, tile, results = tables.norms, tables.state, tables.tile, tables.results
    if t.shape[0] != rows.shape[0] or x.shape != (rows.shape[0], norms.mean.shape[0]):
        return MISSHAPEN
    for k in range(rows.shape[0]):
        if not 0 <= rows[k] < state.row.shape[0]:
            return k
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
