"""The LSTM step of a tile of rows, by one thread block (docs/numerics.md, section 4).

The quantized activations of the tile stand in shared memory, four in a word, a word's rows side by side. A thread takes
one unit of ``GROUP`` rows at a time, so each weight that it reads serves ``GROUP`` rows, and what it reads of the
activations is the same for all threads beside it.
"""

from typing import Any, NamedTuple

import numba.cuda
import numpy as np
from numba import float32, int32
from numpy.typing import NDArray

from edge_lstm.core.cuda_dot import dot4
from edge_lstm.core.maths import clip, fma, gated32, quantize, sigmoid32
from edge_lstm.core.table import F32, I32, I64

cuda: Any = numba.cuda
I16 = NDArray[np.int16]
device: Any = cuda.jit(device=True)

GROUP = 8  # rows that a thread takes at once; their sums stay in registers
SUMS = 4 * GROUP
natural: Any = np.uint64  # an index that can't be negative: of others Numba asks whether they count from the end


class Packed(NamedTuple):
    """The network as a device reads it; of ``words``, each holds four weights."""

    words: I32  # per layer (inputs/4, 4, H) and (H/4, 4, H), zero-padded; then (H/4, 2C) of the head
    scale_ih: F32  # (L, 4H)
    scale_hh: F32  # (L, 4H)
    bias: F32  # (L, 4H)
    head_scale: F32  # (2C,)
    head_bias: F32  # (2C,)
    input_size: int
    input_clip: np.float32
    input_k: np.float32
    hidden_k: np.float32


class Memory(NamedTuple):
    """A block's shared memory: the weights if they fit, then three buffers of activations of the tile's rows.

    The compiler takes ``words``, ``quads`` and ``shorts`` for different memory, so a barrier stands between what is
    written by one and read by another.
    """

    words: I32  # the weights, wherever they are
    quads: I64  # activations, four in a word
    shorts: I16  # the same memory
    start: int  # of the buffers, in ``quads``
    stride: int  # from a word of four activations to the next four of the same row
    rows: I32  # row of the table, per row of the tile
    live: I32  # whether it takes the step


class Place(NamedTuple):
    """Where a layer finds things: weights in ``Memory.words``, activations in ``Memory.quads``."""

    layer: int
    at: int  # its first weight
    width: int  # words of its input
    source: int  # its input
    old: int  # its hidden state before the step
    new: int  # after it


@device
def split(item: int, n: int) -> tuple[int, int]:
    """Return ``divmod(item, n)``, in 32 bits: a device divides 64 bits in a hundred instructions."""
    item32, n32 = np.uint32(item), np.uint32(n)
    quotient = item32 // n32
    return np.int64(quotient), np.int64(item32 - quotient * n32)  # type: ignore[return-value]


@device
def words_for(width: int) -> int:
    """Return how many words ``width`` activations fill."""
    return (width + 3) >> 2


@device
def _put(memory: Memory, buffer: int, k: int, r: int, q: int) -> None:
    """Store activation ``k`` of the tile's row ``r``."""
    memory.shorts[natural(4 * (buffer + (k >> 2) * memory.stride + r) + (k & 3))] = q


@device
def _take_inputs(network: Packed, u: F32, base: int, memory: Memory, buffer: int, count: int) -> None:
    """Quantize the network inputs of the tile, rows ``base`` and on of ``u``."""
    for item in range(cuda.threadIdx.x, count * network.input_size, cuda.blockDim.x):
        r, k = split(item, network.input_size)
        v = clip(u[natural(base + r), natural(k)], -network.input_clip, network.input_clip)
        _put(memory, buffer, k, r, quantize(v, network.input_k))


@device
def _take_hidden(network: Packed, h: F32, layer: int, memory: Memory, buffer: int, count: int) -> None:
    """Quantize the tile's hidden state of one layer."""
    hidden = network.bias.shape[1] >> 2
    for item in range(cuda.threadIdx.x, count * hidden, cuda.blockDim.x):
        r, k = split(item, hidden)
        v = h[natural(memory.rows[natural(r)]), natural(layer), natural(k)]
        _put(memory, buffer, k, r, quantize(v, network.hidden_k))


@device
def _dots(memory: Memory, at: int, hidden: int, start: int, width: int, totals: I32) -> None:
    """Fill ``totals`` with the dot products of the four gates of a unit, its weights at ``at``, for ``GROUP`` rows."""
    words, quads = memory.words, memory.quads
    for i in range(SUMS):
        totals[i] = 0
    for _ in range(width):
        w0, w1 = words[natural(at)], words[natural(at + hidden)]
        w2, w3 = words[natural(at + 2 * hidden)], words[natural(at + 3 * hidden)]
        for r in range(GROUP):
            q = quads[natural(start + r)]
            totals[4 * r] = dot4(w0, q, totals[4 * r])
            totals[4 * r + 1] = dot4(w1, q, totals[4 * r + 1])
            totals[4 * r + 2] = dot4(w2, q, totals[4 * r + 2])
            totals[4 * r + 3] = dot4(w3, q, totals[4 * r + 3])
        at += 4 * hidden
        start += memory.stride


