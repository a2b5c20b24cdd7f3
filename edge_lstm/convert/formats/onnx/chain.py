"""What the stream passes through: a scaler before the first layer, dense layers after the last one."""

from dataclasses import replace

import numpy as np

from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import Constant, Stream
from edge_lstm.convert.model import (
    LINEAR,
    Activation,
    Dense,
    Floats,
    Matrix,
)


def with_head(stream: Stream, head: tuple[Dense, ...]) -> Stream:
    """Return the stream after other dense layers."""
    return replace(stream, chain=stream.chain._replace(head=head), state=None, rounded=None, inner=None)


def headed(node: Node, stream: Stream) -> tuple[Dense, ...]:
    """Return the dense layers so far, or refuse."""
    if not stream.chain.layers:
        node.refuse("stands before the first LSTM layer, where only a scaler can stand")
    if stream.state is not None and stream.state[1] == "c":
        node.refuse("takes a cell state; only the layers' outputs can be used")
    if stream.state is not None and stream.state[0] != len(stream.chain.layers) - 1:
        node.refuse("takes the state of a layer that is not the last")
    return stream.chain.head


def per_value(node: Node, stream: Stream, constant: Constant, axis: int | None = None) -> Floats:
    """Return a constant as one number, or one per number of a row, where it lies along that axis of the stream."""
    values = constant.real
    if values.size == 1 and values.ndim <= len(stream.axes):
        return values.reshape(1)
    axes = range(values.ndim - len(stream.axes), values.ndim)
    along = [k for k, size in enumerate(values.shape) if size > 1]
    place = len(stream.axes) - 1 if axis is None else axis
    if values.ndim > len(stream.axes) or len(along) != 1 or axes[place] != along[0]:
        node.refuse(f"has a constant of shape {values.shape}: that is not one number per input or output")
    open_ = stream.features == 0 and stream.axes[place] == stream.along
    if stream.axes[place] != stream.along or not (open_ or values.size == stream.features):
        node.refuse(f"has {values.size} constants for {stream.features} values")
    return values.ravel()


def affine(node: Node, stream: Stream, factor: Floats, offset: Floats) -> Stream:
    """Return ``factor x + offset``, of shape (1,) or one per number of a row: a scaler, or part of a dense layer."""
    if not (np.isfinite(factor).all() and np.isfinite(offset).all() and factor.all()):
        node.refuse("multiplies by zero, or has a number that is not finite")
    chain = stream.chain
    if not chain.layers:
        if not (factor > 0).all():
            node.refuse("turns the sign of the inputs; a scaler has positive factors")
        scale = chain.scale / factor
        return replace(stream, chain=chain._replace(mean=chain.mean - offset * scale, scale=scale), inner=None)
    head = headed(node, stream)
    factor, offset = (np.broadcast_to(v, stream.features).astype(np.float64) for v in (factor, offset))
    if not head or head[-1].activation != LINEAR:
        node.note(f"{node.name} became a dense layer of its own")
        return with_head(stream, (*head, Dense(node.name, Matrix.of_floats(np.diag(factor)), offset)))
    last = head[-1]
    scaled = replace(last, weight=_scaled(last.weight, factor), bias=last.bias * factor + offset)
    return with_head(stream, (*head[:-1], scaled))


def _scaled(weight: Matrix, factor: Floats) -> Matrix:
    if not weight.is_integer:
        return Matrix.of_floats(weight.values * factor[:, None])
    signs = np.sign(factor).astype(np.int16)[:, None]
    return Matrix(weight.values * signs, weight.scale * np.abs(factor))


def activated(node: Node, stream: Stream, function: Activation) -> Stream:
    """Return the stream after an activation: of the last dense layer, or in one of its own."""
    head = headed(node, stream)
    if head and head[-1].activation == LINEAR:
        return with_head(stream, (*head[:-1], replace(head[-1], activation=function)))
    size = stream.features
    alone = Dense(node.name, Matrix.of_floats(np.eye(size)), np.zeros(size), function)
    node.note(f"{node.name} became a dense layer of its own")
    return with_head(stream, (*head, alone))
