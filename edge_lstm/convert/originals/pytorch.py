"""A state_dict in PyTorch itself."""

import warnings
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.pytorch import archive as torch_file
from edge_lstm.convert.formats.pytorch import quantized as torch_quantized
from edge_lstm.convert.formats.pytorch.state_dict import SCALER
from edge_lstm.convert.formats.pytorch.tensor import Tensor, scaled
from edge_lstm.convert.model import Activation, Dense, Floats, Model

QUANTIZED: Any = torch.ao.nn.quantized.dynamic
FUNCTIONS: dict[str, Callable[[Activation, Any], Any]] = {
    "sigmoid": lambda _, x: torch.sigmoid(x),
    "tanh": lambda _, x: torch.tanh(x),
    "clipped": lambda f, x: torch.clamp(f.a * x + f.b, f.low, f.high),
    "leaky_relu": lambda f, x: nn.functional.leaky_relu(x, f.a),
    "softsign": lambda _, x: nn.functional.softsign(x),
    "elu": lambda f, x: nn.functional.elu(x, f.a),
    "softplus": lambda _, x: nn.functional.softplus(x),
    "swish": lambda _, x: nn.functional.silu(x),
    "softmax": lambda _, x: torch.softmax(x, -1),
}


def run(path: Path, model: Model, x: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Return what PyTorch gives for the rows x (n, I) from the zero state, and what the model gives, each (n, O).

    PyTorch computes in float32, or in float64 where the file has float64. It loads the file itself, with
    ``weights_only=True``; dynamically quantized modules, which it would only load by executing the file, are built in
    PyTorch from the integers that were read, and run in its own 8-bit arithmetic.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has deprecated its quantized modules
        tensors = _load(path)
    return compare(tensors, model, x)


def compare(tensors: dict[str, Any], model: Model, x: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Return the same for tensors that are loaded."""
    quantized = any(t.is_quantized for t in tensors.values())
    double = not quantized and any(t.dtype == torch.float64 for t in tensors.values())
    dtype = torch.float64 if double else torch.float32
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = torch.from_numpy(np.asarray(x, np.float64)).to(dtype)
        scaler = {name.rpartition(".")[2]: t.to(dtype) for name, t in tensors.items() if SCALER.fullmatch(name)}
        rows = (rows - scaler["mean"]) / scaler["scale"] if scaler else rows
        for name in dict.fromkeys(layer.name.split(" layer ")[0] for layer in model.layers):
            rows = _lstm(_of(tensors, name, "the LSTM"), rows, dtype)
        for dense in model.head:
            rows = _linear(_of(tensors, dense.name, "the Linear"), dense, rows, dtype)
    return rows.numpy().astype(np.float64), mathematics.run(model, x)


def _load(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    if content[8:10] == b'{"':
        tensors = safetensors.torch.load(content)
        if not any(name.endswith(".scale") for name in tensors):
            return dict(tensors)
        return _joined(
            {name: Tensor(t.float().numpy() if t.is_floating_point() else t.numpy()) for name, t in tensors.items()}
        )
    objects = torch_file.read(content)
    if any("_packed" in name or "_all_weight_values" in name for name in objects):
        return _joined(torch_quantized.plain(objects))
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except UnpicklingError:  # it reads no pickle of protocol 4 or 5 without executing it
        return _joined(torch_quantized.plain(objects))


def _joined(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {name: _in_torch(tensor) for name, tensor in scaled(tensors).items()}


def _in_torch(tensor: Tensor) -> Any:
    if tensor.scale is None or tensor.zero_point is None:
        return torch.from_numpy(np.array(tensor.values))
    shift = 128 if tensor.values.dtype == np.uint8 else 0  # PyTorch's weights are signed
    values = torch.from_numpy((tensor.values.astype(np.int16) - shift).astype(np.int8))
    scale, zero_point = torch.from_numpy(tensor.scale), torch.from_numpy(tensor.zero_point - shift)
    if len(scale) == 1:
        return torch._make_per_tensor_quantized_tensor(values, scale.item(), int(zero_point.item()))
    return torch._make_per_channel_quantized_tensor(values, scale, zero_point, 0)


def _of(tensors: dict[str, Any], name: str, unnamed: str) -> dict[str, Any]:
    """Return the tensors of one module, by their names without its prefix."""
    prefix = "" if name.startswith(unnamed) else f"{name}."
    found = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return {key: value for key, value in found.items() if "." not in key}


def _lstm(own: dict[str, Any], rows: Any, dtype: Any) -> Any:
    if "weight_ih" in own:  # a cell is an nn.LSTM of one layer that is called row by row
        own = {f"{name}_l0": value for name, value in own.items()}
    quantized, count = own["weight_ih_l0"].is_quantized, sum(name.startswith("weight_ih") for name in own)
    projection = own["weight_hr_l0"].shape[0] if "weight_hr_l0" in own else 0
    sizes = (own["weight_ih_l0"].shape[1], own["weight_ih_l0"].shape[0] // 4, count)
    if quantized:
        zeros = torch.zeros(4 * sizes[1])
        named = {f"bias_{side}_l{k}": zeros for side in ("ih", "hh") for k in range(count)}
        dynamic = QUANTIZED.LSTM(*sizes)
        dynamic.set_weight_bias(named | {name: t if t.is_quantized else t.float() for name, t in own.items()})
        return dynamic(rows[:, None])[0][:, 0]
    lstm = nn.LSTM(*sizes, bias="bias_ih_l0" in own, proj_size=projection).to(dtype)
    lstm.load_state_dict({name: t.to(dtype) for name, t in own.items()})
    return lstm(rows[:, None])[0][:, 0]


def _linear(own: dict[str, Any], dense: Dense, rows: Any, dtype: Any) -> Any:
    weight, bias = own["weight"], own.get("bias")
    if weight.is_quantized:
        dynamic = QUANTIZED.Linear(weight.shape[1], weight.shape[0])
        dynamic.set_weight_bias(weight, None if bias is None else bias.float())
        rows = dynamic(rows.float()).to(dtype)
    else:
        rows = nn.functional.linear(rows, weight.to(dtype), None if bias is None else bias.to(dtype))
    return FUNCTIONS[dense.activation.kind](dense.activation, rows)
