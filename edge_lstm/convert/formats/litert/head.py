"""Dense layers, activations and arithmetic of LiteRT around its LSTMs, and what real numbers their constants are."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.formats.litert.file import Graph, Operator, Tensor
from edge_lstm.convert.formats.litert.lstm import FUSED, FUSED_NAMES
from edge_lstm.convert.formats.litert.tensors import SAME, constant_matrix, refused
from edge_lstm.convert.model import LINEAR, RELU, RELU6, SIGMOID, SOFTMAX, TANH, Activation, Dense, Floats, Matrix

ACTIVATIONS = {"LOGISTIC": SIGMOID, "TANH": TANH, "RELU": RELU, "RELU6": RELU6, "SOFTMAX": SOFTMAX}
ACTIVATIONS |= {"RELU_N1_TO_1": FUSED[2], "RELU_0_TO_1": Activation("clipped", 1.0, 0.0, 0.0, 1.0)}
ARITHMETIC = {"ADD": 11, "SUB": 28, "MUL": 21, "DIV": 29}  # and their options' types
DENSE_OPTIONS, SOFTMAX_OPTIONS = 8, 9


def _options(operator: Operator, expected: int) -> None:
    if operator.options is not None and operator.options_type != expected:
        raise refused(operator.where, f"options of type {operator.options_type}, expected {expected}")


def fully_connected(graph: Graph, operator: Operator, width: int) -> tuple[Dense, bool]:
    """Return a dense layer, and whether it keeps the axes of its input.

    Args:
        graph: of the file.
        operator: FULLY_CONNECTED.
        width: channels of its input.

    Raises:
        WeightsError: a form of it that is not read.
    """
    where, options = operator.where, operator.options
    _options(operator, DENSE_OPTIONS)
    code = options.integer(0, "b") if options else 0
    if code not in FUSED or (options and options.integer(1, "b")):
        raise refused(where, f"activation {FUSED_NAMES.get(code, code)} or shuffled weights, which are not read")
    if len(operator.inputs) not in (2, 3):
        raise refused(where, f"{len(operator.inputs)} inputs, expected 2 or 3")
    source = graph.tensor(operator.inputs[0], where)
    tensor, data = graph.constant(operator.inputs[1], where)
    weight = constant_matrix(tensor, data, where)
    integer = source.type == "int8"
    if integer != (graph.tensor(operator.outputs[0], where).type == "int8") or (integer and not weight.is_integer):
        raise refused(where, "integers on one side and floats on the other; put QUANTIZE or DEQUANTIZE between")
    if any(tensor.zero) and (not integer or len(tensor.zero) > 1):
        raise refused(where, f"tensor {tensor.name!r} has a zero point, which LiteRT does not read here")
    if weight.shape[1] != width:
        raise refused(where, f"its weights take {weight.shape[1]} channels, its input has {width}")
    bias = _bias(graph, operator, weight, source.scale[0] if integer else None)
    return Dense(where, weight, bias, FUSED[code]), bool(options and options.integer(2, "B"))


def _bias(graph: Graph, operator: Operator, weight: Matrix, input_scale: float | None) -> Floats:
    """Return the bias; in integers it counts in steps of input scale * weight scale, row by row."""
    rows = weight.shape[0]
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return np.zeros(rows)
    tensor, data = graph.constant(operator.inputs[2], operator.where)
    if data.shape != (rows,):
        raise refused(operator.where, f"a bias of shape {tensor.shape}, expected ({rows},)")
    if input_scale is None and tensor.type in ("float32", "float16"):
        return np.asarray(data, np.float64)
    if input_scale is None or tensor.type != "int32":
        raise refused(
            operator.where, f"a bias of {tensor.type}, expected {'float32' if input_scale is None else 'int32'}"
        )
    steps = input_scale * weight.scale
    found = np.asarray(tensor.scale or steps)
    if len(found) not in (1, rows) or (np.abs(found / steps - 1.0) > SAME).any():
        raise refused(operator.where, f"tensor {tensor.name!r} has scales that are not those of input times weights")
    return np.asarray(data * steps, np.float64)


def _last(dense: list[Dense], operator: Operator, width: int) -> tuple[list[Dense], Dense]:
    """Return the dense layers and, of those, one that is linear and last: a new one that changes nothing if need be."""
    if dense and dense[-1].activation == LINEAR:
        return dense[:-1], dense[-1]
    return dense, Dense(operator.where, Matrix.of_floats(np.eye(width)), np.zeros(width))


def activated(dense: list[Dense], operator: Operator, width: int) -> list[Dense]:
    """Return the dense layers with an activation's operator behind them."""
    if operator.kind == "SOFTMAX":
        _options(operator, SOFTMAX_OPTIONS)
        beta = operator.options.real(0) if operator.options else 0.0
        if beta != 1.0:
            raise refused(operator.where, f"softmax with beta {beta}, expected 1")
    before, last = _last(dense, operator, width)
    return [*before, replace(last, activation=ACTIVATIONS[operator.kind])]


def arithmetic_constant(operator: Operator, constant: tuple[Tensor, NDArray[Any]], width: int) -> Floats:
    """Return the numbers, one per channel, that ADD, SUB, MUL or DIV takes."""
    tensor, data = constant
    _options(operator, ARITHMETIC[operator.kind])
    if operator.options is not None and operator.options.integer(0, "b"):
        raise refused(operator.where, "a fused activation, expected none")
    if data.size not in (1, width) or data.shape[-1:] not in ((), (1,), (width,)):
        raise refused(operator.where, f"a constant of shape {tensor.shape}, expected one number or {width}, last")
    if tensor.type in ("float32", "float16"):
        values = np.asarray(data, np.float64)
    elif tensor.type == "int8" and len(tensor.scale) == 1:
        values = (data.astype(np.float64) - tensor.zero[0]) * tensor.scale[0]
    else:
        raise refused(operator.where, f"a constant of {tensor.type}, expected float32 or int8 with one scale")
    return np.broadcast_to(values.ravel(), (width,)).copy()


def rescaled(scaler: tuple[Floats, Floats], operator: Operator, values: Floats) -> tuple[Floats, Floats]:
    """Return mean and scale of ``(x - mean) / scale`` with one more operator behind it."""
    mean, scale = scaler
    if operator.kind in ("ADD", "SUB"):
        return mean + values * scale * (1.0 if operator.kind == "SUB" else -1.0), scale
    if not (np.isfinite(values) & (values > 0)).all():
        raise refused(operator.where, "a factor that is not positive; a scaler has positive ones")
    return mean, scale * values if operator.kind == "DIV" else scale / values


def shifted(dense: list[Dense], operator: Operator, values: Floats) -> list[Dense]:
    """Return the dense layers with an operator behind them: in the bias, or in scales and bias."""
    before, last = _last(dense, operator, len(values))
    if operator.kind in ("ADD", "SUB"):
        return [*before, replace(last, bias=last.bias + (values if operator.kind == "ADD" else -values))]
    if not (np.isfinite(values) & (values > 0)).all():
        raise refused(operator.where, "a factor that is not positive is not read")
    factor = values if operator.kind == "MUL" else 1.0 / values
    if last.weight.is_integer:
        weight = Matrix(last.weight.values, last.weight.scale * factor)
    else:
        weight = Matrix.of_floats(last.weight.values * factor[:, None])
    return [*before, replace(last, weight=weight, bias=last.bias * factor)]