@device
def _fold(totals: I32, scale: F32, hidden: int, j: int, gates: F32) -> None:
    """Add the scaled totals of unit ``j`` to its gates, per row i, f, g, o."""
    for g in range(4):
        own = scale[natural(g * hidden + j)]
        for r in range(GROUP):
            gates[4 * r + g] = fma(np.float32(totals[4 * r + g]), own, gates[4 * r + g])


@device
def _unit(network: Packed, place: Place, memory: Memory, j: int, first: int, gates: F32) -> None:
    """Fill the four gates of unit ``j``, before their functions, for the ``GROUP`` rows from ``first`` on."""
    hidden = network.bias.shape[1] >> 2
    layer = natural(place.layer)
    totals = cuda.local.array(SUMS, int32)
    for i in range(SUMS):
        gates[i] = network.bias[layer, natural((i & 3) * hidden + j)]
    at = place.at + 4 * place.width * hidden + j
    _dots(memory, at, hidden, place.old + first, words_for(hidden), totals)
    _fold(totals, network.scale_hh[layer], hidden, j, gates)
    _dots(memory, place.at + j, hidden, place.source + first, place.width, totals)
    _fold(totals, network.scale_ih[layer], hidden, j, gates)


@device
def _layer(network: Packed, place: Place, memory: Memory, h: F32, c: F32, count: int) -> None:
    """Advance one layer of the tile's first ``count`` rows."""
    hidden, layer = network.bias.shape[1] >> 2, natural(place.layer)
    gates, cells = cuda.local.array(SUMS, float32), cuda.local.array(GROUP, float32)
    for item in range(cuda.threadIdx.x, (count + GROUP - 1) // GROUP * hidden, cuda.blockDim.x):
        group, j = split(item, hidden)
        first = group * GROUP
        for r in range(GROUP):  # asked for early, needed late
            cells[r] = np.float32(0.0)
            if memory.live[natural(first + r)]:
                cells[r] = c[natural(memory.rows[natural(first + r)]), layer, natural(j)]
        _unit(network, place, memory, j, first, gates)
        for r in range(GROUP):
            if memory.live[natural(first + r)]:
                i, f, g, o = gates[4 * r], gates[4 * r + 1], gates[4 * r + 2], gates[4 * r + 3]
                cell = fma(sigmoid32(f), cells[r], gated32(i, g))
                out = gated32(o, cell)
                row = natural(memory.rows[natural(first + r)])
                c[row, layer, natural(j)] = cell
                h[row, layer, natural(j)] = out
                _put(memory, place.new, j, first + r, quantize(out, network.hidden_k))


@device
def _head(network: Packed, at: int, memory: Memory, buffer: int, width: int, out: F32, base: int, count: int) -> None:
    """Fill the tile's rows of ``out``, ``base`` and on, from the hidden state of the last layer."""
    outs = network.head_bias.shape[0]
    for item in range(cuda.threadIdx.x, count * outs, cuda.blockDim.x):
        r, k = split(item, outs)
        total = np.int32(0)
        for word in range(width):
            weights = memory.words[natural(at + word * outs + k)]
            total = dot4(weights, memory.quads[natural(buffer + word * memory.stride + r)], total)
        scale, bias = network.head_scale[natural(k)], network.head_bias[natural(k)]
        out[natural(base + r), natural(k)] = fma(np.float32(total), scale, bias)


@device
def step(network: Packed, memory: Memory, h: F32, c: F32, u: F32, out: F32, base: int, count: int) -> None:
    """Run the network on the first ``count`` rows of the tile; the whole block calls it.

    Args:
        h: (S, L, U) hidden state; rows of the tile that are ``live`` change, likewise of ``c``.
        u: network inputs; the tile's begin at row ``base``, likewise in ``out`` the head's outputs.
    """
    layers, hidden = h.shape[1], network.bias.shape[1] >> 2
    full = words_for(hidden)
    width, at = words_for(network.input_size), 0
    old = memory.start
    new = old + full * memory.stride
    source = new + full * memory.stride
    _take_inputs(network, u, base, memory, source, count)
    for layer in range(layers):
        _take_hidden(network, h, layer, memory, old, count)
        cuda.syncthreads()
        _layer(network, Place(layer, at, width, source, old, new), memory, h, c, count)
        cuda.syncthreads()
        at += 4 * hidden * (width + full)
        width = full
        source, new = new, source  # what came out goes in
    _head(network, at, memory, source, full, out, base, count)
    cuda.syncthreads()
