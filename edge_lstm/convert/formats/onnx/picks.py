"""Nodes that pick and join: of the stream only its last step, of states only whole layers."""

from typing import Any

import numpy as np

from edge_lstm.convert.formats.onnx.axes import axis_of, movable
from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import (
    END,
    Carried,
    Constant,
    Parts,
    Stream,
    Value,
    length,
)


def gather(node: Node) -> list[Value]:
    """Gather: of the stream, the last time step, or the only element of an axis."""
    value, axis = movable(node), node.attribute("axis", "INT", 0)
    index = node.needed(1).values
    if index.dtype.kind not in "iu":
        node.refuse("has indices that are not integers")
    if isinstance(value, Constant):
        axis = axis_of(node, axis, value.values.ndim)
        size = value.values.shape[axis]
        if index.size > size or not ((-size <= index) & (index < size)).all():
            node.refuse(f"has indices outside of {size}, or more of them")
        return [value.map(lambda a: a.take(index % size, axis))]
    if index.size != 1:
        node.refuse("picks several elements of the stream, which is streamed as a whole")
    at = int(index.ravel()[0])
    return [_picked(node, value, axis, at, at + 1 or END, keep=index.ndim == 1)]


def slices(node: Node) -> list[Value]:
    """Slice: of the stream, the last time step, or all of an axis."""
    value: Value = movable(node)
    if node.version < 10:
        starts, ends = node.attribute("starts", "INTS", []), node.attribute("ends", "INTS", [])
        axes, steps = node.attribute("axes", "INTS"), None
    else:
        starts, ends, axes, steps = (node.integers(k) for k in (1, 2, 3, 4))
    starts, ends = starts or [], ends or []
    axes = list(range(len(starts))) if axes is None else axes
    if not len(starts) == len(ends) == len(axes) or (steps is not None and set(steps) != {1}):
        node.refuse("has starts, ends and axes that don't fit together, or steps other than 1 (reversing can't stream)")
    for start, end, axis in zip(starts, ends, axes, strict=True):
        value = _sliced(node, value, axis, start, end)
    return [value]


def _sliced(node: Node, value: Value, axis: int, start: int, end: int) -> Value:
    if isinstance(value, Constant):
        cut: list[Any] = [slice(None)] * value.values.ndim
        cut[axis_of(node, axis, value.values.ndim)] = slice(start, end)
        return value.map(lambda a: a[tuple(cut)])
    return _picked(node, value, axis, start, end, keep=True)


def _picked(node: Node, value: Value, axis: int, start: int, end: int, keep: bool) -> Value:
    """Return what lies from start to end on one axis of the stream, the axis itself kept or not."""
    if isinstance(value, Carried):
        if axis != 0 or (end - start != 1 and end != END):
            node.refuse("picks from a state that the caller passes otherwise than one layer's on axis 0")
        return value._replace(at=value.at + start)
    if isinstance(value, Parts):
        return _part(node, value, axis, start, end, keep)
    assert isinstance(value, Stream)
    axis = axis_of(node, axis, len(value.axes))
    label = value.axes[axis]
    first, stop, _ = slice(start, end).indices(length(label))
    if (first, stop) == (0, length(label)) and (keep or not label):
        return value if keep else value.moved(value.axes[:axis] + value.axes[axis + 1 :])
    if stop - first != 1 or label != value.chain.time or not value.chain.layers:
        node.refuse(
            f"picks {first}:{stop} of {length(label)} on an axis of the stream; only the last step can be picked"
        )
    if stop != length(label):
        node.refuse(f"picks time step {first}; only the last can be picked of a stream")
    return value.moved(value.axes[:axis] + (((),) if keep else ()) + value.axes[axis + 1 :])


def _part(node: Node, value: Parts, axis: int, start: int, end: int, keep: bool) -> Value:
    rank = len(value.parts[0].axes)
    if axis_of(node, axis, rank) != value.axis:
        node.refuse("picks from states of several layers along another axis than theirs")
    found = value.parts[slice(start, end)]
    if len(found) != 1:
        if not found:
            node.refuse(f"picks none of the {len(value.parts)} states")
        return value._replace(parts=found)
    axes = found[0].axes
    return found[0] if keep else found[0].moved(axes[: value.axis] + axes[value.axis + 1 :])


def split(node: Node) -> list[Value]:
    """Split, of states that the caller passes, and of constants."""
    value, axis = movable(node), node.attribute("axis", "INT", 0)
    sizes = node.attribute("split", "INTS") if node.version < 13 else node.integers(1)
    count = node.attribute("num_outputs", "INT", len(node.outputs))
    if isinstance(value, Stream) or count != len(node.outputs):
        node.refuse("splits the stream into branches, which is not supported")
    if sizes is None and isinstance(value, Constant):
        size = value.values.shape[axis_of(node, axis, value.values.ndim)]
        sizes = [-(-size // count)] * count
    ends = np.cumsum(sizes or [1] * count)
    if len(ends) != count or min(sizes or [1]) < 1:
        node.refuse(f"splits into sizes {sizes}, expected {count}")
    starts = [0, *ends[:-1]]
    return [_sliced(node, value, axis, int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def concat(node: Node) -> list[Value]:
    """Concat: of constants, or of the states of several layers."""
    axis = node.attribute("axis", "INT", 1 if node.version < 4 else 0)
    constants = [value for value in node.inputs if isinstance(value, Constant)]
    if constants and len(constants) == len(node.inputs):
        if len({c.values.ndim for c in constants}) != 1 or any(c.scale is not None for c in constants):
            node.refuse("joins constants of different kinds")
        axis = axis_of(node, axis, constants[0].values.ndim)
        return [Constant(np.concatenate([c.values for c in constants], axis))]
    states = [value for value in node.inputs if isinstance(value, Stream) and value.state is not None]
    if len(states) != len(node.inputs) or len({s.axes for s in states}) != 1 or not states:
        node.refuse("joins branches of the stream, which is not supported: one chain of layers can be streamed")
    axis = axis_of(node, axis, len(states[0].axes))
    if states[0].axes[axis] != ():
        node.refuse("joins states of layers other than layer by layer")
    return [states[0]] if len(states) == 1 else [Parts(tuple(states), axis)]
