"""A model from the tensors of a PyTorch state_dict."""

import re

import numpy as np

from edge_lstm.convert.checks import check
from edge_lstm.convert.formats.pytorch.modules import Module, Step, modules, ordered
from edge_lstm.convert.formats.pytorch.tensor import MAX_NUMBERS, Tensor
from edge_lstm.convert.model import GATES, MAX_LAYERS, Dense, Lstm, Matrix, Model, Scaler
from edge_lstm.errors import WeightsError

SCALER = re.compile(r"(?:.*\.)?scaler\.(mean|scale)")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


def build(tensors: dict[str, Tensor], head: str, source: str, *, in_order: bool = True) -> Model:
    """Return the model that a state_dict stands for.

    Args:
        tensors: by name, in the order of the file.
        head: the modules in the order of the data with their activations, "fc1:relu,fc2"; "" for one LSTM and at most
            one Linear behind it.
        source: what the file is, for the provenance.
        in_order: whether the tensors stand in the order in which their modules were made.

    Raises:
        WeightsError: a tensor that is unknown, missing or of a wrong shape; an order that is not known.
    """
    numbers = sum(tensor.values.size for tensor in tensors.values())
    _require(numbers <= MAX_NUMBERS, f"{numbers} numbers in all tensors, expected at most {MAX_NUMBERS}")
    scaler = _scaler(tensors)
    modular = {name: tensor for name, tensor in tensors.items() if not SCALER.fullmatch(name)}
    steps = ordered(modules(modular), head, in_order=in_order)
    layers: list[Lstm] = []
    for step in steps:
        if step.module.kind != "Linear":
            layers += _lstm(step.module)
    dense = tuple(_dense(step) for step in steps if step.module.kind == "Linear")
    chain = " -> ".join(_describe(step) for step in steps)
    note = f"a state_dict does not hold what forward() does; read as {chain}"
    return check(Model(source, tuple(layers), dense, scaler, notes=(note,)))


def _scaler(tensors: dict[str, Tensor]) -> Scaler | None:
    """Return what two buffers called scaler.mean and scaler.scale say of the inputs, if they are there."""
    names = {match[1]: match[0] for match in map(SCALER.fullmatch, tensors) if match}
    if not names:
        return None
    both = set(names) == {"mean", "scale"} and len([name for name in tensors if SCALER.fullmatch(name)]) == 2
    _require(both, f"{' and '.join(names.values())[:100]}: expected one scaler.mean and one scaler.scale")
    mean, scale = (tensors[names[part]].vector(names[part]) for part in ("mean", "scale"))
    return Scaler(mean, scale)


def _describe(step: Step) -> str:
    module = step.module
    if module.kind != "Linear":
        return f"{module.title} ({module.kind})"
    a = step.activation
    linear = a.kind == "clipped" and (a.a, a.b, a.low, a.high) == (1.0, 0.0, -np.inf, np.inf)
    return f"{module.title} (Linear, {'no activation' if linear else 'with its activation'})"


def _dense(step: Step) -> Dense:
    module = step.module
    weight = module.tensors["weight"].matrix(module.full("weight"))
    bias = module.tensors.get("bias")
    values = np.zeros(weight.shape[0]) if bias is None else bias.vector(module.full("bias"))
    return Dense(module.title, weight, values, step.activation)


def _lstm(module: Module) -> list[Lstm]:
    """Return the layers of an nn.LSTM or nn.LSTMCell."""
    reverse = [module.full(name) for name in module.tensors if name.endswith("_reverse")]
    _require(
        not reverse,
        f"{module.title} is bidirectional ({reverse[0] if reverse else ''}): it needs the end of a sequence before its "
        "beginning, so it can't be streamed; train it with bidirectional=False",
    )
    if module.kind == "LSTMCell":
        return [_layer(module, "")]
    numbers = {int(re.findall(r"\d+$", name)[0]) for name in module.tensors}
    _require(max(numbers) < MAX_LAYERS, f"{module.title}: layer {max(numbers)}, expected at most {MAX_LAYERS} layers")
    count = max(numbers) + 1
    for name in ("bias_ih_l0", "bias_hh_l0", "weight_hr_l0"):  # in all layers or in none
        base = name.removesuffix("0")
        there = [f"{base}{k}" in module.tensors for k in range(count)]
        _require(len(set(there)) == 1, f"{module.title}: {base}N in some of its {count} layers only")
    return [_layer(module, f"_l{k}") for k in range(count)]


def _layer(module: Module, suffix: str) -> Lstm:
    weight_ih, weight_hh = (_weight(module, f"weight_{side}{suffix}") for side in ("ih", "hh"))
    weight_hr = _weight(module, f"weight_hr{suffix}") if f"weight_hr{suffix}" in module.tensors else None
    rows, columns = weight_hh.shape
    name = module.full(f"weight_hh{suffix}")
    if weight_hr is None:
        _require(rows == GATES * columns, f"{name} has shape {weight_hh.shape}, expected four rows per column")
    _require(weight_ih.shape[0] == rows, f"{name} has {rows} rows, {module.full(f'weight_ih{suffix}')} has others")
    _require(rows % GATES == 0, f"{name} has {rows} rows, expected four per unit")
    bias = _bias(module, suffix, rows)
    return Lstm(f"{module.title}{suffix.replace('_l', ' layer ')}", weight_ih, weight_hh, bias, weight_hr=weight_hr)


def _weight(module: Module, name: str) -> Matrix:
    _require(name in module.tensors, f"{module.full(name)} is missing")
    tensor = module.tensors[name]
    shape = tensor.shape
    _require(len(shape) == 2 and 0 not in shape, f"{module.full(name)} has shape {shape}, expected two dimensions")
    return tensor.matrix(module.full(name))


def _bias(module: Module, suffix: str, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    names = [f"bias_{side}{suffix}" for side in ("ih", "hh")]
    there = [name for name in names if name in module.tensors]
    _require(len(there) != 1, f"{module.full(names[0])} or {module.full(names[1])} is missing")
    total = np.zeros(rows)
    for name in there:
        values = module.tensors[name].vector(module.full(name))
        _require(values.shape == (rows,), f"{module.full(name)} has shape {values.shape}, expected ({rows},)")
        total += values
    return total
