"""The kernel of the CUDA table for networks of any layers, and for copies of the state: a thread takes a row."""

from typing import Any

import numba.cuda

from edge_lstm.core import stack
from edge_lstm.core.advance import after
from edge_lstm.core.context import turn
from edge_lstm.core.cuda_kernels import Batch, jit, own_scratch, take
from edge_lstm.core.cuda_step import natural
from edge_lstm.core.layers import Room, Rooms, Stack
from edge_lstm.core.table import NOTE_SINCE, Norms, Results, Scratch, State

cuda: Any = numba.cuda
device: Any = cuda.jit(device=True)


@device
def _step(network: Stack, norms: Norms, state: State, row: int, own: Scratch, room: Room) -> None:
    """Advance all copies of a row's state, the oldest one last: its outputs stay."""
    since = int(own.note[NOTE_SINCE])
    due, oldest = turn(norms, since)
    h, c = state.h[row], state.c[row]
    for k in range(1, norms.copies + 1):
        copy = (oldest + k) % norms.copies
        first = copy * network.cells
        if copy == due or since == 0:
            stack.start(network, h, c, first)
        stack.step(network, h, c, first, own.u, own.out, room)


@jit
def advance_layers(
    network: Stack, norms: Norms, state: State, batch: Batch, groups: int,
    now: float, budget_s: float, scratch: Scratch, rooms: Rooms, results: Results,
) -> None:  # fmt: skip
    """Take a batch; thread after thread a row, its samples in order."""
    me = cuda.grid(1)
    own = own_scratch(scratch, me)
    room = stack.room_of(rooms, me)
    for i in range(me, groups, cuda.gridsize(1)):
        row, first = natural(batch.rows[i]), batch.first[i]
        for s in range(batch.length[i]):
            k = natural(batch.order[first + s])
            if take(norms, state, batch, row, k, now, budget_s, own, results):
                _step(network, norms, state, row, own, room)
                after(norms, state, row, own, results, k)
