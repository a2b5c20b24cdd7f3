"""advance() over the rows of a table on the CPU.

Judge, step, forecast; the step takes several rows at a time, so that weights are read once for all.
"""

from typing import Any, NamedTuple

import numpy as np

from edge_lstm.core import network
from edge_lstm.core.advance import after, before
from edge_lstm.core.cache import jit, kernel
from edge_lstm.core.context import turn
from edge_lstm.core.dot import TILE
from edge_lstm.core.handle import fetcher
from edge_lstm.core.layers import Stack
from edge_lstm.core.lstm import Packed
from edge_lstm.core.network import Tile
from edge_lstm.core.silence import hear
from edge_lstm.core.smallest import smallest_layers, smallest_weights
from edge_lstm.core.table import (
    F32,
    F64,
    I64,
    NOTE_SINCE,
    Norms,
    Results,
    Scratch,
    State,
    Weights,
    new_results,
    new_scratch,
    new_state,
)

DONE, MISSHAPEN, NO_ROOM = -1, -2, -3
WHOLE = (0, 1)
SPAN = 64  # neighboring rows that one thread takes: their results share cache lines


class Copies(NamedTuple):
    """Room for the step of several copies of one row's state."""

    tile: Tile
    u: F32  # (R, I)
    out: F32  # (R, O)


class Tables(NamedTuple):
    """Everything that stays the same from call to call."""

    packed: Packed | Stack
    norms: Norms
    state: State
    tile: Tile
    copies: Copies
    scratch: Scratch
    results: Results


def new_tables(weights: Weights, rows: int, samples: int) -> Tables:
    """Return tables for ``rows`` fresh rows, with room for the results of ``samples``."""
    scratch = new_scratch(TILE, weights)
    return Tables(
        packed=network.pack(weights.network),
        norms=weights.norms,
        state=new_state(rows, weights),
        tile=network.new_tile(weights.network),
        copies=Copies(network.new_tile(weights.network), scratch.u.copy(), scratch.out.copy()),
        scratch=scratch,
        results=new_results(samples, len(weights.norms.mean)),
    )


def apart(tables: Tables) -> Tables:
    """Return the same tables for another thread, with room of its own for what is intermediate."""
    return tables._replace(tile=_copy(tables.tile), copies=_copy(tables.copies), scratch=_copy(tables.scratch))


def _copy(arrays: Any) -> Any:
    """Return a named tuple of copies of arrays, and of such tuples."""
    return arrays.copy() if isinstance(arrays, np.ndarray) else type(arrays)._make(map(_copy, arrays))


LIKE = new_tables(smallest_weights(), 1, 1)
LIKE_LAYERS = new_tables(smallest_weights()._replace(network=smallest_layers()), 1, 1)
_tables: Any = fetcher(LIKE)
_layers_tables: Any = fetcher(LIKE_LAYERS)


@jit
def _of(scratch: Scratch, r: int) -> Scratch:
    """Return the scratch space of row ``r`` of a tile."""
    return Scratch(scratch.u[r], scratch.out[r], scratch.note[r], scratch.x[r], scratch.e[r], scratch.blame[r])


@jit
def _stagger(tables: Tables, r: int) -> None:
    """Advance all copies of the state of a row of the tile; of them the oldest one's outputs count."""
    norms, state, scratch, copies = tables.norms, tables.state, tables.scratch, tables.copies
    row, layers = tables.tile.rows[r], state.h.shape[1] // norms.copies
    since = int(scratch.note[r, NOTE_SINCE])
    due, oldest = turn(norms, since)
    n = 0
    for k in range(norms.copies):  # the oldest one last
        copy = (oldest + 1 + k) % norms.copies
        first = copy * layers
        if copy == due or since == 0:
            network.start(tables.packed, state.h[row], state.c[row], first)
        copies.tile.rows[n] = row
        copies.tile.first[n] = first
        _fill(copies.u[n], scratch.u[r])
        n += 1
        if n == TILE or k == norms.copies - 1:
            network.step(tables.packed, state.h, state.c, copies.tile, n, copies.u, copies.out)
            _fill(scratch.out[r], copies.out[n - 1])
            n = 0


@jit
def _fill(to: F32, values: F32) -> None:
    for k in range(to.shape[0]):
        to[k] = values[k]


@jit
def _step(tables: Tables, n: int) -> None:
    """Let the network see the samples of the ``n`` rows in the tile, and forecast or judge by what it says."""
    norms, tile, state, scratch = tables.norms, tables.tile, tables.state, tables.scratch
    if norms.copies == 1:
        for r in range(n):
            if turn(norms, int(scratch.note[r, NOTE_SINCE]))[0] == 0:
                network.start(tables.packed, state.h[tile.rows[r]], state.c[tile.rows[r]], 0)
        network.step(tables.packed, state.h, state.c, tile, n, scratch.u, scratch.out)
    else:
        for r in range(n):
            _stagger(tables, r)
    for r in range(n):
        after(norms, state, tile.rows[r], _of(scratch, r), tables.results, tile.samples[r])


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


@jit
def _advance(
    tables: Tables, part: tuple[int, int], rows: I64, t: F64, x: F64, now: float, budget_s: float,
) -> int:  # fmt: skip
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


@kernel
def advance(
    handle: int, part: tuple[int, int], rows: I64, t: F64, x: F64, now: float, budget_s: float,
) -> int:  # fmt: skip
    """Take ``n`` samples into their rows, in order; a row may stand in ``rows`` many times.

    Args:
        handle: of ``Tables`` of a plain network.
        part: (i, p): of the rows, only the i-th of p parts; threads take one each.
        rows: (n,) row of each sample.
        t: (n,) event times, Unix seconds.
        x: (n, C) values.
        now: when they arrived, seconds on any steady clock; for the watch over silent streams.

    Returns:
        DONE; or why nothing was done: MISSHAPEN, NO_ROOM for the results, or the index of the first row that is not in
        the table.
    """
    return _advance(_tables(handle), part, rows, t, x, now, budget_s)


@kernel
def advance_layers(
    handle: int, part: tuple[int, int], rows: I64, t: F64, x: F64, now: float, budget_s: float,
) -> int:  # fmt: skip
    """Do what ``advance`` does, for a network of any layers."""
    return _advance(_layers_tables(handle), part, rows, t, x, now, budget_s)
