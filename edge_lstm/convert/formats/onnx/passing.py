"""Nodes that change nothing of the stream, and those that make constants of its shape."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import (
    END,
    Constant,
    Stream,
    Value,
)


def same(node: Node) -> list[Value]:
    """Identity; Cast between floats, which streaming in its own precision replaces."""
    value = node.at(0)
    if value is None:
        node.refuse("lacks its input")
    return [value]


def cast(node: Node) -> list[Value]:
    """Cast: to floats, or constants to integers."""
    to = node.attribute("to", "INT", 0)
    node.attribute("saturate", "INT", 1)
    node.attribute("round_mode", "STRING", "up")
    value = same(node)[0]
    if to in (1, 10, 11, 16):
        if isinstance(value, Constant):
            return [Constant(value.real)]
        if isinstance(value, Stream) and value.rounded is not None:
            node.refuse("makes floats of quantized integers without scaling them")
        if to in (10, 16):
            node.note(f"{node.name} rounds to 16 bits as the model runs; this is left out")
        return [value]
    if to in (6, 7) and isinstance(value, Constant) and (np.abs(value.real) < END).all():
        return [Constant(value.real.astype(np.int64))]
    node.refuse(f"makes a type {to} of its input, expected floats")


def dropout(node: Node) -> list[Value]:
    """Dropout, which does nothing once trained."""
    node.attribute("ratio", "FLOAT")
    node.attribute("seed", "INT")
    node.attribute("consumed_inputs", "INTS")
    training = not node.attribute("is_test", "INT", 0) if node.version < 7 else False
    mode = node.constant(2)
    if training or (mode is not None and mode.values.any()):
        node.refuse("is in training mode; export the model in inference mode")
    node.constant(1)
    return same(node)


def shape(node: Node) -> list[Value]:
    """Shape, with stand-ins for the lengths that the file leaves open."""
    start, end = node.attribute("start", "INT", 0), node.attribute("end", "INT", END)
    value = node.at(0)
    if not isinstance(value, Constant | Stream):
        node.refuse("takes the shape of a state")
    sizes = value.shape if isinstance(value, Stream) else value.values.shape
    return [Constant(np.array(sizes[start:end], np.int64))]


def _bounded(node: Node, sizes: list[int] | None) -> list[int]:
    if sizes is None or any(size < 1 for size in sizes) or len(sizes) > 8 or float(np.prod(sizes, dtype=float)) > 2**40:
        node.refuse(f"makes a constant of shape {sizes}")
    return sizes


def filled(node: Node) -> list[Value]:
    """ConstantOfShape; takes no memory."""
    value = node.attribute("value", "TENSOR", np.zeros(1))
    sizes = _bounded(node, node.integers(0))
    if value.size != 1:
        node.refuse("has a value that is not one number")
    return [Constant(np.broadcast_to(value.reshape(()), sizes))]


def expand(node: Node) -> list[Value]:
    """Expand of a constant; takes no memory."""
    value, sizes = node.needed(0), _bounded(node, node.integers(1))
    final = np.broadcast_shapes(value.values.shape, tuple(sizes))
    return [value.map(lambda a: np.broadcast_to(a, final))]


def tile(node: Node) -> list[Value]:
    """Tile of a constant."""
    value, times = node.needed(0), _bounded(node, node.integers(1))
    if float(np.prod(times, dtype=float)) * value.values.size > 2**24:
        node.refuse(f"repeats a constant {times} times")

    def repeated(a: NDArray[Any]) -> NDArray[Any]:
        return np.tile(a, times)

    return [value.map(repeated)]
