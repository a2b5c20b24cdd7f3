"""Names and tensors of dynamically quantized modules, brought back to those of nn.LSTM, nn.LSTMCell and nn.Linear."""

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from edge_lstm.convert.formats.pytorch.archive import array
from edge_lstm.convert.formats.pytorch.records import SAVE, Name, ScriptRecord, TensorRecord, require
from edge_lstm.convert.formats.pytorch.tensor import MAX_NAME, MAX_NUMBERS, Tensor, float64

CELL = re.compile(r"(.*\b_all_weight_values)\.(0|[1-9]\d?)\.param")
CELL_TYPE = "__torch__.torch.classes.rnn.CellParamsBase"
LINEAR_TYPE = "__torch__.torch.classes.quantized.LinearPackedParamsBase"
LINEAR = "_packed_params._packed_params"


def plain(objects: dict[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors under the names that they have before quantization.

    Args:
        objects: a state_dict as ``torch_file.read`` gives it.

    Raises:
        WeightsError: something that is neither a tensor nor the parameters of a dynamically quantized module.
    """
    tensors: dict[str, Tensor] = {}
    numbers = 0
    for name, value in objects.items():
        require(type(name) is str and len(name) <= MAX_NAME, f"a key of the state_dict is not a name: {str(name)[:60]}")
        for found, tensor in _tensors(name, value, objects):
            require(found not in tensors, f"{found} is there twice, quantized and not")
            tensors[found] = tensor
            numbers += tensor.values.size
            require(numbers <= MAX_NUMBERS, f"more than {MAX_NUMBERS} numbers in all tensors")
    return tensors


def _tensors(name: str, value: Any, objects: dict[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    if type(value) is TensorRecord:
        if not _is_output_scale(name, objects):
            yield name, tensor(value, name)
    elif type(value) is ScriptRecord:
        yield from _packed(name, value)
    elif name.endswith(LINEAR):
        yield from _linear(name, value, objects)
    else:
        kind = (
            f"dict with the keys {', '.join(str(key)[:30] for key in list(value)[:5])}" if type(value) is dict else ""
        )
        is_dtype = type(value) is Name and name.endswith("_packed_params.dtype")
        message = f"{name[:60]} is a {kind or type(value).__name__}, expected a tensor: a checkpoint holds more than"
        require(is_dtype, f"{message} the weights; load it in PyTorch and save its state_dict alone")


def tensor(record: TensorRecord, name: str) -> Tensor:
    """Return a tensor with its scales, if it is quantized."""
    require(math.prod(record.shape) <= MAX_NUMBERS, f"{name}: more than {MAX_NUMBERS} numbers")
    values = array(record)
    if record.quantizer is None:
        return Tensor(values)
    scheme, scale, zero_point = record.quantizer[:3]
    if scheme == Name("torch", "per_tensor_affine"):
        numbers = type(scale) is float and type(zero_point) is int and abs(zero_point) < 2**31
        require(numbers and len(record.quantizer) == 3, f"{name}: a quantizer without a scale and a zero point")
        return Tensor(values, np.array([scale]), np.array([zero_point], np.int64))
    require(scheme == Name("torch", "per_channel_affine"), f"{name}: a quantizer of an unknown kind")
    axis = record.quantizer[3] if len(record.quantizer) == 4 else None
    require(axis == 0, f"{name}: scales along axis {axis}, expected one per row (axis 0)")
    both = type(scale) is TensorRecord and type(zero_point) is TensorRecord
    require(both, f"{name}: a quantizer without scales and zero points")
    scales, zero_points = array(scale), array(zero_point)
    require(
        scales.dtype.kind == "f" and zero_points.dtype.kind == "i", f"{name}: scales or zero points of a wrong type"
    )
    return Tensor(values, float64(scales), zero_points.astype(np.int64))


def _is_output_scale(name: str, objects: dict[Any, Any]) -> bool:
    """Return whether it is one of the numbers by which a statically quantized Linear rounds its outputs.

    A dynamically quantized one has them too, at 1 and 0, and does not use them.
    """
    base, _, last = name.rpartition(".")
    prefix = f"{base}." if base else ""
    if last not in ("scale", "zero_point") or prefix + LINEAR not in objects:
        return False
    values = array(objects[name])
    unused = values.size == 1 and values.item() == (1.0 if last == "scale" else 0)
    require(unused, f"{base}: quantized statically, so its outputs are rounded; quantize it dynamically, or not at all")
    return True


def _packed(name: str, value: ScriptRecord) -> Iterator[tuple[str, Tensor]]:
    base, _, last = name.rpartition("_packed_weight_")
    cell = CELL.fullmatch(name)
    if cell and value.type_name == CELL_TYPE:
        prefix = cell[1].removesuffix("_all_weight_values")
        yield from _layer(prefix, cell[2], value, name)
    elif last in ("ih", "hh") and value.type_name == LINEAR_TYPE:
        yield from _weight_and_bias(value.state, (f"{base}weight_{last}", f"{base}bias_{last}"))
    else:
        require(False, f"{name}: a {value.type_name[:80] or 'ScriptObject'}, which is not known here; {SAVE}")


def _layer(prefix: str, index: str, cell: ScriptRecord, name: str) -> Iterator[tuple[str, Tensor]]:
    state = cell.state
    require(type(state) is tuple and len(state) == 5, f"{name}: parameters that are not known here")
    kind, biases, doubles, longs, weights = state
    # The integer says whether PyTorch rounds activations to 7 bits instead of 8, on CPUs whose sums would overflow.
    counts = {"quantized_dynamic": (2, 1), "quantized_fp16": (0, 0)}.get(kind) if type(kind) is str else None
    require(counts is not None, f"{name}: quantized in a way that is not known here; use quantize_dynamic, or nothing")
    lists = all(type(part) is list for part in (biases, doubles, longs, weights))
    fits = lists and (len(biases), len(longs)) == counts and not doubles and len(weights) == 2
    require(fits, f"{name}: parameters that are not known here")
    for at, side in enumerate(("ih", "hh")):
        packed = weights[at]
        is_linear = type(packed) is ScriptRecord and packed.type_name == LINEAR_TYPE
        require(is_linear, f"{name}: packed weights that are not known here")
        named = dict(
            _weight_and_bias(packed.state, (f"{prefix}weight_{side}_l{index}", f"{prefix}bias_{side}_l{index}"))
        )
        if biases:
            _check_same(biases[at], named.get(f"{prefix}bias_{side}_l{index}"), name)
        yield from named.items()


def _check_same(outer: Any, packed: Tensor | None, name: str) -> None:
    """Compare a bias of the cell with the same one in its packed weights."""
    require(type(outer) is TensorRecord and packed is not None, f"{name}: a bias is missing")
    if packed is not None:
        same = np.array_equal(array(outer), packed.values, equal_nan=packed.values.dtype.kind == "f")
        require(same, f"{name}: two different values of one bias")


def _linear(name: str, value: Any, objects: dict[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    prefix = name.removesuffix(LINEAR)
    beside = (f"{prefix}scale", f"{prefix}zero_point", f"{prefix}_packed_params.dtype")
    missing = [other for other in beside if other not in objects]
    require(not missing, f"{', '.join(missing)}: missing beside {name}")
    yield from _weight_and_bias(value, (f"{prefix}weight", f"{prefix}bias"))


def _weight_and_bias(state: Any, names: tuple[str, str]) -> Iterator[tuple[str, Tensor]]:
    pair = type(state) is tuple and len(state) == 2 and type(state[0]) is TensorRecord
    require(pair and (state[1] is None or type(state[1]) is TensorRecord), f"{names[0]}: expected a weight and a bias")
    for name, record in zip(names, state, strict=True):
        if record is not None:
            yield name, tensor(record, name)
