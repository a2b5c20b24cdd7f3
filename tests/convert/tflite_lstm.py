"""Chains of operators with LSTMs in every form that LiteRT computes, written as .tflite files for tests."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.convert.tflite_files import Model, options

HIDDEN_SCALE, CELL_SCALE, NORM_INPUT_SCALE, INPUT_SCALE = 2.2 / 255, 2.0**-12, 2.0**-11, 8.0 / 255
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3, "TANH": 4, "SIGN_BIT": 5}


def quantized(array: NDArray[Any], steps: int = 127, axis: int | None = None) -> tuple[NDArray[Any], list[float]]:
    """Return symmetric integers and their scales: one, or one per row with ``axis`` 0."""
    largest = np.abs(array).max(axis=1 if axis == 0 else None, keepdims=True)
    scale = np.asarray(largest / steps, np.float32)
    dtype = np.int8 if steps == 127 else np.int16
    return np.round(array / scale).astype(dtype), [float(s) for s in scale.ravel()]


@dataclass
class Layer:
    """An LSTM: float arrays by the number of the operator's input that they are."""

    arrays: dict[int, NDArray[Any]]
    hidden: int
    outputs: int
    activation: str = "TANH"
    cell_clip: float = 0.0
    projection_clip: float = 0.0
    asymmetric: bool = False


def random_layer(rng: np.random.Generator, inputs: int, hidden: int, projection: int = 0, **form: Any) -> Layer:
    """Return a layer that forgets: its weights are small enough that rounding does not grow.

    Args:
        rng: source of randomness.
        inputs: I.
        hidden: H.
        projection: R, 0 for none.
        form: coupled, peephole, norm, projection_bias: whether it has these; and settings of ``Layer``.
    """
    flags = {name: form.pop(name, False) for name in ("coupled", "peephole", "norm", "projection_bias")}
    outputs = projection or hidden

    def normal(*shape: int, gain: float) -> NDArray[Any]:
        return (rng.normal(size=shape) * gain).astype(np.float32)

    arrays = {}
    for gate in range(flags["coupled"], 4):
        arrays[1 + gate] = normal(hidden, inputs, gain=0.7 / np.sqrt(inputs))
        arrays[5 + gate] = normal(hidden, outputs, gain=0.5 / np.sqrt(outputs))
        arrays[12 + gate] = normal(hidden, gain=0.3)
        if flags["norm"]:
            arrays[20 + gate] = (0.4 + 0.2 * rng.random(hidden)).astype(np.float32)
        if flags["peephole"] and gate != 2:
            arrays[{0: 9, 1: 10, 3: 11}[gate]] = normal(hidden, gain=0.2)
    if projection:
        arrays[16] = normal(projection, hidden, gain=0.8 / np.sqrt(hidden))
        if flags["projection_bias"]:
            arrays[17] = normal(projection, gain=0.1)
    return Layer(arrays, hidden, outputs, **form)


