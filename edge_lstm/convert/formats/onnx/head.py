"""Dense layers and their activations."""

from dataclasses import replace
from typing import Any

import numpy as np

from edge_lstm.convert.formats.onnx.chain import activated, affine, headed, per_value, with_head
from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import Axis, Stream, Value, features_axis
from edge_lstm.convert.model import (
    RELU,
    SIGMOID,
    SOFTMAX,
    TANH,
    Activation,
    Dense,
    Matrix,
    hard_sigmoid,
)


def dense(node: Node, stream: Stream, weight: Matrix) -> Stream:
    """Return the stream after a matrix (O, I) on its last axis."""
    head, (outputs, inputs) = headed(node, stream), weight.shape
    if not stream.axes or stream.axes[-1] != stream.along or inputs != stream.features:
        node.refuse(f"multiplies by {inputs} rows what has {stream.features} values per row on its last axis")
    after = with_head(stream, (*head, Dense(node.name, weight, np.zeros(outputs))))
    axes: tuple[Axis, ...] = (*stream.axes[:-1], features_axis(outputs))
    return replace(after, axes=axes, features=outputs)


def gemm(node: Node) -> list[Value]:
    """Gemm."""
    stream, weight = node.stream(), node.needed(1)
    if node.attribute("transA", "INT", 0) or len(stream.axes) != 2:
        node.refuse("transposes the stream, or does not take rows of it")
    alpha, beta = (np.array([node.attribute(name, "FLOAT", 1.0)], np.float64) for name in ("alpha", "beta"))
    node.attribute("broadcast", "INT")
    columns_first = not node.attribute("transB", "INT", 0)
    matrix = (weight.map(np.transpose) if columns_first else weight).matrix(f"{node.name}: B")
    after = affine(node, dense(node, stream, matrix), alpha, np.zeros(1))
    bias = node.constant(2)
    if bias is not None:
        after = affine(node, after, np.ones(1), beta * per_value(node, after, bias))
    return [after]


def matmul(node: Node) -> list[Value]:
    """MatMul by constant weights on the right."""
    weight = node.needed(1)
    return [dense(node, node.stream(), weight.map(np.transpose).matrix(f"{node.name}: B"))]


_ALPHAS = {
    "HardSigmoid": (0.2, 0.5),
    "LeakyRelu": (0.01, 0.0),
    "Elu": (1.0, 0.0),
    "Selu": (1.67326319217681884765625, 1.05070102214813232421875),
}


def elementwise(kind: str) -> Any:
    """Return the function for an activation node of that operator type."""

    def handle(node: Node) -> list[Value]:
        node.attribute("consumed_inputs", "INTS")
        stream = node.stream()
        after = activated(node, stream, _function(node, kind))
        return [replace(after, inner=stream) if kind == "Sigmoid" else after]

    return handle


def _function(node: Node, kind: str) -> Activation:
    plain = {
        "Relu": RELU, "Tanh": TANH, "Sigmoid": SIGMOID, "Softplus": Activation("softplus"),
        "Softsign": Activation("softsign"),
    }  # fmt: skip
    if kind in plain:
        return plain[kind]
    default_alpha, default_beta = _ALPHAS[kind]
    alpha = float(np.float32(node.attribute("alpha", "FLOAT", default_alpha)))
    if kind == "HardSigmoid":
        return hard_sigmoid(alpha, float(np.float32(node.attribute("beta", "FLOAT", default_beta))))
    if kind == "Selu":
        return Activation("elu", alpha, float(np.float32(node.attribute("gamma", "FLOAT", default_beta))))
    return Activation("leaky_relu" if kind == "LeakyRelu" else "elu", alpha)


def swish(node: Node) -> list[Value]:
    """Swish of operator set 24."""
    if node.attribute("alpha", "FLOAT", 1.0) != 1.0:
        node.refuse("has an alpha other than 1, which is not supported")
    return [activated(node, node.stream(), Activation("swish"))]


def clip(node: Node) -> list[Value]:
    """Clip."""
    if node.version < 11:
        bounds = [node.attribute("min", "FLOAT"), node.attribute("max", "FLOAT")]
    else:
        constants = [node.constant(1), node.constant(2)]
        if any(c is not None and c.values.size != 1 for c in constants):
            node.refuse("has bounds that are not single numbers")
        bounds = [None if c is None else float(c.real.ravel()[0]) for c in constants]
    low, high = -np.inf if bounds[0] is None else bounds[0], np.inf if bounds[1] is None else bounds[1]
    if not low <= high:
        node.refuse(f"clips to [{low}, {high}]")
    return [activated(node, node.stream(), Activation("clipped", 1.0, 0.0, low, high))]


def prelu(node: Node) -> list[Value]:
    """PRelu of one slope."""
    slope = node.needed(1).real
    if not slope.size or not (slope == slope.flat[0]).all():
        node.refuse("has several slopes, expected one")
    return [activated(node, node.stream(), Activation("leaky_relu", float(slope.flat[0])))]


def softmax(node: Node) -> list[Value]:
    """Softmax over the values of a row."""
    stream, rank = node.stream(), len(node.stream().axes)
    axis = node.attribute("axis", "INT", -1 if node.version >= 13 else 1)
    if not -rank <= axis < rank:
        node.refuse(f"has axis {axis}, expected one of {rank}")
    over = stream.axes[axis % rank :] if node.version < 13 else (stream.axes[axis % rank],)
    if tuple(a for a in over if a) != ((stream.along,) if stream.along else ()):
        node.refuse("is taken over something else than the values of a row")
    return [activated(node, stream, SOFTMAX)]
