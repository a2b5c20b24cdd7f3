"""The source model's own mathematics, in float64 from the source file's own numbers: what has to arrive.

Values may have dimensions in front, (..., I) and so on: streams side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_lstm.convert.model import CELL, FORGET, INPUT, OUTPUT, Activation, Floats, Lstm, Model

NORM_FLOOR = 1e-8  # added to the variance, as LiteRT does


def activate(function: Activation, x: Floats) -> Floats:
    """Return the function of each element; softmax, over the last dimension."""
    return np.asarray(_FUNCTIONS[function.kind](function, x), np.float64)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


_FUNCTIONS: dict[str, Callable[[Activation, Floats], Any]] = {
    "sigmoid": lambda _, x: _sigmoid(x),
    "tanh": lambda f, x: f.a * np.tanh(f.b * x),
    "clipped": lambda f, x: np.clip(f.a * x + f.b, f.low, f.high),
    "leaky_relu": lambda f, x: np.where(x > 0, x, f.a * x),
    "softsign": lambda _, x: x / (1.0 + np.abs(x)),
    "elu": lambda f, x: f.b * np.where(x > 0, x, f.a * np.expm1(np.minimum(x, 0.0))),
    "softplus": lambda _, x: np.logaddexp(0.0, x),
    "swish": lambda _, x: x * _sigmoid(x),
    "softmax": lambda _, x: _softmax(x),
}


@dataclass
class State:
    """What a stream remembers: for each layer its last output (..., R) and cell state (..., H)."""

    r: list[Floats]
    c: list[Floats]


def fresh(model: Model) -> State:
    """Return the state that a stream starts from."""
    state = State([], [])
    for layer in model.layers:
        r, c = layer.initial or (np.zeros(layer.output_size), np.zeros(layer.hidden_size))
        state.r.append(r.copy())
        state.c.append(c.copy())
    return state


def _clip(x: Floats, limit: float) -> Floats:
    return np.clip(x, -limit, limit) if limit else x


def _gate(layer: Lstm, gate: int, pre: Floats, c: Floats, bias: Floats) -> Floats:
    """Return what an activation takes: with its peephole on ``c``, normalized, biased, clipped."""
    if layer.peephole is not None and gate != CELL:
        pre = pre + layer.peephole[{INPUT: 0, FORGET: 1, OUTPUT: 2}[gate]] * c
    if layer.norm is not None:
        centered = pre - pre.mean(axis=-1, keepdims=True)
        variance = np.square(centered).mean(axis=-1, keepdims=True)
        pre = centered / np.sqrt(variance + NORM_FLOOR) * layer.norm[gate]
    return _clip(pre + bias, layer.gate_clip)


def cell(layer: Lstm, x: Floats, r: Floats, c: Floats, bias: Floats | None = None) -> tuple[Floats, Floats]:
    """Return output and cell state of one layer after the input x (..., I).

    Args:
        r: (..., R) output before.
        c: (..., H) cell state before.
        bias: (..., 4H) instead of the layer's.
    """
    hidden = layer.hidden_size
    pre = x @ layer.weight_ih.real.T + r @ layer.weight_hh.real.T
    bias = layer.bias if bias is None else bias

    def gate(which: int, c: Floats) -> Floats:
        part = slice(which * hidden, (which + 1) * hidden)
        return _gate(layer, which, pre[..., part], c, bias[..., part])

    i, f = activate(layer.gate, gate(INPUT, c)), activate(layer.gate, gate(FORGET, c))
    g = activate(layer.candidate, gate(CELL, c))
    c = _clip(f * c + i * g, layer.cell_clip)
    o = activate(layer.gate, gate(OUTPUT, c))
    m = o * activate(layer.output, c)
    if layer.weight_hr is None:
        return m, c
    bias_hr = 0.0 if layer.bias_hr is None else layer.bias_hr
    return _clip(m @ layer.weight_hr.real.T + bias_hr, layer.projection_clip), c


def step(model: Model, state: State, x: Floats) -> Floats:
    """Return the outputs (..., O) after one row of inputs (..., I), in the units of the file; ``state`` advances."""
    if model.scaler is not None:
        x = (x - model.scaler.mean) / model.scaler.scale
    for k, layer in enumerate(model.layers):
        state.r[k], state.c[k] = cell(layer, x, state.r[k], state.c[k])
        x = state.r[k]
    for dense in model.head:
        x = activate(dense.activation, x @ dense.weight.real.T + dense.bias)
    return x


def run(model: Model, x: Floats, state: State | None = None) -> Floats:
    """Return the outputs after each of the rows x (n, I): (n, O); from a fresh state unless one is given."""
    state = state or fresh(model)
    return np.stack([step(model, state, row) for row in np.asarray(x, np.float64)])


def run_windows(model: Model, x: Floats, window: int) -> Floats:
    """Return what the model gives for the last ``window`` rows up to each row, each time from a fresh state.

    Rows before the first full window see the shorter one that there is.
    """
    return np.stack([run(model, x[max(0, k + 1 - window) : k + 1])[-1] for k in range(len(x))])
