"""The LSTM cell on one row: int8 weights, integer activations, float32 gates (docs/numerics.md, section 4)."""

import numpy as np

from edge_lstm.core.cache import jit
from edge_lstm.core.dot import dot
from edge_lstm.core.maths import clip, fma, quantize, sigmoid32, tanh32
from edge_lstm.core.table import Scratch, State, Weights


@jit
def _gate(weights: Weights, layer: int, r: int, scratch: Scratch, width: int) -> np.float32:
    """Return the pre-activation of gate row ``r``."""
    hidden = scratch.q_h.shape[0]
    ax = np.float32(dot(weights.weight_ih[layer, r], scratch.q_in, width))
    ah = np.float32(dot(weights.weight_hh[layer, r], scratch.q_h, hidden))
    recurrent = fma(ah, weights.scale_hh[layer, r], weights.bias[layer, r])
    return fma(ax, weights.scale_ih[layer, r], recurrent)


@jit
def _layer(weights: Weights, layer: int, width: int, state: State, row: int, scratch: Scratch) -> None:
    """Advance one layer: ``scratch.q_in`` in, ``state.h`` and ``state.c`` changed in place."""
    hidden = state.h.shape[2]
    for j in range(hidden):
        scratch.q_h[j] = quantize(state.h[row, layer, j], weights.hidden_k)
    for j in range(hidden):
        i = sigmoid32(_gate(weights, layer, j, scratch, width))
        f = sigmoid32(_gate(weights, layer, hidden + j, scratch, width))
        g = tanh32(_gate(weights, layer, 2 * hidden + j, scratch, width))
        o = sigmoid32(_gate(weights, layer, 3 * hidden + j, scratch, width))
        c = fma(f, state.c[row, layer, j], i * g)
        state.c[row, layer, j] = c
        state.h[row, layer, j] = o * tanh32(c)


@jit
def step(weights: Weights, state: State, row: int, scratch: Scratch) -> None:
    """Run the network on ``scratch.u``; the head's outputs go to ``scratch.out``."""
    layers, hidden = state.h.shape[1], state.h.shape[2]
    width = weights.input_size
    for k in range(width):
        u = clip(scratch.u[k], -weights.input_clip, weights.input_clip)
        scratch.q_in[k] = quantize(u, weights.input_k)
    for layer in range(layers):
        _layer(weights, layer, width, state, row, scratch)
        width = hidden
        for j in range(hidden):
            # the next layer's input, and after the last layer the head's
            scratch.q_h[j] = quantize(state.h[row, layer, j], weights.hidden_k)
        if layer + 1 < layers:
            for j in range(hidden):
                scratch.q_in[j] = scratch.q_h[j]
    for r in range(scratch.out.shape[0]):
        total = np.float32(dot(weights.head_weight[r], scratch.q_h, hidden))
        scratch.out[r] = fma(total, weights.head_scale[r], weights.head_bias[r])
