"""How far a network may move when LiteRT rounds the values inside it: a bound, carried from step to step.

Every function of the cell is monotone or a product, so an interval of each value gives one of the next; nothing here
is linearized. What is rounded, and in what steps, stands in ``Rounding``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_lstm.convert.mathematics import activate
from edge_lstm.convert.model import Activation, Lstm, Model

TABLES = 2.0**-12  # LiteRT's integer sigmoid and tanh (gemmlowp, 16 bits) against the functions themselves
FLOAT = 1e-5  # float32, as in the float tests


def none(_: Any) -> float:
    """Return the step of what is not rounded."""
    return 0.0


@dataclass(frozen=True)
class Rounding:
    """Largest errors of what LiteRT rounds.

    Attributes:
        vector: of an element of a vector that is multiplied by weights, given the vector's largest magnitude.
        given: of the model's input.
        sums: of a gate's sum before its activation, or before its normalization.
        norm: of a normalized gate.
        gate: of an activation.
        cell: of a new cell state.
        hidden: of the cell's output, projected or not.
        dense: of each dense layer's output.
    """

    vector: Callable[[Any], Any] = none
    given: float = 0.0
    sums: float = 0.0
    norm: float = 0.0
    gate: float = 0.0
    cell: float = 0.0
    hidden: float = 0.0
    dense: tuple[float, ...] = ()


def hybrid(bits_lost: float = 1.0) -> Rounding:
    """Return what int8 weights with float activations round: each vector, to 127 steps of its largest element.

    Args:
        bits_lost: 1 for symmetric; 2 for asymmetric steps, whose zero is rounded, too.
    """
    return Rounding(vector=lambda largest: bits_lost * largest / 254, gate=FLOAT, dense=(FLOAT,) * 9)


def _moved(function: Activation, x: Any, by: Any) -> Any:
    """Return how far a monotone function moves when x moves by at most ``by``."""
    y = activate(function, x)
    return np.maximum(activate(function, x + by) - y, y - activate(function, x - by))


def _gate(layer: Lstm, gate: int, pre: tuple[Any, Any], c: tuple[Any, Any], r: Rounding) -> tuple[Any, Any]:
    """Return what an activation takes and its bound."""
    x, by = pre[0], pre[1] + r.sums
    if layer.peephole is not None and gate != 2:
        p = layer.peephole[{0: 0, 1: 1, 3: 2}[gate]]
        x, by = x + p * c[0], by + np.abs(p) * c[1] + 0.5 * r.sums
    if layer.norm is not None:
        spread = np.sqrt(np.square(x - x.mean()).mean() + 1e-8)
        n, moved = (x - x.mean()) / spread, np.sqrt(np.square(by).mean())  # the deviation moves by no more than this
        by = (by + by.mean() + np.abs(n) * moved) / max(spread - moved, 1e-9)
        x, by = n * layer.norm[gate], by * np.abs(layer.norm[gate]) + r.norm
    hidden = layer.hidden_size
    return x + layer.bias[gate * hidden : (gate + 1) * hidden], by


def _product(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    return a[0] * b[0], np.abs(a[0]) * b[1] + np.abs(b[0]) * a[1] + a[1] * b[1]


def _vector(x: tuple[Any, Any], r: Rounding) -> tuple[Any, Any]:
    return x[0], x[1] + r.vector(np.abs(x[0]).max() + np.max(x[1]))


def _cell(layer: Lstm, x: tuple[Any, Any], state: list[Any], r: Rounding) -> tuple[Any, Any]:
    (x0, x1), (r0, r1), c = _vector(x, r), _vector(state[0], r), state[1]
    w, u = layer.weight_ih.real, layer.weight_hh.real
    sums = (w @ x0 + u @ r0).reshape(4, -1), (np.abs(w) @ x1 + np.abs(u) @ r1).reshape(4, -1)

    def gate(k: int, function: Activation, c: tuple[Any, Any]) -> tuple[Any, Any]:
        v, by = _gate(layer, k, (sums[0][k], sums[1][k]), c, r)
        return activate(function, v), _moved(function, v, by) + r.gate

    forgotten, new = _product(gate(1, layer.gate, c), c), _product(gate(0, layer.gate, c), gate(2, layer.candidate, c))
    value, by = forgotten[0] + new[0], forgotten[1] + new[1] + r.cell
    c = (np.clip(value, -layer.cell_clip, layer.cell_clip) if layer.cell_clip else value, by)
    m = _product(gate(3, layer.gate, c), (activate(layer.output, c[0]), _moved(layer.output, *c) + r.gate))
    m = m[0], m[1] + r.hidden
    if layer.weight_hr is not None:
        m0, m1 = _vector(m, r)
        m = layer.weight_hr.real @ m0, np.abs(layer.weight_hr.real) @ m1 + r.hidden
        m = m[0] + (0.0 if layer.bias_hr is None else layer.bias_hr), m[1]
        if layer.projection_clip:
            m = np.clip(m[0], -layer.projection_clip, layer.projection_clip), m[1]
    state[:] = [m, c]
    return m


def bound(model: Model, x: Any, r: Rounding) -> Any:
    """Return, for rows x (n, I) from the zero state, how far each output may be from the model's own, (n, O)."""
    states = [[(np.zeros(k.output_size),) * 2, (np.zeros(k.hidden_size),) * 2] for k in model.layers]
    bounds = []
    for row in x:
        v: tuple[Any, Any] = (row, np.full(len(row), r.given))
        for layer, state in zip(model.layers, states, strict=True):
            v = _cell(layer, v, state, r)
        for dense, step in zip(model.head, r.dense, strict=False):
            v0, v1 = _vector(v, r)
            y, by = dense.weight.real @ v0 + dense.bias, np.abs(dense.weight.real) @ v1
            v = activate(dense.activation, y), _moved(dense.activation, y, by) + step
        bounds.append(v[1])
    return np.stack(bounds)
