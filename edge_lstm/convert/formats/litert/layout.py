"""Operators that only move axes, or pick the last time step: where time and channels are after each.

A batch of one is taken for granted, so that a tensor has at most one axis of time, channels last, and else axes of 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from edge_lstm.convert.formats.litert.file import Graph, Operator, Tensor
from edge_lstm.errors import WeightsError

OPTIONS = {"STRIDED_SLICE": 32, "GATHER": 23, "SQUEEZE": 30, "RESHAPE": 17, "TRANSPOSE": 26, "EXPAND_DIMS": 52}


@dataclass(frozen=True)
class Layout:
    """How the rows lie in the tensor at hand.

    Attributes:
        shape: its sizes, -1 for any number of rows.
        time: the axis of time, None if there is one row only.
        last: whether only the last row is left.
    """

    shape: tuple[int, ...]
    time: int | None
    last: bool = False

    @property
    def channels(self) -> int:
        """Size of the last axis."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """Rows that are there, -1 for any number."""
        return 1 if self.time is None else self.shape[self.time]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether a tensor of a shape can be laid out so."""
        return len(shape) == len(self.shape) and all(a in (-1, b) for a, b in zip(self.shape, shape, strict=True))

    def of(self, channels: int) -> "Layout":
        """Return the layout with another number of channels."""
        return Layout((*self.shape[:-1], channels), self.time, self.last)


def _refused(operator: Operator, why: str) -> WeightsError:
    return WeightsError(f"{operator.where}: {why}")


def _integers(graph: Graph, operator: Operator, at: int, limit: int = 8) -> list[int]:
    """Return the constant that an operator takes as its input ``at``."""
    if at >= len(operator.inputs):
        raise _refused(operator, f"input {at} is missing")
    tensor, data = graph.constant(operator.inputs[at], operator.where)
    if tensor.type not in ("int32", "int64") or data.size > limit:
        raise _refused(operator, f"input {at} is {tensor.type} {tensor.shape}, expected at most {limit} int32")
    return [int(value) for value in data.ravel()]


def _option(operator: Operator, field: int, form: str, default: int = 0) -> int:
    if operator.options is None:
        return default
    if operator.options_type != OPTIONS[operator.kind]:
        raise _refused(operator, f"options of type {operator.options_type}, expected {OPTIONS[operator.kind]}")
    return operator.options.integer(field, form, default)


def input_layout(tensor: Tensor, major: bool) -> Layout:
    """Return where time and channels are in the input.

    Args:
        tensor: the input.
        major: whether the first LSTM wants time first; decides between axes that may both change their size.
    """
    shape, rank = tensor.shape, len(tensor.shape)
    long = [axis for axis in range(rank - 1) if shape[axis] != 1]
    if rank not in (2, 3) or len(long) > 1 or len(tensor.signature) != rank:
        message = f"the input has shape {shape}, expected (1, time steps, channels); convert with a batch of 1"
        raise WeightsError(message)
    time = long[0] if long else 0 if major else 1
    if rank == 2 and not long:
        return Layout(shape, None)  # one row; a first axis that may change is the batch
    if tensor.signature[time] == -1:
        return Layout((*shape[:time], -1, *shape[time + 1 :]), time)
    return Layout(shape, time if long else None)


def moved(graph: Graph, operator: Operator, layout: Layout) -> Layout:
    """Return the layout after one of the operators of ``OPTIONS``.

    Raises:
        WeightsError: it does more than move axes of one, or pick the last time step.
    """
    return _MOVES[operator.kind](graph, operator, layout)


def reshaped(operator: Operator, layout: Layout, shape: tuple[int, ...]) -> Layout:
    """Return the layout after a reshape, in which channels have to stay last and time before them."""
    if shape.count(-1) == 1 and layout.rows > 0:
        known = math.prod(size for size in shape if size != -1)
        missing = layout.rows * layout.channels // known if known else 0
        shape = tuple(missing if size == -1 else size for size in shape)
    before = [axis for axis, size in enumerate(shape[:-1]) if size != 1]
    sizes = [shape[axis] for axis in before]
    if not shape or shape[-1] != layout.channels or sizes != ([] if layout.rows == 1 else [layout.rows]):
        why = f"a reshape of {layout.shape} to {shape} mixes channels and time steps, which can't be streamed"
        raise _refused(operator, why)
    return Layout(shape, before[0] if before else None, layout.last)


def _reshape(graph: Graph, operator: Operator, layout: Layout) -> Layout:
    if len(operator.inputs) < 2:
        raise _refused(operator, "its new shape is missing")
    return reshaped(operator, layout, tuple(_integers(graph, operator, 1)))


