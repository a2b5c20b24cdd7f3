"""RTNeural: its JSON of layers, as its Keras exporter writes it, or the JSON of a PyTorch state_dict."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from edge_lstm.convert.checks import check
from edge_lstm.convert.files import content
from edge_lstm.convert.formats.pytorch.state_dict import build
from edge_lstm.convert.formats.pytorch.tensor import Tensor
from edge_lstm.convert.model import (
    GATES,
    LINEAR,
    MAX_INPUTS,
    MAX_LAYERS,
    MAX_UNITS,
    RELU,
    SIGMOID,
    SOFTMAX,
    TANH,
    Activation,
    Dense,
    Floats,
    Lstm,
    Matrix,
    Model,
)
from edge_lstm.errors import WeightsError

SUFFIXES: tuple[str, ...] = (".json",)
MAX_JSON_BYTES = 64 * 2**20
ACTIVATIONS = {
    "": LINEAR, "tanh": TANH, "relu": RELU, "sigmoid": SIGMOID, "softmax": SOFTMAX, "elu": Activation("elu"),
}  # fmt: skip
DENSE = ("dense", "time-distributed-dense")
ABOUT = ("samplerate", "author", "esr")  # of the trained effect; they say nothing about the arithmetic


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


def recognizes(head: bytes) -> bool:
    """Whether a file that begins with these 64 bytes is RTNeural's JSON, or one of a state_dict."""
    text = head.lstrip()
    return text.startswith(b"{") and any(key in text for key in (b'"in_shape"', b'"layers"', b"weight_ih"))


def read(path: Path, head: str = "") -> Model:
    """Return the model in a file.

    Args:
        path: JSON with ``in_shape`` and ``layers``, or of a state_dict.
        head: for a state_dict only: as for PyTorch's own files.

    Raises:
        WeightsError: the file is damaged, or holds what can't be read or streamed.
    """
    document = parse(path)
    if "layers" not in document:
        tensors = {name: Tensor(_nested(value, name)) for name, value in document.items()}
        return build(tensors, head, "PyTorch state_dict (.json)")
    _require(not head, "--layers is for a state_dict; this file says the order of its layers")
    return _model(document)


