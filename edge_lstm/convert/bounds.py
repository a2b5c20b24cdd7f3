"""How large values inside a network get: what their quantization steps are chosen by."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edge_lstm.convert.mathematics import activate, cell, fresh
from edge_lstm.convert.model import Activation, Floats, Lstm, Model

MARGIN = 2.0  # over the largest value that normal rows made
LARGEST, SMALLEST = 1e6, 1e-3


class Bounds(NamedTuple):
    """Where the values of a network are clipped when they are quantized."""

    outputs: tuple[float, ...]  # of each LSTM layer
    inner: tuple[float, ...]  # of what each layer's projection takes; 1 without one
    dense: tuple[float, ...]  # of the inputs of each dense layer


def bound_of(function: Activation) -> float:
    """Return what a function never goes beyond; infinity if it may go anywhere."""
    known = {"sigmoid": 1.0, "tanh": abs(function.a), "softsign": 1.0}
    if function.kind == "clipped":
        return max(abs(function.low), abs(function.high))
    return known.get(function.kind, np.inf)


def _opened(layer: Lstm) -> float:
    """Return what the units of a layer never go beyond."""
    return bound_of(layer.gate) * bound_of(layer.output)


def bounds(model: Model, rows: Floats) -> Bounds:
    """Return bounds: proven ones where the functions give them, else twice what these rows need.

    Args:
        rows: (n, I) inputs of the model, normal ones.
    """
    seen = _largest(model, rows)
    outputs, inner = [], []
    for k, layer in enumerate(model.layers):
        projected = layer.weight_hr is not None
        proven = (layer.projection_clip or np.inf) if projected else _opened(layer)
        outputs.append(_bound(proven, seen.outputs[k]))
        inner.append(_bound(_opened(layer), seen.inner[k]) if projected else 1.0)
    proven_inputs = [outputs[-1], *(bound_of(dense.activation) for dense in model.head[:-1])]
    dense = [_bound(p, s) for p, s in zip(proven_inputs, seen.dense, strict=True)]
    return Bounds(tuple(outputs), tuple(inner), tuple(dense))


def _bound(proven: float, seen: float) -> float:
    return float(np.clip(min(proven, MARGIN * seen), SMALLEST, LARGEST)) if proven != 1.0 else 1.0


def _largest(model: Model, rows: Floats) -> Bounds:
    """Return the largest values that the rows make."""
    state = fresh(model)
    n, head = len(model.layers), model.head
    outputs, inner, dense = np.zeros(n), np.zeros(n), np.zeros(max(1, len(head)))
    for x in rows:
        if model.scaler is not None:
            x = (x - model.scaler.mean) / model.scaler.scale
        for k, layer in enumerate(model.layers):
            if layer.weight_hr is not None:
                units, _ = cell(replace(layer, weight_hr=None, bias_hr=None), x, state.r[k], state.c[k])
                inner[k] = max(inner[k], np.abs(units).max())
            state.r[k], state.c[k] = cell(layer, x, state.r[k], state.c[k])
            x = state.r[k]
            outputs[k] = max(outputs[k], np.abs(x).max())
        for k, one in enumerate(head):
            dense[k] = max(dense[k], np.abs(x).max())
            x = activate(one.activation, one.weight.real @ x + one.bias)
    return Bounds(tuple(outputs.tolist()), tuple(inner.tolist()), tuple(dense.tolist()))
