"""The LSTM cell on a tile of rows: int8 weights, integer activations, float32 gates (docs/numerics.md, section 4).

Units are computed sixteen at a time. What they need lies in one packed buffer, for each layer the weights of the
inputs, those of the hidden state, and the numbers that scale the sums; each of the three in the order in which it is
read, without a gap, so that the CPU's prefetcher runs ahead (256 units: 1.7 us a step, 2.3 us with the three mixed).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core import dot
from edge_lstm.core.cache import jit
from edge_lstm.core.lanes import WIDTH, load, store, to_float
from edge_lstm.core.maths import clip, fma, gated32, quantize, sigmoid32
from edge_lstm.core.table import F32, I8, I64, U8, Network, pad

LINE = 64  # bytes of a cache line; every part of the buffer begins on one
GATE = 3 * WIDTH  # numbers of a gate: two scales and a bias of sixteen units
SCALES = 4 * dot.GATES * GATE  # bytes of two scales and a bias for sixteen units' gates
HEAD_SCALES = 4 * 2 * WIDTH


class Packed(NamedTuple):
    """A network as the CPU reads it."""

    code: I8  # (bytes,)
    numbers: F32  # the same bytes
    planes: int  # of bytes that activations are kept in
    width: int  # of the inputs, padded
    hidden_part: int  # where the hidden state stands in ``Tile.q``
    layers: int
    input_clip: np.float32
    input_k: np.float32
    hidden_k: np.float32


class Tile(NamedTuple):
    """Room for the step of rows that go together; R = dot.TILE."""

    rows: I64  # (R,) their places in the table
    first: I64  # (R,) the first layer of the copy of the state that is stepped
    samples: I64  # (R,) which sample of the call each takes
    q: U8  # (R, bytes) quantized layer input, then hidden state


def new_tile(network: Network) -> Tile:
    """Return room for a tile of this network."""
    part = _part(network)
    return Tile(
        rows=np.zeros(dot.TILE, np.int64),
        first=np.zeros(dot.TILE, np.int64),
        samples=np.zeros(dot.TILE, np.int64),
        q=np.zeros((dot.TILE, 2 * part), np.uint8),
    )


def _part(network: Network) -> int:
    """Return the bytes that a layer's input or hidden state may take."""
    return 2 * max(pad(network.input_size), pad(network.weight_hh.shape[2]))


def pack(network: Network) -> Packed:
    """Lay a network out for the CPU at hand."""
    width = dot.padded(network.input_size)
    planes = dot.planes_of(8 if network.hidden_k == 127 else 16)
    parts = [_pack_layer(network, layer, width, planes) for layer in range(len(network.bias))]
    code = _on_a_line(np.concatenate([*parts, _pack_head(network, planes)]))
    return Packed(
        code=code,
        numbers=code.view(np.float32),
        planes=planes,
        width=width,
        hidden_part=_part(network),
        layers=len(network.bias),
        input_clip=network.input_clip,
        input_k=network.input_k,
        hidden_k=network.hidden_k,
    )


def _pack_layer(network: Network, layer: int, width: int, planes: int) -> I8:
    hidden = network.weight_hh.shape[2]
    units = pad(hidden)

    def by_units(array: NDArray[Any], columns: int) -> NDArray[Any]:
        """(4H, ...) gate after gate to (U/16 * 4 * 16, columns): sixteen units' four gates together."""
        array = array.reshape(dot.GATES, hidden, -1)[:, :, :columns]
        wide = np.zeros((dot.GATES, units, columns), array.dtype)
        wide[:, :hidden, : array.shape[2]] = array
        return wide.reshape(dot.GATES, -1, WIDTH, columns).swapaxes(0, 1).reshape(-1, columns)

    scales = [network.scale_ih[layer], network.scale_hh[layer], network.bias[layer]]
    numbers = np.stack([by_units(array, 1).reshape(-1, dot.GATES, WIDTH) for array in scales], 2)
    parts = (
        dot.pack(by_units(network.weight_ih[layer], units if layer else width), dot.GATES, planes),
        dot.pack(by_units(network.weight_hh[layer], units), dot.GATES, planes),
        numbers.view(np.int8),
    )
    return np.concatenate([part.ravel() for part in parts])


def _pack_head(network: Network, planes: int) -> I8:
    outputs, hidden = network.head_weight.shape
    weight = np.zeros((pad(outputs), pad(hidden)), np.int8)
    weight[:outputs, :hidden] = network.head_weight
    numbers = np.zeros((2, pad(outputs)), np.float32)
    numbers[:, :outputs] = network.head_scale, network.head_bias
    numbers = numbers.reshape(2, -1, WIDTH).swapaxes(0, 1).reshape(-1, 2 * WIDTH)
    return np.hstack([dot.pack(weight, 1, planes), numbers.view(np.int8)]).ravel()


