"""How a network is laid out for a CUDA device, and how the shared memory of a block is used."""

from typing import NamedTuple

import numpy as np

from edge_lstm.core.cuda_kernels import ROWS, TILE_SLOTS
from edge_lstm.core.cuda_step import GROUP, Packed
from edge_lstm.core.table import I8, I32, Network

SHARED_BYTES = 48 * 1024 - 2 * 4 * TILE_SLOTS  # what any device gives without being asked


class Plan(NamedTuple):
    """How a block works on a network."""

    tile: int  # rows
    resident: bool  # the weights stand in shared memory
    shared_bytes: int


def _words(matrix: I8, gates: int) -> I32:
    """Return a weight matrix as (words, gates, units), four weights of a row in a word."""
    rows, width = matrix.shape
    padded = np.zeros((rows, -(-width // 4) * 4), np.int8)
    padded[:, :width] = matrix
    words = padded.view("<i4").reshape(gates, rows // gates, -1)
    return np.ascontiguousarray(words.transpose(2, 0, 1)).ravel()


def pack(network: Network) -> Packed:
    """Return the network as a device reads it."""
    width, parts = network.input_size, []
    for layer in range(len(network.weight_hh)):
        parts += [_words(network.weight_ih[layer, :, :width], 4), _words(network.weight_hh[layer], 4)]
        width = network.weight_hh.shape[2]
    parts.append(_words(network.head_weight, 1))
    return Packed(
        np.concatenate(parts), network.scale_ih, network.scale_hh, network.bias, network.head_scale, network.head_bias,
        network.input_size, network.input_clip, network.input_k, network.hidden_k,
    )  # fmt: skip


def plan(network: Packed, threads: int, resident: bool = True) -> Plan:
    """Return the largest tile that fits, with the weights beside it if a good one does."""
    layers, hidden = len(network.bias), network.bias.shape[1] // 4
    full, source = -(-hidden // 4), -(-network.input_size // 4)
    if layers > 1:
        source = max(source, full)
    weights = 8 * (-(-len(network.words) // 2))
    sizes = [size for size in (64, 32, 16, 8, 4, 2, 1) if size <= min(ROWS, threads)]
    wishes = [(size, True) for size in sizes[:2] if resident] + [(size, False) for size in sizes]
    for tile, beside in wishes:
        needed = 8 * ((2 * full + source) * (tile + 1) + GROUP) + beside * weights
        if needed <= SHARED_BYTES:
            break
    return Plan(tile, beside, needed)
