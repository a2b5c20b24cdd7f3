"""The step of a tile of rows, whichever kind of network it is: the plain LSTM's, or that of any layers."""

from typing import Any, NamedTuple

import numpy as np

from edge_lstm.core import lstm, stack
from edge_lstm.core.cache import jit, overload
from edge_lstm.core.dot import TILE
from edge_lstm.core.layers import CLIPPED, SIGMOID, TANH, Cell, Dense, Function, Layers, Rooms, Stack, new_rooms
from edge_lstm.core.layers import pack as pack_layers
from edge_lstm.core.lstm import Packed
from edge_lstm.core.table import F32, I64, Network


class StackTile(NamedTuple):
    """Room for the step of rows that go together under a ``Stack``, as ``lstm.Tile`` is under ``Packed``."""

    rows: I64
    first: I64
    samples: I64
    rooms: Rooms


Tile = lstm.Tile | StackTile


def pack(network: Network | Layers) -> Packed | Stack:
    """Lay a network out for kernels."""
    return lstm.pack(network) if isinstance(network, Network) else pack_layers(network)


def as_layers(network: Network | Layers) -> Layers:
    """Return a network as layers of any kind, with the same bits."""
    if isinstance(network, Layers):
        return network
    hidden, none = network.weight_hh.shape[2], np.zeros(0, np.float32)
    functions = Function(SIGMOID), Function(TANH), Function(TANH)
    cells = []
    for layer, bias in enumerate(network.bias):
        width = hidden if layer else network.input_size
        cells.append(
            Cell(
                weight_ih=network.weight_ih[layer, :, :width].astype(np.int16),
                scale_ih=network.scale_ih[layer],
                weight_hh=network.weight_hh[layer].astype(np.int16),
                scale_hh=network.scale_hh[layer],
                bias=bias,
                weight_hr=np.zeros((0, hidden), np.int16),
                scale_hr=none,
                bias_hr=none,
                peephole=np.zeros((0, hidden), np.float32),
                norm=np.zeros((0, hidden), np.float32),
                start_h=np.zeros(hidden, np.float32),
                start_c=np.zeros(hidden, np.float32),
                functions=functions,
                output_clip=1.0,
                inner_clip=1.0,
            )
        )
    weight = network.head_weight.astype(np.int16)
    head = Dense(weight, network.head_scale, network.head_bias, Function(CLIPPED), 0, 1.0)
    return Layers(tuple(cells), (head,), network.input_clip, network.input_k, network.hidden_k)


def new_tile(network: Network | Layers) -> Tile:
    """Return room for a tile of this network."""
    if isinstance(network, Network):
        return lstm.new_tile(network)
    rows, first, samples = (np.zeros(TILE, np.int64) for _ in range(3))
    return StackTile(rows, first, samples, new_rooms(network, TILE))


@jit
def _step_stack(packed: Stack, h: F32, c: F32, tile: StackTile, n: int, u: F32, out: F32) -> None:
    for r in range(n):
        room = stack.room_of(tile.rooms, r)
        stack.step(packed, h[tile.rows[r]], c[tile.rows[r]], tile.first[r], u[r], out[r], room)


@jit
def _start_plain(h: F32, c: F32, first: int, layers: int) -> None:
    for layer in range(first, first + layers):
        for k in range(h.shape[1]):
            h[layer, k] = np.float32(0.0)
            c[layer, k] = np.float32(0.0)


def step(packed: Any, h: F32, c: F32, tile: Any, n: int, u: F32, out: F32) -> None:
    """Run the network on ``n`` rows of a tile.

    Args:
        h: (S, K*L, U) changed in place, as ``c`` is, where ``tile.rows`` and ``tile.first`` say.
        u: (R, I) inputs, padded.
        out: (R, O) the head's outputs, padded.
    """
    run = _step_stack if isinstance(packed, Stack) else lstm.step
    run(packed, h, c, tile, n, u, out)


@overload(step)
def _step_overload(packed: Any, h: Any, c: Any, tile: Any, n: Any, u: Any, out: Any) -> Any:
    if packed.instance_class is Stack:
        return lambda packed, h, c, tile, n, u, out: _step_stack(packed, h, c, tile, n, u, out)
    return lambda packed, h, c, tile, n, u, out: lstm.step(packed, h, c, tile, n, u, out)


def start(packed: Any, h: F32, c: F32, first: int) -> None:
    """Put a copy of a row's state, (K*L, U) from layer ``first`` on, to where a stream starts from."""
    if isinstance(packed, Stack):
        stack.start(packed, h, c, first)
    else:
        _start_plain(h, c, first, packed.layers)


@overload(start)
def _start_overload(packed: Any, h: Any, c: Any, first: Any) -> Any:
    if packed.instance_class is Stack:
        return lambda packed, h, c, first: stack.start(packed, h, c, first)
    return lambda packed, h, c, first: _start_plain(h, c, first, packed.layers)