def _on_a_line(packed: I8) -> I8:
    """Return a copy that begins on a cache line."""
    room = np.zeros(len(packed) + LINE, np.int8)
    start = -room.ctypes.data % LINE
    room[start : start + len(packed)] = packed
    return room[start : start + len(packed)]


@jit
def _keep_inputs(packed: Packed, u: F32, q: U8) -> None:
    """Quantize the network's inputs."""
    for first in range(0, u.shape[0], WIDTH):
        clipped = clip(load(u, first), -packed.input_clip, packed.input_clip)
        dot.keep(packed, q, 0, first, u.shape[0], quantize(clipped, packed.input_k))


@jit
def _keep_hidden(packed: Packed, h: F32, q: U8, part: int) -> None:
    """Quantize a layer's hidden state."""
    for first in range(0, h.shape[0], WIDTH):
        dot.keep(packed, q, part, first, h.shape[0], quantize(load(h, first), packed.hidden_k))


@jit
def _gate(numbers: F32, at: int, from_input: Any, from_hidden: Any) -> Any:
    """Return a gate's pre-activations of sixteen units."""
    recurrent = fma(to_float(from_hidden), load(numbers, at + WIDTH), load(numbers, at + 2 * WIDTH))
    return fma(to_float(from_input), load(numbers, at), recurrent)


@jit
def _cell(numbers: F32, at: int, from_input: Any, from_hidden: Any, h: F32, c: F32, first: int) -> None:
    """Advance sixteen units, from the sums of their four gates."""
    i = _gate(numbers, at, from_input[0], from_hidden[0])
    f = _gate(numbers, at + GATE, from_input[1], from_hidden[1])
    g = _gate(numbers, at + 2 * GATE, from_input[2], from_hidden[2])
    o = _gate(numbers, at + 3 * GATE, from_input[3], from_hidden[3])
    cell = fma(sigmoid32(f), load(c, first), gated32(i, g))
    store(c, first, cell)
    store(h, first, gated32(o, cell))


@jit
def _layer(packed: Packed, at: int, layer: int, h: F32, c: F32, tile: Tile, n: int) -> int:
    """Advance a layer, whose weights begin at byte ``at``; return where the next one's do."""
    units, rows, places, q, part = h.shape[2], tile.rows, tile.first, tile.q, packed.hidden_part
    width = packed.width if layer == 0 else units
    for r in range(n):
        _keep_hidden(packed, h[rows[r], places[r] + layer], q[r], part)
    at_hidden = at + units // WIDTH * dot.size(width)
    at_numbers = at_hidden + units // WIDTH * dot.size(units)
    at_first, at_second = places[0] + layer, places[1] + layer
    for first in range(0, units, WIDTH):
        number = at_numbers // 4
        if n == dot.TILE:
            x = dot.gates_of_two(packed, at, q, 0, width)
            s = dot.gates_of_two(packed, at_hidden, q, part, units)
            _cell(packed.numbers, number, x[:4], s[:4], h[rows[0], at_first], c[rows[0], at_first], first)
            _cell(packed.numbers, number, x[4:], s[4:], h[rows[1], at_second], c[rows[1], at_second], first)
        elif n == 1:
            x1 = dot.gates(packed, at, q[0], 0, width)
            s1 = dot.gates(packed, at_hidden, q[0], part, units)
            _cell(packed.numbers, number, x1, s1, h[rows[0], at_first], c[rows[0], at_first], first)
        at, at_hidden, at_numbers = at + dot.size(width), at_hidden + dot.size(units), at_numbers + SCALES
    for r in range(n):  # what the next layer, or the head, takes in
        _keep_hidden(packed, h[rows[r], places[r] + layer], q[r], 0)
    return at_numbers


@jit
def _head(packed: Packed, at: int, units: int, q: U8, out: F32) -> None:
    for first in range(0, out.shape[0], WIDTH):
        sums = dot.outputs(packed, at, q, 0, units)
        at += dot.size(units, 1)
        scale, bias = load(packed.numbers, at // 4), load(packed.numbers, at // 4 + WIDTH)
        store(out, first, fma(to_float(sums), scale, bias))
        at += HEAD_SCALES


@jit
def step(packed: Packed, h: F32, c: F32, tile: Tile, n: int, u: F32, out: F32) -> None:
    """Run the network on ``n`` rows of a tile.

    Args:
        h: (S, K*L, U) changed in place, as ``c`` is, where ``tile.rows`` and ``tile.first`` say.
        u: (R, I) inputs, padded.
        out: (R, O) the head's outputs, padded.
    """
    for r in range(n):
        _keep_inputs(packed, u[r], tile.q[r])
    at = 0
    for layer in range(packed.layers):
        at = _layer(packed, at, layer, h, c, tile, n)
    for r in range(n):
        _head(packed, at, h.shape[2], tile.q[r], out[r])