def parse(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        WeightsError: it is none, has a name twice, or is too large.
    """
    data = content(path)
    _require(len(data) <= MAX_JSON_BYTES, f"{len(data)} bytes of JSON, expected at most {MAX_JSON_BYTES}")
    try:
        document = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        message = f"not JSON, or damaged: {str(error)[:100]}"
        raise WeightsError(message) from None
    _require(type(document) is dict and bool(document), "expected a JSON object")
    return dict(document)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _require(len(dict(pairs)) == len(pairs), "the JSON has a name twice in one object")
    return dict(pairs)


def _nested(value: Any, name: str) -> Floats:
    """Return (n,) or (rows, columns)."""
    _require(type(value) is list and bool(value), f"{name[:60]!r} is not part of RTNeural's JSON, nor a tensor")
    two = type(value[0]) is list
    three = two and bool(value[0]) and type(value[0][0]) is list
    _require(not three, f"{name[:60]} has more than two dimensions, as no tensor of an nn.LSTM or nn.Linear has")
    return _array(value, (len(value), len(value[0])) if two else (len(value),), f"{name[:60]}")


def _array(value: Any, shape: tuple[int, ...], what: str) -> Floats:
    """Return a list of numbers, or a list of lists of them, that has exactly this shape."""
    rows = [value] if len(shape) == 1 else value
    lists = type(rows) is list and all(type(row) is list and len(row) == shape[-1] for row in rows)
    _require(lists and len(value) == shape[0], f"{what}: expected numbers of shape {shape}")
    numbers = all(type(number) in (int, float) for row in rows for number in row)
    _require(numbers, f"{what}: expected numbers only")
    try:
        return np.array(value, np.float64).reshape(shape)
    except OverflowError:
        message = f"{what}: a number too large for float64"
        raise WeightsError(message) from None


def _model(document: dict[str, Any]) -> Model:
    unknown = sorted(set(document) - {"in_shape", "layers", *ABOUT})
    _require(not unknown, f"unknown entries: {', '.join(unknown[:5])[:200]}; expected in_shape and layers")
    _require("in_shape" in document, "in_shape is missing")
    window, width = _shape(document["in_shape"], "in_shape", MAX_INPUTS)
    entries = document["layers"]
    _require(type(entries) is list and 0 < len(entries) <= 4 * MAX_LAYERS, f"layers: expected 1 to {4 * MAX_LAYERS}")
    layers: list[Lstm] = []
    head: list[Dense] = []
    for index, entry in enumerate(entries):
        name = f"layer {index}"
        kind, activation, size = _entry(entry, name)
        if kind == "lstm":
            _require(not head, f"{name} (lstm) is behind a dense layer or an activation, where it can't be converted")
            layers.append(_lstm(entry["weights"], activation, (width, size), name))
        else:
            _require(bool(layers), f"{name} ({kind}) is before the LSTM; only what follows it can be converted")
            if kind in DENSE:
                head.append(_dense(entry["weights"], activation, (width, size), name))
            else:
                _require(not entry["weights"], f"{name} (activation): has weights, expected none")
                _activate(head, activation, (width, size), name)
        width = size
    _require(bool(layers), "no layer of type 'lstm'")
    note = "RTNeural carries the state on from sample to sample; its gates are sigmoid, whatever was trained"
    return check(Model("RTNeural JSON", tuple(layers), tuple(head), window=window, stateful=True, notes=(note,)))


def _shape(shape: Any, name: str, largest: int) -> tuple[int, int]:
    """Return the number of time steps, 0 for any, and of channels."""
    _require(type(shape) is list and len(shape) in (2, 3), f"{name}: a shape that is not (batch, time, channels)")
    sizes = all(size is None or (type(size) is int and size > 0) for size in shape)
    _require(sizes and shape[-1] is not None and shape[-1] <= largest, f"{name}: channels expected from 1 to {largest}")
    time = shape[1] if len(shape) == 3 else None
    _require(time is None or time <= 10**6, f"{name}: too many time steps")
    return time or 0, shape[-1]


def _entry(entry: Any, name: str) -> tuple[str, str, int]:
    """Return type, activation and size of a layer."""
    _require(type(entry) is dict and type(entry.get("type")) is str, f"{name}: expected an object with a type")
    kind = entry["type"]
    known = kind in ("lstm", "activation", *DENSE)
    _require(
        known, f"{name} is of type {kind[:40]!r}, which can't be converted; expected lstm, then dense or activation"
    )
    unknown = sorted(set(entry) - {"type", "activation", "shape", "weights"})
    missing = sorted({"shape", "weights"} - set(entry))
    _require(not unknown, f"{name} ({kind}): unknown {', '.join(unknown[:5])[:200]}")
    _require(not missing, f"{name} ({kind}): {' and '.join(missing)} missing")
    activation = entry.get("activation", "")
    known = type(activation) is str and activation in ACTIVATIONS
    _require(known, f"{name} ({kind}): activation {str(activation)[:40]!r}, expected one of {', '.join(ACTIVATIONS)}")
    _require(type(entry["weights"]) is list, f"{name} ({kind}): weights are not a list")
    return kind, activation, _shape(entry["shape"], f"{name} ({kind})", MAX_UNITS)[1]


def _lstm(weights: list[Any], activation: str, sizes: tuple[int, int], name: str) -> Lstm:
    inputs, units = sizes
    # The runtime takes tanh whatever the file says; a file that says another was not trained for it.
    _require(activation in ("", "tanh"), f"{name} (lstm): activation {activation!r}; RTNeural computes tanh only")
    _require(len(weights) == 3, f"{name} (lstm): {len(weights)} weights, expected kernel, recurrent kernel and bias")
    kernel = _array(weights[0], (inputs, GATES * units), f"{name} (lstm): kernel")
    recurrent = _array(weights[1], (units, GATES * units), f"{name} (lstm): recurrent kernel")
    bias = _array(weights[2], (GATES * units,), f"{name} (lstm): bias")
    return Lstm(f"{name} (lstm)", Matrix.of_floats(kernel.T), Matrix.of_floats(recurrent.T), bias)


def _dense(weights: list[Any], activation: str, sizes: tuple[int, int], name: str) -> Dense:
    _require(len(weights) in (1, 2), f"{name} (dense): {len(weights)} weights, expected kernel and bias")
    kernel = _array(weights[0], sizes, f"{name} (dense): kernel")
    bias = _array(weights[1], sizes[1:], f"{name} (dense): bias") if len(weights) == 2 else np.zeros(sizes[1])
    return Dense(f"{name} (dense)", Matrix.of_floats(kernel.T), bias, ACTIVATIONS[activation])


def _activate(head: list[Dense], activation: str, sizes: tuple[int, int], name: str) -> None:
    """Put an activation that is a layer of its own behind the layers before."""
    _require(sizes[0] == sizes[1], f"{name} (activation): {sizes[1]} outputs of {sizes[0]} inputs")
    if head and head[-1].activation is LINEAR:
        last = head.pop()
        head.append(Dense(last.name, last.weight, last.bias, ACTIVATIONS[activation]))
    else:
        same = Matrix.of_floats(np.eye(sizes[0]))
        head.append(Dense(f"{name} (activation)", same, np.zeros(sizes[0]), ACTIVATIONS[activation]))
