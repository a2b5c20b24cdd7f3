"""What every imported model must be: parts that fit together, numbers in bounds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.model import GATES, LARGEST_INTEGER, MAX_INPUTS, MAX_LAYERS, MAX_UNITS, Lstm, Matrix, Model
from edge_lstm.errors import WeightsError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


def check(model: Model) -> Model:
    """Return the model if its parts fit together and are within bounds; every importer ends with this.

    Raises:
        WeightsError: a shape that does not fit, a value that is not finite, a size out of bounds.
    """
    _require(1 <= len(model.layers) <= MAX_LAYERS, f"{len(model.layers)} LSTM layers, expected 1 to {MAX_LAYERS}")
    width = model.input_size
    _require(1 <= width <= MAX_INPUTS, f"{width} inputs, expected 1 to {MAX_INPUTS}")
    if model.scaler is not None:
        for what in (model.scaler.mean, model.scaler.scale):
            _numbers(what, (width,), "the scaler")
        _require(bool((model.scaler.scale > 0).all()), "the scaler has a scale that is not positive")
    for layer in model.layers:
        _check_layer(layer, width)
        width = layer.output_size
    for at, dense in enumerate(model.head):
        outputs = dense.weight.shape[0]
        _require(1 <= outputs <= MAX_UNITS, f"{dense.name}: {outputs} outputs, expected 1 to {MAX_UNITS}")
        _matrix(dense.weight, (outputs, width), f"{dense.name}: weight")
        _numbers(dense.bias, (outputs,), f"{dense.name}: bias")
        _require(
            dense.activation.kind != "softmax" or at == len(model.head) - 1, f"{dense.name}: softmax before the end"
        )
        width = outputs
    return model


def _check_layer(layer: Lstm, width: int) -> None:
    hidden, out, name = layer.hidden_size, layer.output_size, layer.name
    _require(1 <= hidden <= MAX_UNITS, f"{name}: {hidden} units, expected 1 to {MAX_UNITS}")
    _require(1 <= out <= MAX_UNITS, f"{name}: {out} outputs, expected 1 to {MAX_UNITS}")
    _matrix(layer.weight_ih, (GATES * hidden, width), f"{name}: input weights")
    _matrix(layer.weight_hh, (GATES * hidden, out), f"{name}: recurrent weights")
    _numbers(layer.bias, (GATES * hidden,), f"{name}: bias")
    for array, shape, what in (
        (layer.peephole, (3, hidden), "peepholes"),
        (layer.norm, (GATES, hidden), "layer normalization"),
        (layer.bias_hr, (out,), "projection bias"),
    ):
        if array is not None:
            _numbers(array, shape, f"{name}: {what}")
    if layer.weight_hr is None:
        _require(out == hidden, f"{name}: recurrent weights take {out} values, the layer has {hidden} units")
        _require(layer.bias_hr is None, f"{name}: a projection bias without a projection")
    else:
        _matrix(layer.weight_hr, (out, hidden), f"{name}: projection")
    if layer.initial is not None:
        _numbers(layer.initial[0], (out,), f"{name}: initial output")
        _numbers(layer.initial[1], (hidden,), f"{name}: initial cell state")
    for activation in (layer.gate, layer.candidate, layer.output):
        _require(activation.kind != "softmax", f"{name}: softmax inside a cell")
    for clip in (layer.gate_clip, layer.cell_clip, layer.projection_clip):
        _require(np.isfinite(clip) and clip >= 0, f"{name}: a clip of {clip}, expected >= 0")


def _numbers(array: NDArray[Any], shape: tuple[int, ...], what: str) -> None:
    _require(array.shape == shape, f"{what} has shape {array.shape}, expected {shape}")
    _require(array.dtype == np.float64, f"{what} is {array.dtype}, expected float64")
    _require(bool((np.abs(array) <= 1e15).all()), f"{what} holds a value that is not finite or above 1e15")


def _matrix(matrix: Matrix, shape: tuple[int, int], what: str) -> None:
    found = matrix.values.shape
    _require(found == shape, f"{what} has shape {found}, expected {shape}")
    _numbers(matrix.scale, shape[:1], f"{what}: scale")
    _require(bool((matrix.scale > 0).all()), f"{what}: a scale that is not positive")
    if matrix.is_integer:
        _require(int(np.abs(matrix.values).max()) <= LARGEST_INTEGER, f"{what}: an integer above {LARGEST_INTEGER}")
    else:
        _numbers(matrix.values, shape, what)
