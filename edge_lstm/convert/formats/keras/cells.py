"""Keras' LSTM layers. Its gates stand in the order i, f, c, o, its kernels are (inputs, 4H): ours, transposed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_lstm.convert.formats.keras import activations as keras_activations
from edge_lstm.convert.formats.keras.builder import Builder
from edge_lstm.convert.formats.keras.hdf5 import Array
from edge_lstm.convert.formats.keras.settings import Layer, Settings, layer_of, refuse
from edge_lstm.convert.formats.keras.variables import Variables, snake_case, unique
from edge_lstm.convert.model import GATES, MAX_LAYERS, MAX_UNITS, Floats, Lstm, Matrix

ROLES = ("kernel", "recurrent_kernel", "bias")


def lstm(builder: Builder, layer: Layer, variables: Variables) -> None:
    """Read an LSTM layer."""
    settings = Settings(layer)
    _behavior(builder, layer, settings)
    _cell(builder, layer, settings, variables, "cell")


def rnn(builder: Builder, layer: Layer, variables: Variables) -> None:
    """Read an RNN layer over an LSTMCell, or over several."""
    settings = Settings(layer)
    cell = layer_of(settings.raw("cell"), layer.where)
    _behavior(builder, layer, settings)
    settings.done()
    if cell.kind != "StackedRNNCells":
        _lstm_cell(builder, cell, variables, "cell")
        return
    inner = Settings(cell)
    entries = inner.raw("cells")
    inner.done()
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_LAYERS:
        refuse(f"{layer.where} has no list of 1 to {MAX_LAYERS} cells")
    cells = [layer_of(entry, layer.where) for entry in entries]
    for one, name in zip(cells, unique([snake_case(one.kind) for one in cells]), strict=True):
        _lstm_cell(builder, one, variables, f"cell/cells/{name}")


def _lstm_cell(builder: Builder, cell: Layer, variables: Variables, place: str) -> None:
    if cell.kind != "LSTMCell":
        refuse(f"{cell.where} can't be imported: only LSTMCell can")
    _cell(builder, cell, Settings(cell), variables, place)


def cudnn_lstm(builder: Builder, layer: Layer, variables: Variables) -> None:
    """Read a CuDNNLSTM layer of Keras 2: kernels as NVIDIA's library has them, and two biases, which are added."""
    settings = Settings(layer)
    _behavior(builder, layer, settings)
    units = settings.size("units")
    settings.done()
    kernel, recurrent, bias = _floats(variables.take("", ROLES), layer)
    _require_shapes(layer, units, [kernel, recurrent, bias], 2)
    # each gate's block holds its (H, inputs) matrix row by row, in an array that is declared (inputs, H)
    weight_ih, weight_hh = (
        Matrix.of_floats(np.concatenate([gate.reshape(units, -1) for gate in np.split(matrix, GATES, 1)]))
        for matrix in (kernel, recurrent)
    )
    _add(builder, Lstm(layer.name, weight_ih, weight_hh, bias[: GATES * units] + bias[GATES * units :]))


def _behavior(builder: Builder, layer: Layer, settings: Settings) -> None:
    """Read what RNN layers have in common."""
    if settings.flag("go_backwards", False):
        refuse(f"{layer.where} reads the window backwards (go_backwards); a stream has no end to begin from")
    settings.expect("time_major", (False,), "only (batch, rows, inputs) is known here; save it with time_major off")
    if builder.head:
        refuse(f"{layer.where} stands behind a dense layer or activation; LSTM layers have to follow each other")
    if not builder.sequence:
        refuse(f"{layer.where} gets the last row only; set return_sequences of the LSTM before it")
    builder.sequence = settings.flag("return_sequences", False)
    builder.stateful.add(settings.flag("stateful", False))


def _cell(builder: Builder, layer: Layer, settings: Settings, variables: Variables, place: str) -> None:
    units, use_bias = settings.size("units"), settings.flag("use_bias", True)
    inner, gate = (
        keras_activations.named(settings.raw(key), builder.major, f"{layer.where}: {key}")
        for key in ("activation", "recurrent_activation")
    )
    settings.done()
    arrays = _floats(variables.take(place, ROLES if use_bias else ROLES[:2]), layer)
    _require_shapes(layer, units, arrays, 1)
    bias = arrays[2] if use_bias else np.zeros(GATES * units)
    weight_ih, weight_hh = Matrix.of_floats(arrays[0].T), Matrix.of_floats(arrays[1].T)
    _add(builder, Lstm(layer.name, weight_ih, weight_hh, bias, gate=gate, candidate=inner, output=inner))


def _add(builder: Builder, new: Lstm) -> None:
    if builder.width not in (None, new.input_size):
        refuse(f"layer {new.name!r} has weights for {new.input_size} inputs, it gets {builder.width}")
    weight, bias = builder.absorb(new.weight_ih, new.bias)
    builder.layers.append(replace(new, weight_ih=weight, bias=bias))


def _floats(arrays: Sequence[Array], layer: Layer) -> list[Floats]:
    for array, role in zip(arrays, ROLES, strict=False):
        if array.dtype.kind != "f":
            refuse(f"{layer.where}: {role} is {array.dtype}, expected floats; save the model as float32")
    return [np.asarray(array, np.float64) for array in arrays]


def _require_shapes(layer: Layer, units: int, arrays: Sequence[Array], biases: int) -> None:
    if units > MAX_UNITS:
        refuse(f"{layer.where}: {units} units, expected at most {MAX_UNITS}")
    inputs = arrays[0].shape[0] if arrays[0].ndim else 0
    rows = GATES * units
    for array, role, shape in zip(arrays, ROLES, ((inputs, rows), (units, rows), (biases * rows,)), strict=False):
        if array.shape != shape or not inputs:
            refuse(f"{layer.where}: {role} has shape {array.shape}, expected {shape}")