def _squeeze(graph: Graph, operator: Operator, layout: Layout) -> Layout:
    if operator.options is None or operator.options_type != OPTIONS["SQUEEZE"]:
        raise _refused(operator, "its axes are missing; name the axes to squeeze")
    rank = len(layout.shape)
    axes = {axis % rank for axis in operator.options.integers(0, rank) if -rank <= axis < rank}
    if not axes or rank - 1 in axes or any(layout.shape[axis] != 1 for axis in axes):
        raise _refused(
            operator, f"a squeeze of axes {sorted(axes)} of {layout.shape}; name axes of 1, not the channels"
        )
    return reshaped(operator, layout, tuple(size for axis, size in enumerate(layout.shape) if axis not in axes))


def _expand_dims(graph: Graph, operator: Operator, layout: Layout) -> Layout:
    rank = len(layout.shape) + 1
    axes = _integers(graph, operator, 1, 1)
    if len(axes) != 1 or not -rank <= axes[0] < rank - 1 or axes[0] == -1:
        raise _refused(operator, f"a new axis at {axes} of {layout.shape}, expected one before the channels")
    at = axes[0] % rank
    return reshaped(operator, layout, (*layout.shape[:at], 1, *layout.shape[at:]))


def _transpose(graph: Graph, operator: Operator, layout: Layout) -> Layout:
    order = _integers(graph, operator, 1)
    rank = len(layout.shape)
    if sorted(order) != list(range(rank)) or order[-1] != rank - 1:
        raise _refused(operator, f"a transpose to axes {order} of {layout.shape} moves the channels; leave them last")
    time = None if layout.time is None else order.index(layout.time)
    return Layout(tuple(layout.shape[axis] for axis in order), time, layout.last)


def _gather(graph: Graph, operator: Operator, layout: Layout) -> Layout:
    axis = _option(operator, 0, "i")
    at = axis % len(layout.shape) if -len(layout.shape) <= axis < len(layout.shape) else -1
    tensor, _ = graph.constant(operator.inputs[1] if len(operator.inputs) > 1 else -1, operator.where)
    picked = _integers(graph, operator, 1, 1)
    if at != layout.time or picked != [layout.rows - 1] or layout.rows < 1 or _option(operator, 1, "i"):
        raise _refused(operator, f"picks {picked} of axis {axis} of {layout.shape}; only the last time step can be")
    kept = (1,) * len(tensor.shape)
    return Layout((*layout.shape[:at], *kept, *layout.shape[at + 1 :]), None, True)


def _strided_slice(graph: Graph, operator: Operator, layout: Layout) -> Layout:
    begin, end, stride = (_integers(graph, operator, at) for at in (1, 2, 3))
    begin_mask, end_mask, ellipsis, new_axis, shrink, offset = (_option(operator, field, "i") for field in range(6))
    if not len(begin) == len(end) == len(stride) <= len(layout.shape) or ellipsis or new_axis or offset:
        raise _refused(operator, "a slice with an ellipsis, a new axis or offsets is not read")
    shape: list[int] = []
    time, last = None, layout.last
    for axis, size in enumerate(layout.shape):
        start: int | None = None
        stop: int | None = None
        if axis < len(begin):
            start = None if begin_mask >> axis & 1 else begin[axis]
            stop = None if end_mask >> axis & 1 else end[axis]
        gone = axis < len(begin) and bool(shrink >> axis & 1)
        whole = (axis >= len(begin) or stride[axis] == 1) and not gone and _whole(start, stop, size)
        if not whole and not (axis < len(layout.shape) - 1 and _final(start, None if gone else stop, size)):
            why = f"begin {begin}, end {end}, stride {stride} picks some of {layout.shape}, or turns it around"
            raise _refused(operator, f"{why}; only all time steps or the last one can be streamed")
        if axis == layout.time:
            time, last = (len(shape), last) if whole else (None, True)
        shape += [] if gone else [size] if whole else [1]
    return Layout(tuple(shape), time, last)


def _whole(start: int | None, stop: int | None, size: int) -> bool:
    """Return whether a slice keeps an axis of a size (-1 if unknown) as it is."""
    if size < 0:
        return start in (None, 0) and stop is None
    return range(size)[start:stop] == range(size)


def _final(start: int | None, stop: int | None, size: int) -> bool:
    """Return whether a slice keeps the last element of an axis alone."""
    if size < 0:
        return start == -1 and stop is None
    return range(size)[start:stop] == range(size - 1, size)


_MOVES: dict[str, Callable[[Graph, Operator, Layout], Layout]] = {
    "STRIDED_SLICE": _strided_slice,
    "GATHER": _gather,
    "SQUEEZE": _squeeze,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "EXPAND_DIMS": _expand_dims,
}
