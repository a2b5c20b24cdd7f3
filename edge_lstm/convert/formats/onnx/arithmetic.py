"""Arithmetic on the stream: scalers before the first layer, parts of dense layers after the last."""

from dataclasses import replace
from typing import Any

import numpy as np

from edge_lstm.convert.formats.onnx.chain import activated, affine, per_value
from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import Constant, Dynamic, Stream, Value
from edge_lstm.convert.model import (
    Activation,
    Floats,
)


def arithmetic(kind: str) -> Any:
    """Return the function for Add, Sub, Mul or Div."""

    def handle(node: Node) -> list[Value]:
        node.attribute("axis", "INT")
        node.attribute("broadcast", "INT")
        a, b = node.at(0), node.at(1)
        if isinstance(a, Constant) and isinstance(b, Constant):
            return [_computed(node, kind, a, b)]
        if kind == "Mul" and (isinstance(a, Dynamic) or isinstance(b, Dynamic)):
            return [_dynamic(node, *((a, b) if isinstance(b, Dynamic) else (b, a)))]
        if isinstance(a, Stream) and isinstance(b, Stream):
            return [_swish(node, kind)]
        if isinstance(b, Constant):
            stream = node.stream(0)
            return [_with_constant(node, kind, stream, per_value(node, stream, b))]
        stream, c = node.stream(1), per_value(node, node.stream(1), node.needed(0))
        if kind == "Div":
            node.refuse("divides by the stream, which is not supported")
        if kind == "Sub":
            return [affine(node, stream, np.array([-1.0]), c)]
        return [_with_constant(node, kind, stream, c)]

    return handle


def _with_constant(node: Node, kind: str, stream: Stream, c: Floats) -> Stream:
    if kind == "Div" and not c.all():
        node.refuse("divides by zero")
    if kind == "Div" and not stream.chain.layers:  # kept as the file has it, not by way of its inverse
        return replace(stream, chain=stream.chain._replace(scale=stream.chain.scale * c), inner=None)
    if kind in ("Mul", "Div"):
        return affine(node, stream, c if kind == "Mul" else 1.0 / c, np.zeros(1))
    return affine(node, stream, np.ones(1), c if kind == "Add" else -c)


def _computed(node: Node, kind: str, a: Constant, b: Constant) -> Constant:
    if np.broadcast(a.values, b.values).size > 2**20:
        node.refuse("computes a constant of more than a million numbers")
    x, y = (v.real if v.scale is not None else v.values for v in (a, b))
    integers = x.dtype.kind in "iu" and y.dtype.kind in "iu"
    if kind == "Div" and (not np.all(y) or integers):
        node.refuse("divides constants by zero, or integers")
    found = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[kind](x, y)
    return Constant(np.asarray(found))


def _swish(node: Node, kind: str) -> Stream:
    x, y = node.stream(0), node.stream(1)
    x, y = (y, x) if x.inner is y else (x, y)
    if kind != "Mul" or y.inner is not x:
        node.refuse("joins two branches of the stream; only x * sigmoid(x) is supported, one chain can be streamed")
    return activated(node, x, Activation("swish"))


def _dynamic(node: Node, other: Value | None, dynamic: Dynamic) -> Value:
    """Return a dynamic scale times a constant one; or sums of integers, scaled back."""
    if dynamic.kind != "scale":
        node.refuse("multiplies by a zero point")
    if isinstance(other, Constant):
        return dynamic._replace(factor=dynamic.factor * other.real.ravel())
    if not isinstance(other, Stream) or other.owes is None or other.owes.of != dynamic.of:
        node.refuse("scales something by a dynamic scale that is not its own")
    factor = dynamic.factor
    if factor.size not in (1, other.features) or not (factor > 0).all() or not np.isfinite(factor).all():
        node.refuse(f"has {factor.size} scales for {other.features} values, or scales that are not positive")
    return affine(node, replace(other, owes=None), factor, np.zeros(1))


def scaler(node: Node) -> list[Value]:
    """Scaler of ai.onnx.ml: ``(x - offset) scale``."""
    stream = node.stream()
    offset, scale = (
        np.array(node.attribute(name, "FLOATS", [v]), np.float64) for name, v in (("offset", 0), ("scale", 1))
    )
    for part in (offset, scale):
        per_value(node, stream, Constant(part))
    one, zero = np.ones(1), np.zeros(1)
    return [affine(node, affine(node, stream, one, -offset), scale, zero)]


def batch_normalization(node: Node) -> list[Value]:
    """BatchNormalization, as trained: a factor and an offset per value."""
    epsilon, _ = node.attribute("epsilon", "FLOAT", 1e-5), node.attribute("momentum", "FLOAT")
    if node.attribute("training_mode", "INT", 0) or node.attribute("spatial", "INT", 1) != 1:
        node.refuse("is in training mode; export the model in inference mode")
    stream = node.stream()
    if len(stream.axes) < 2:
        node.refuse("takes a tensor of one axis")
    scale, offset, mean, variance = (node.needed(k).real.ravel() for k in (1, 2, 3, 4))
    if len({scale.size, offset.size, mean.size, variance.size}) != 1 or not (variance + epsilon > 0).all():
        node.refuse("has statistics that don't fit together")
    factor = scale / np.sqrt(variance + epsilon)
    shape = [-1 if k == 1 else 1 for k in range(len(stream.axes))]
    for part in (factor, offset):
        per_value(node, stream, Constant(part.reshape(shape)), axis=1)
    return [affine(node, stream, factor, offset - mean * factor)]
