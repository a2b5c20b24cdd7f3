"""LiteRT (TensorFlow Lite) files, .tflite: a chain of operators from one input to one output, with LSTMs in it.

Neither TensorFlow nor LiteRT is needed to read them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_lstm.convert.checks import check
from edge_lstm.convert.files import content
from edge_lstm.convert.formats.litert.file import IDENTIFIER, Graph, Operator, Tensor, parse
from edge_lstm.convert.formats.litert.graph import LSTMS, check_kinds, check_taken, folded
from edge_lstm.convert.formats.litert.head import (
    ACTIVATIONS,
    ARITHMETIC,
    activated,
    arithmetic_constant,
    fully_connected,
    rescaled,
    shifted,
)
from edge_lstm.convert.formats.litert.layout import OPTIONS as MOVES
from edge_lstm.convert.formats.litert.layout import Layout, input_layout, moved
from edge_lstm.convert.formats.litert.lstm import CELL_STATE, OUTPUT_STATE, lstm, time_major
from edge_lstm.convert.model import MAX_INPUTS, MAX_LAYERS, Dense, Floats, Lstm, Model, Scaler
from edge_lstm.errors import WeightsError

SUFFIXES: tuple[str, ...] = (".tflite",)
GRIDS = ("QUANTIZE", "DEQUANTIZE")


def recognizes(first: bytes) -> bool:
    """Return whether a file that begins so is one of this format."""
    return first[4:8] == IDENTIFIER


@dataclass
class _Walk:
    """What the operators so far have come to."""

    graph: Graph
    layout: Layout
    mean: Floats
    scale: Floats
    rows: int
    scaled: bool = False
    layers: list[Lstm] = field(default_factory=list)
    dense: list[Dense] = field(default_factory=list)
    states: set[int] = field(default_factory=set)


def read(path: Path) -> Model:
    """Return what a .tflite file says.

    Raises:
        WeightsError: it is damaged, or holds something else than one stream's LSTM; says what, where and why.
    """
    with np.errstate(all="ignore"):  # what is not finite is refused at the end, with its name
        return _read(parse(content(path)))


def _read(graph: Graph) -> Model:
    check_kinds(graph, _STEPS)
    walk = _start(folded(graph))
    at = graph.inputs[0]
    for operator in walk.graph.operators:
        at = _follow(walk, operator, at)
    if at != graph.outputs[0]:
        message = f"the output is tensor {graph.outputs[0]}, the operators end in {at}"
        raise WeightsError(message)
    check_taken(graph)
    return check(_model(walk))


def layout(path: Path) -> Layout:
    """Return how rows lie in the input of a file that ``read`` takes."""
    return _start(parse(content(path))).layout


def _start(graph: Graph) -> _Walk:
    tensor = graph.tensor(graph.inputs[0], "the input")
    _check_activation(tensor, "the input")
    major = next(time_major(operator) for operator in graph.operators if operator.kind in LSTMS)
    given = input_layout(tensor, major)
    if not 1 <= given.channels <= MAX_INPUTS:
        message = f"the input has shape {tensor.shape}, expected 1 to {MAX_INPUTS} channels, last"
        raise WeightsError(message)
    return _Walk(graph, given, np.zeros(given.channels), np.ones(given.channels), given.rows)


def _check_activation(tensor: Tensor, where: str) -> None:
    """Raise unless a computed tensor is one that is read: float32, or int8 with a scale."""
    if tensor.data is not None or tensor.variable:
        raise WeightsError(f"{where}: tensor {tensor.name!r} is a constant or a variable, expected computed values")
    if tensor.type != "float32" and not (tensor.type == "int8" and len(tensor.scale) == 1):
        found = f"{tensor.type} with {len(tensor.scale)} scales"
        raise WeightsError(f"{where}: tensor {tensor.name!r} is {found}, expected float32, or int8 with one scale")


def _follow(walk: _Walk, operator: Operator, at: int) -> int:
    """Take one operator, whose input is tensor ``at``; return its output."""
    turned = operator.kind in ("ADD", "MUL")  # the constant may come first
    if operator.inputs.count(at) != 1 or (operator.inputs[0] != at and not turned) or len(operator.outputs) != 1:
        why = "does not go on from the operator before alone: branches, sums of layers, attention are not read"
        raise WeightsError(f"{operator.where}: {why}")
    expected = 2 if operator.kind in ARITHMETIC else 1
    if operator.kind in (*ARITHMETIC, *ACTIVATIONS, *GRIDS) and len(operator.inputs) != expected:
        raise WeightsError(f"{operator.where}: {len(operator.inputs)} inputs, expected {expected}")
    output = walk.graph.tensor(operator.outputs[0], operator.where)
    _check_activation(output, operator.where)
    _STEPS[operator.kind](walk, operator, at)
    if not walk.layout.fits(output.shape):
        raise WeightsError(f"{operator.where}: an output of shape {output.shape}, expected {walk.layout.shape}")
    return operator.outputs[0]


def _lstm(walk: _Walk, operator: Operator, at: int) -> None:
    given, where = walk.layout, operator.where
    if walk.dense:
        raise WeightsError(f"{where}: after {walk.dense[-1].name}; only LSTM layers may come before an LSTM layer")
    if given.last:
        raise WeightsError(f"{where}: after the last time step was picked, so it would see one row in a window")
    rank, time = (2, None) if operator.kind == "LSTM" else (3, 0 if time_major(operator) else 1)
    if len(given.shape) != rank or (given.time is not None and given.time != time):
        why = f"an input of shape {given.shape} is a batch to it, not a sequence; convert with a batch of 1"
        raise WeightsError(f"{where}: {why}")
    if len(walk.layers) == MAX_LAYERS:
        raise WeightsError(f"{where}: more than {MAX_LAYERS} LSTM layers")
    layer = lstm(walk.graph, operator, given.channels)
    states = {operator.inputs[OUTPUT_STATE], operator.inputs[CELL_STATE]}
    if len(states) != 2 or states & walk.states:
        raise WeightsError(f"{where}: a state tensor that is used twice")
    walk.states |= states
    walk.layers.append(layer)
    walk.layout = given.of(layer.output_size)


def _move(walk: _Walk, operator: Operator, at: int) -> None:
    walk.layout = moved(walk.graph, operator, walk.layout)


def _same(walk: _Walk, operator: Operator, at: int) -> None:
    """QUANTIZE and DEQUANTIZE: another grid for the same numbers."""


def _fully_connected(walk: _Walk, operator: Operator, at: int) -> None:
    if not walk.layers:
        raise WeightsError(f"{operator.where}: a dense layer before the LSTM is not read; train the LSTM on its input")
    given = walk.layout
    dense, keeps = fully_connected(walk.graph, operator, given.channels)
    walk.dense.append(dense)
    if not keeps:
        given = Layout((given.rows, given.channels), None if given.time is None else 0, given.last)
    walk.layout = given.of(dense.weight.shape[0])


def _activation(walk: _Walk, operator: Operator, at: int) -> None:
    _check_after(walk, operator)
    walk.dense[:] = activated(walk.dense, operator, walk.layout.channels)


def _arithmetic(walk: _Walk, operator: Operator, at: int) -> None:
    """ADD, SUB, MUL, DIV with a constant: of the scaler before the LSTM, of the last dense layer behind it."""
    other = walk.graph.constant(next(k for k in operator.inputs if k != at), operator.where)
    values = arithmetic_constant(operator, other, walk.layout.channels)
    if walk.layers:
        _check_after(walk, operator)
        walk.dense[:] = shifted(walk.dense, operator, values)
    else:
        walk.mean, walk.scale = rescaled((walk.mean, walk.scale), operator, values)
        walk.scaled = True


def _check_after(walk: _Walk, operator: Operator) -> None:
    if not walk.layers:
        raise WeightsError(f"{operator.where}: before the LSTM; only a scaler (SUB, DIV, MUL, ADD) may come there")


_STEPS: dict[str, Callable[[_Walk, Operator, int], None]] = {
    **dict.fromkeys(LSTMS, _lstm),
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(GRIDS, _same),
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    "FULLY_CONNECTED": _fully_connected,
}


def _model(walk: _Walk) -> Model:
    integer = any(tensor.type == "int8" and tensor.data is None for tensor in walk.graph.tensors)
    notes = []
    if integer:
        notes.append("LiteRT rounds the values between this model's layers to 8 bits; here they are not rounded")
    if walk.rows > 1:
        notes.append(f"made for {walk.rows} rows at a time; LiteRT keeps the state unless its variables are reset")
    return Model(
        source="LiteRT model (.tflite)",
        layers=tuple(walk.layers),
        head=tuple(walk.dense),
        scaler=Scaler(walk.mean, walk.scale) if walk.scaled else None,
        window=walk.rows if walk.rows > 1 else 0,
        stateful=walk.rows == 1,
        notes=tuple(notes),
    )
