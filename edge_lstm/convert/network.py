"""A model's layers as a bundle has them: int8 or the source's own integers, bounds, float32 vectors."""

from dataclasses import dataclass, replace

import numpy as np

from edge_lstm.bundle import Tensors
from edge_lstm.bundle_layers import LARGE, Cell, Dense, Function, dense_name
from edge_lstm.convert import model as source
from edge_lstm.convert.bounds import Bounds
from edge_lstm.convert.model import LINEAR, SIGMOID, TANH, Activation, Floats, Lstm, Matrix, Model, Scaler
from edge_lstm.fit.quantize import rows_to_int8


@dataclass(frozen=True)
class Quantized:
    """A network as its bundle has it; ``cells`` is empty where all is plain."""

    cells: tuple[Cell, ...]
    dense: tuple[Dense, ...]
    tensors: Tensors
    hidden_size: int


def folded_input(model: Model, scaler: Scaler, mean: Floats, scale: Floats) -> Model | None:
    """Return the model behind a scaler as one that takes ``(x - mean) / scale``; None where that would touch integers.

    The same function of x, exactly but for rounding: a column of the first layer's weights takes the ratio of the two
    scales, its bias the shift. Columns of one size lose least when rows are quantized.
    """
    first = model.layers[0]
    if first.weight_ih.is_integer or first.norm is not None:
        return None
    weight = first.weight_ih.real
    moved = first.bias + weight @ ((mean - scaler.mean) / scaler.scale)
    first = replace(first, weight_ih=Matrix.of_floats(weight * (scale / scaler.scale)), bias=moved)
    return replace(model, layers=(first, *model.layers[1:]), scaler=None)


def scaled_rows(dense: source.Dense, scaler: Scaler, mean: Floats, scale: Floats) -> source.Dense:
    """Return a linear layer behind which a scaler is undone as one behind which (mean, scale) are; integers stay."""
    ratio = scaler.scale / scale
    weight = Matrix(dense.weight.values, dense.weight.scale * ratio) if dense.weight.is_integer else None
    return replace(
        dense,
        weight=weight or Matrix.of_floats(dense.weight.real * ratio[:, None]),
        bias=dense.bias * ratio + (scaler.mean - mean) / scale,
    )


def stacked_rows(dense: source.Dense, places: list[int], channels: int) -> source.Dense:
    """Return a layer of 2C rows, locations and log spreads, with the layer's own rows at ``places`` and else zeros."""
    weight = dense.weight
    values = np.zeros((2 * channels, weight.shape[1]), weight.values.dtype)
    scale, bias = np.ones(2 * channels), np.zeros(2 * channels)
    values[places], scale[places], bias[places] = weight.values, weight.scale, dense.bias
    return replace(dense, weight=Matrix(values, scale), bias=bias)


def quantized(model: Model, bounds: Bounds) -> Quantized:
    """Return the layers for a bundle.

    Float weights become int8 in [-127, 127] with a float32 scale a row (symmetric, to nearest even); integers stay.

    Args:
        model: with at least one dense layer; its scaler is not looked at.
    """
    tensors: Tensors = {}
    cells = tuple(_cell(layer, k, bounds, tensors) for k, layer in enumerate(model.layers))
    dense = []
    for k, one in enumerate(model.head):
        name = dense_name(k, len(model.head))
        _matrix(one.weight, f"{name}.weight", tensors)
        tensors[f"{name}.bias"] = one.bias.astype(np.float32)
        function = _function(one.activation)
        dense.append(Dense(output_size=len(one.bias), function=function, input_clip=bounds.dense[k]))
    hidden = max(cell.hidden_size for cell in cells)
    if _is_plain(model, bounds, tensors):
        return Quantized((), (), tensors, hidden)
    return Quantized(cells, tuple(dense), tensors, hidden)


def _is_plain(model: Model, bounds: Bounds, tensors: Tensors) -> bool:
    """Tell whether the faster kernel can run it."""
    usual = [
        (layer.gate, layer.candidate, layer.output) == (SIGMOID, TANH, TANH)
        and layer.hidden_size == model.layers[0].hidden_size
        and not (layer.gate_clip or layer.cell_clip or layer.projection_clip)
        and all(part is None for part in (layer.peephole, layer.norm, layer.weight_hr, layer.initial))
        for layer in model.layers
    ]
    head = len(model.head) == 1 and model.head[0].activation == LINEAR and bounds.dense == (1.0,)
    return all(usual) and head and not any(tensor.dtype == np.int16 for tensor in tensors.values())


def _function(f: Activation) -> Function:
    low, high = (float(np.clip(v, -LARGE, LARGE)) for v in (f.low, f.high))
    if f.kind == "softmax":
        raise AssertionError("classes are taken as logits")
    return Function(f.kind, f.a, f.b, low, high)


def _cell(layer: Lstm, k: int, bounds: Bounds, tensors: Tensors) -> Cell:
    """Add a layer's tensors; return its description."""
    _matrix(layer.weight_ih, f"weight_ih_l{k}", tensors)
    _matrix(layer.weight_hh, f"weight_hh_l{k}", tensors)
    vectors = {"bias": layer.bias, "peephole": layer.peephole, "norm": layer.norm}
    if layer.weight_hr is not None:
        _matrix(layer.weight_hr, f"weight_hr_l{k}", tensors)
        vectors["bias_hr"] = np.zeros(layer.output_size) if layer.bias_hr is None else layer.bias_hr
    if layer.initial is not None:
        vectors["h_0"], vectors["c_0"] = layer.initial
    for name, vector in vectors.items():
        if vector is not None:
            tensors[f"{name}_l{k}"] = vector.astype(np.float32)
    return Cell(
        hidden_size=layer.hidden_size,
        output_size=layer.output_size if layer.weight_hr is not None else 0,
        gate=_function(layer.gate),
        candidate=_function(layer.candidate),
        output=_function(layer.output),
        peephole=layer.peephole is not None,
        norm=layer.norm is not None,
        initial=layer.initial is not None,
        output_clip=bounds.outputs[k],
        inner_clip=bounds.inner[k],
        gate_clip=layer.gate_clip,
        cell_clip=layer.cell_clip,
        projection_clip=layer.projection_clip,
    )


def _matrix(matrix: Matrix, name: str, tensors: Tensors) -> None:
    if matrix.is_integer:
        small = int(matrix.values.min()) >= -128 and int(matrix.values.max()) <= 127
        tensors[name] = matrix.values.astype(np.int8) if small else matrix.values
        tensors[f"{name}.scale"] = matrix.scale.astype(np.float32)
        return
    tensors[name], tensors[f"{name}.scale"] = rows_to_int8(matrix.real)