@dataclass
class Chain:
    """A file in the making: one chain of operators.

    Attributes:
        form: of weights and activations: float32, float16, hybrid (int8 weights) or integer (int8 everything).
        constants: what was written, by layer and input: the arrays as they stand in the file and their scales.
    """

    form: str = "float32"
    time_major: bool = False
    model: Model = field(default_factory=Model)
    constants: list[dict[int, tuple[NDArray[Any], Any]]] = field(default_factory=list)
    at: int = -1
    scale: tuple[float, int] = (INPUT_SCALE, 3)
    reach: float = 1.0  # largest value of a dense layer's input

    def __post_init__(self) -> None:
        self.graph = self.model.graph()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.graph.tensors[self.at].shape)

    def input(self, shape: tuple[int, ...], signature: tuple[int, ...] | None = None) -> "Chain":
        self.at = self.computed(shape)
        self.graph.inputs = [self.at]
        if signature:
            self.graph.tensors[self.at].shapeSignature = list(signature)
        return self

    def computed(self, shape: tuple[int, ...], scale: tuple[float, int] | None = None) -> int:
        """Add a tensor of activations."""
        if self.form != "integer":
            return self.graph.tensor(shape)
        self.scale = scale or self.scale
        return self.graph.scaled(self.graph.tensor(shape, "int8"), *self.scale)

    def step(self, name: str, shape: tuple[int, ...], *others: int, options: Any = None, first: bool = True) -> "Chain":
        """Add an operator on the chain; ``others`` are its other inputs."""
        inputs = [self.at, *others] if first else [*others, self.at]
        self.at = self.computed(shape)
        self.graph.add(name, inputs, [self.at], options)
        return self

    def weight(self, array: NDArray[Any], kind: str, steps: tuple[float, ...] = ()) -> tuple[int, NDArray[Any], Any]:
        """Add a constant in the file's form; return its number, what was written, and its scale.

        Args:
            array: float.
            kind: matrix, vector, bias or norm.
            steps: what a bias counts in, in integers.
        """
        if self.form == "integer" and kind == "bias":
            stored = np.round(array / np.asarray(steps)).astype(np.int32)
            return self.graph.constant(stored, steps), stored, steps
        if self.form == "integer" and kind in ("vector", "norm"):
            stored, scale = quantized(array, 32767)
            return self.graph.constant(stored, scale), stored, scale
        if self.form in ("integer", "hybrid") and kind in ("matrix", "vector"):
            stored, scale = quantized(array)
            return self.graph.constant(stored, scale), stored, scale
        if self.form == "float16":
            stored = array.astype(np.float16)
            into = self.graph.tensor(array.shape)
            self.graph.add("DEQUANTIZE", [self.graph.constant(stored)], [into])
            return into, stored, None
        return self.graph.constant(array), array, None

    def lstm(self, layer: Layer, kind: str = "UNIDIRECTIONAL_SEQUENCE_LSTM") -> "Chain":
        """Add an LSTM operator."""
        g, written = self.graph, {}
        integer, projected, norm = self.form == "integer", 16 in layer.arrays, 21 in layer.arrays
        input_scale, out = self.scale[0], (HIDDEN_SCALE, 5)
        inputs = [-1] * 24
        inputs[0] = self.at
        for at in sorted(layer.arrays, key=lambda k: k in (12, 13, 14, 15, 17)):  # biases last: they need scales
            steps: tuple[float, ...] = ()
            if integer and at in (12, 13, 14, 15):
                weight = written[1 + at - 12][1][0] * input_scale
                steps = (written[20 + at - 12][1][0] * 2.0**-10 if norm else weight,)
            if integer and at == 17:
                steps = (written[16][1][0] * HIDDEN_SCALE,)
            families = ((9, "matrix"), (12, "vector"), (16, "bias"), (17, "matrix"), (18, "bias"), (99, "norm"))
            which = next(name for below, name in families if at < below)
            number, stored, scale = self.weight(layer.arrays[at], which, steps)
            inputs[at], written[at] = number, (stored, scale)
        state, cell = ("int8", "int16") if integer else ("float32", "float32")
        inputs[18] = g.tensor((1, layer.outputs), state, variable=True)
        inputs[19] = g.tensor((1, layer.hidden), cell, variable=True)
        if integer:
            g.scaled(inputs[18], *out)
            g.scaled(inputs[19], CELL_SCALE)
        self.constants.append(written)
        self.at = self.computed((*self.shape[:-1], layer.outputs), out)
        values: dict[str, Any] = {
            "fusedActivationFunction": ACTIVATIONS[layer.activation],
            "cellClip": layer.cell_clip,
            "projClip": layer.projection_clip,
            "asymmetricQuantizeInputs": layer.asymmetric,
        }
        if kind != "LSTM":
            values["timeMajor"] = self.time_major
        table = options("LSTM" if kind == "LSTM" else "UnidirectionalSequenceLSTM", **values)
        operator = g.add(kind, inputs, [self.at], table, version=2)
        if integer:
            operator.intermediates = [g.scaled(g.tensor((0,), "int16"), NORM_INPUT_SCALE) for _ in range(4)]
            operator.intermediates += [g.scaled(g.tensor((0,), "int8"), HIDDEN_SCALE, 7 if projected else 5)]
        return self

    def last_step(self) -> "Chain":
        """Pick the last row of (1, T, C), as the converter does for Keras."""
        masks = {"beginMask": 5, "endMask": 5, "ellipsisMask": 0, "newAxisMask": 0, "shrinkAxisMask": 2}
        begin, end, stride = (self.graph.constant(np.array(v, np.int32)) for v in ([0, -1, 0], [0, 0, 0], [1, 1, 1]))
        shape = (1, self.shape[-1])
        return self.step("STRIDED_SLICE", shape, begin, end, stride, options=options("StridedSlice", **masks))

    def dense(self, weight: NDArray[Any], bias: NDArray[Any] | None, activation: str = "NONE", **form: Any) -> "Chain":
        """Add a dense layer; form: per_row scales, keep (the input's axes)."""
        per_row, keep = form.get("per_row", False), form.get("keep", False)
        if self.form in ("integer", "hybrid"):
            stored, scale = quantized(weight, axis=0 if per_row else None)
            number = self.graph.constant(stored, scale)
        else:
            number, stored, scale = self.weight(weight, "matrix")
        written = {1: (stored, scale)}
        others = [number]
        if bias is not None:
            steps = tuple(self.scale[0] * s for s in scale) if self.form == "integer" else ()
            others_bias, stored, steps = self.weight(bias, "bias", steps)
            written[2] = (stored, steps)
            others.append(others_bias)
        self.constants.append(written)
        largest = self.reach * np.abs(weight).sum(1).max() + (0 if bias is None else np.abs(bias).max())
        self.reach = float(largest)
        shape = (*self.shape[:-1], len(weight)) if keep else (int(np.prod(self.shape[:-1])), len(weight))
        inputs, self.at = [self.at, *others], self.computed(shape, (float(2.2 * largest / 255), -4))
        table = options("FullyConnected", fusedActivationFunction=ACTIVATIONS[activation], keepNumDims=keep)
        self.graph.add("FULLY_CONNECTED", inputs, [self.at], table, version=4)
        return self

    def content(self) -> bytes:
        self.graph.outputs = [self.at]
        return self.model.content()
