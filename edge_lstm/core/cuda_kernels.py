"""The kernels of the CUDA table: tiles of rows through judge, step and forecast (docs/numerics.md)."""

from functools import cache
from typing import Any, NamedTuple

import numba
import numba.cuda
import numpy as np
from numba import int16, int32, int64

from edge_lstm.core.advance import after, before
from edge_lstm.core.cuda_step import GROUP, Memory, Packed, natural, step
from edge_lstm.core.silence import falls_silent, hear
from edge_lstm.core.table import F32, F64, I8, I64, Norms, Results, Scratch, State

cuda: Any = numba.cuda
config: Any = numba.config
device: Any = cuda.jit(device=True)
ROWS = 64  # most rows of a tile
TILE_SLOTS = ROWS + GROUP  # a thread takes whole groups; what is beyond the tile is never live


class Batch(NamedTuple):
    """The samples of a call by row, the rows with the most samples first."""

    rows: I64  # (groups,)
    first: I64  # (groups,) where in ``order`` the samples of the row begin
    length: I64  # (groups,) how many they are
    order: I64  # (n,) samples, row by row, each row's in order
    t: F64  # (n,)
    x: F64  # (n, C)


def jit(function: Any) -> Any:
    """Return a kernel; with link-time optimization another compiler would write it than the one that tests look at."""
    # lto is lost where cuda.jit is called with options only
    return cuda.jit(function) if config.ENABLE_CUDASIM else cuda.jit(function, lto=False)


@device
def _share(network: Packed, shared: Any) -> int:
    """Copy the weights to shared memory; return where it is free, in words of four activations."""
    n = network.words.shape[0]
    for i in range(cuda.threadIdx.x, n, cuda.blockDim.x):
        shared[i] = network.words[i]
    return (n + 1) // 2


@device
def _clear(live: Any) -> None:
    for r in range(cuda.threadIdx.x, TILE_SLOTS, cuda.blockDim.x):
        live[r] = 0


@device
def own_scratch(scratch: Scratch, i: int) -> Scratch:
    """Return the scratch space of thread ``i`` of the grid."""
    return Scratch(scratch.u[i], scratch.out[i], scratch.note[i], scratch.x[i], scratch.e[i], scratch.blame[i])


@device
def _samples(batch: Batch, i: int, groups: int, tile: int, rows: Any) -> int:
    """Note the row of this thread, group ``i``; return how many samples it has, none if it is beyond the tile."""
    me = cuda.threadIdx.x
    if me >= tile or i >= groups:
        return 0
    rows[me] = batch.rows[i]
    return batch.length[i]


@device
def take(
    norms: Norms, state: State, batch: Batch, row: int, k: int,
    now: float, budget_s: float, own: Scratch, results: Results,
) -> bool:  # fmt: skip
    """Take sample ``k`` up to the step; return whether it is scored."""
    results.silence[k] = hear(state, row, now)
    return before(norms, state, row, batch.t[k], batch.x[k], budget_s, own, results, k)


@cache
def advance_kernel(resident: bool) -> Any:
    """Return the kernel that takes a batch; ``resident`` weights are copied to shared memory."""

    def advance(
        network: Packed, norms: Norms, state: State, batch: Batch, groups: int, tile: int,
        now: float, budget_s: float, scratch: Scratch, results: Results,
    ) -> None:  # fmt: skip
        """A block takes tile after tile; in it a thread judges one row, and all threads step the tile together."""
        shared = cuda.shared.array(0, int32)
        quads = cuda.shared.array(0, int64)
        shorts = cuda.shared.array(0, int16)
        rows = cuda.shared.array(TILE_SLOTS, int32)
        live = cuda.shared.array(TILE_SLOTS, int32)
        words, start = network.words, 0
        if resident:
            start = _share(network, shared)
            words = shared
        _clear(live)
        memory = Memory(words, quads, shorts, start, tile + 1, rows, live)
        me, base = cuda.threadIdx.x, cuda.blockIdx.x * cuda.blockDim.x
        own = own_scratch(scratch, base + me)
        for begin in range(cuda.blockIdx.x * tile, groups, cuda.gridDim.x * tile):
            i = natural(begin + me)
            length = _samples(batch, i, groups, tile, rows)
            s = 0
            count = cuda.syncthreads_count(np.int32(s < length))
            while count > 0:  # the rows that have a sample left are the first ones of the tile
                row, k, scored = natural(0), natural(0), False
                if s < length:
                    row, k = natural(batch.rows[i]), natural(batch.order[natural(batch.first[i] + s)])
                    scored = take(norms, state, batch, row, k, now, budget_s, own, results)
                if me < tile:
                    live[me] = np.int32(scored)
                cuda.syncthreads()
                step(network, memory, state.h, state.c, scratch.u, scratch.out, base, count)
                if scored:
                    after(norms, state, row, own, results, k)
                s += 1
                count = cuda.syncthreads_count(np.int32(s < length))

    return jit(advance)


@cache
def step_kernel(resident: bool) -> Any:
    """Return the kernel that runs the network alone, row ``i`` of ``h`` and ``c`` on row ``i`` of ``u``; to measure."""

    def steps(network: Packed, h: F32, c: F32, u: F32, out: F32, tile: int) -> None:
        """A block takes tile after tile."""
        shared = cuda.shared.array(0, int32)
        quads = cuda.shared.array(0, int64)
        shorts = cuda.shared.array(0, int16)
        rows = cuda.shared.array(TILE_SLOTS, int32)
        live = cuda.shared.array(TILE_SLOTS, int32)
        words, start = network.words, 0
        if resident:
            start = _share(network, shared)
            words = shared
        _clear(live)
        memory = Memory(words, quads, shorts, start, tile + 1, rows, live)
        for begin in range(cuda.blockIdx.x * tile, h.shape[0], cuda.gridDim.x * tile):
            count = min(tile, h.shape[0] - begin)
            cuda.syncthreads()
            for r in range(cuda.threadIdx.x, tile, cuda.blockDim.x):
                rows[r] = begin + r
                live[r] = 1 if r < count else 0
            cuda.syncthreads()
            step(network, memory, h, c, u, out, begin, count)

    return jit(steps)


@jit
def silent(state: State, used: int, now: float, shortest_s: float, found: I8) -> None:
    """Mark the rows among the first ``used`` that have newly been silent too long."""
    row = cuda.grid(1)
    if row < used:
        found[row] = 1 if falls_silent(state, row, now, shortest_s) else 0
