"""Nodes that lay numbers out otherwise: on constants they are carried out, on the stream they are kept track of."""

from typing import Any

import numpy as np

from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import (
    FEATURES,
    STAND_INS,
    Axis,
    Carried,
    Constant,
    Movable,
    Parts,
    Stream,
    Value,
    length,
)


def axis_of(node: Node, axis: int, rank: int) -> int:
    """Return the axis counted from the front."""
    if not -rank <= axis < rank:
        node.refuse(f"has axis {axis}, expected one of {rank}")
    return axis % rank


def movable(node: Node, index: int = 0) -> Movable:
    """Return an input that can be moved about."""
    value = node.at(index)
    if not isinstance(value, Constant | Stream | Carried | Parts):
        node.refuse("moves something that it can't be followed on")
    return value


def transpose(node: Node) -> list[Value]:
    """Transpose."""
    value, order = movable(node), node.attribute("perm", "INTS")
    if isinstance(value, Carried):
        return [value]
    if isinstance(value, Parts):
        node.refuse("reorders states of several layers")
    rank = len(value.axes) if isinstance(value, Stream) else value.values.ndim
    order = list(range(rank))[::-1] if order is None else order
    if sorted(order) != list(range(rank)):
        node.refuse(f"has perm {order}, expected an order of {rank} axes")
    if isinstance(value, Stream):
        return [value.moved(tuple(value.axes[k] for k in order))]
    return [value.map(lambda a: a.transpose(order))]


def squeeze(node: Node) -> list[Value]:
    """Squeeze."""
    value = movable(node)
    axes = node.attribute("axes", "INTS") if node.version < 13 else node.integers(1)
    if isinstance(value, Carried):
        return [value]
    if isinstance(value, Parts):
        node.refuse("squeezes states of several layers")
    shape = value.shape if isinstance(value, Stream) else value.values.shape
    if axes is None:
        if any(size in STAND_INS for size in shape):
            node.refuse("names no axes, and the stream has axes of open length; name them")
        axes = [k for k, size in enumerate(shape) if size == 1]
    gone = {axis_of(node, a, len(shape)) for a in axes}
    if any(shape[k] != 1 for k in gone):
        node.refuse(f"takes axes {sorted(gone)} out of shape {shape}, expected axes of length 1; fix their length to 1")
    if isinstance(value, Stream):
        return [value.moved(tuple(axis for k, axis in enumerate(value.axes) if k not in gone))]
    return [value.map(lambda a: a.reshape([size for k, size in enumerate(shape) if k not in gone]))]


def unsqueeze(node: Node) -> list[Value]:
    """Unsqueeze."""
    value = movable(node)
    axes = (node.attribute("axes", "INTS") if node.version < 13 else node.integers(1)) or []
    if isinstance(value, Carried):
        return [value]
    if isinstance(value, Parts):
        node.refuse("reshapes states of several layers")
    old = list(value.axes) if isinstance(value, Stream) else list(value.values.shape)
    new: list[Any] = old.copy()
    for k in sorted(axis_of(node, a, len(old) + len(axes)) for a in axes):
        new.insert(k, () if isinstance(value, Stream) else 1)
    if len(new) > 8:
        node.refuse("makes more than 8 axes")
    return [value.moved(tuple(new))] if isinstance(value, Stream) else [value.map(lambda a: a.reshape(new))]


def reshape(node: Node) -> list[Value]:
    """Reshape, of the stream where it only merges, splits, adds or drops whole axes."""
    value, allow_zero = movable(node), node.attribute("allowzero", "INT", 0)
    target = node.attribute("shape", "INTS") if node.version < 5 else node.integers(1)
    if isinstance(value, Carried):
        return [value]
    if target is None or isinstance(value, Parts):
        node.refuse("has no constant shape, or reshapes states of several layers")
    shape = value.shape if isinstance(value, Stream) else value.values.shape
    return [_reshaped(node, value, _resolved(node, target, shape, bool(allow_zero)))]


def flatten(node: Node) -> list[Value]:
    """Flatten."""
    value, axis = movable(node), node.attribute("axis", "INT", 1)
    if not isinstance(value, Constant | Stream):
        node.refuse("flattens states")
    shape = value.shape if isinstance(value, Stream) else value.values.shape
    axis = axis_of(node, axis, len(shape) + 1)
    sizes = [int(np.prod(part, dtype=np.int64)) for part in (shape[:axis], shape[axis:])]
    return [_reshaped(node, value, sizes)]


def _resolved(node: Node, target: list[int], shape: tuple[int, ...], allow_zero: bool) -> list[int]:
    """Return the sizes that 0 (as before) and -1 (what is left) stand for."""
    sizes = [shape[k] if size == 0 and not allow_zero and k < len(shape) else size for k, size in enumerate(target)]
    total, known = int(np.prod(shape, dtype=np.int64)), 1
    for size in sizes:
        known *= size if size != -1 else 1
    if sizes.count(-1) == 1 and known > 0:
        sizes[sizes.index(-1)] = total // known
        known *= total // known
    if known != total or any(size < 1 for size in sizes) or len(sizes) > 8:
        node.refuse(f"makes shape {target} of {shape}, which does not fit; was the model exported for a fixed batch?")
    return sizes


def _reshaped(node: Node, value: Constant | Stream, sizes: list[int]) -> Value:
    if isinstance(value, Constant):
        return value.map(lambda a: a.reshape(sizes))
    atoms = [atom for axis in value.axes for atom in axis]
    axes: list[Axis] = []
    for size in sizes:
        axis: Axis = ()
        while length(axis) < size and atoms:
            axis = (*axis, atoms.pop(0))
        axes.append(axis)
        mixed = len(axis) > 1 and any(atom.name == FEATURES for atom in axis)
        if length(axis) != size or mixed:
            node.refuse(f"mixes steps or values of the stream: shape {sizes} of {value.shape}; that can't be streamed")
    return value.moved(tuple(axes))
