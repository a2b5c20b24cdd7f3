"""A model as its file has it: what every importer gives, whatever tool wrote the file.

Symbols: I inputs of a layer, H its units, R what it hands on (H, or the size of its projection), O outputs of a dense
layer. Gates stand in the order i, f, g, o, one block of H rows each. Numbers are float64, so nothing of the source is
lost, but for weights that are integers in the source: those stay integers, beside their scales.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["sigmoid", "tanh", "clipped", "leaky_relu", "softsign", "elu", "softplus", "swish", "softmax"]

INPUT, FORGET, CELL, OUTPUT = range(4)
GATES = 4
MAX_UNITS, MAX_INPUTS, MAX_LAYERS = 2048, 1024, 16
LARGEST_INTEGER = 255  # of a weight less its zero point, both of 8 bits


@dataclass(frozen=True)
class Activation:
    """An elementwise function.

    With a, b, low, high of the fields: sigmoid ``1 / (1 + exp(-x))``; tanh ``a tanh(b x)``; clipped
    ``min(max(a x + b, low), high)``, which relu, hard sigmoid, linear and others are cases of; leaky_relu ``x`` where
    x > 0, else ``a x``; softsign ``x / (1 + |x|)``; elu ``b x`` where x > 0, else ``a b (exp(x) - 1)``; softplus
    ``log(1 + exp(x))``; swish ``x sigmoid(x)``; softmax over all outputs, for the last dense layer only.
    """

    kind: Kind
    a: float = 1.0
    b: float = 1.0
    low: float = -np.inf
    high: float = np.inf


SIGMOID = Activation("sigmoid")
TANH = Activation("tanh")
LINEAR = Activation("clipped", 1.0, 0.0)
RELU = Activation("clipped", 1.0, 0.0, 0.0)
RELU6 = Activation("clipped", 1.0, 0.0, 0.0, 6.0)
SOFTMAX = Activation("softmax")


def hard_sigmoid(a: float, b: float) -> Activation:
    """Return ``min(max(a x + b, 0), 1)``: 0.2 and 0.5 in ONNX and old Keras, 1/6 and 0.5 in new Keras and PyTorch."""
    return Activation("clipped", a, b, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Matrix:
    """Weights: ``values * scale``, row by row.

    Attributes:
        values: (rows, columns) float64; or int16 where the source has integers, zero points already subtracted
            (so in [-255, 255]).
        scale: (rows,) float64, > 0; ones where the values are floats.
    """

    values: NDArray[Any]
    scale: Floats

    @classmethod
    def of_floats(cls, values: NDArray[Any]) -> "Matrix":
        """Return weights without a scale."""
        values = np.ascontiguousarray(values, np.float64)
        return cls(values, np.ones(len(values)))

    @classmethod
    def of_integers(cls, values: NDArray[Any], scale: Any, zero_point: Any = 0) -> "Matrix":
        """Return integer weights.

        Args:
            values: (rows, columns) int8 or uint8.
            scale: one for all, or (rows,).
            zero_point: one for all, or (rows,); the integer that means 0.
        """
        rows = len(values)
        zero = np.broadcast_to(np.asarray(zero_point, np.int64), rows)[:, None]
        scales = np.broadcast_to(np.asarray(scale, np.float64), rows).copy()
        return cls((values.astype(np.int64) - zero).astype(np.int16), scales)

    @property
    def is_integer(self) -> bool:
        """Whether the source has integers."""
        return self.values.dtype == np.int16

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.values.shape
        return rows, columns

    @cached_property
    def real(self) -> Floats:
        """(rows, columns) float64: the numbers that the weights stand for."""
        return np.asarray(self.values * self.scale[:, None], np.float64)

    def rows(self, order: Any, sign: int = 1) -> "Matrix":
        """Return the rows picked by an index array or slice, negated if ``sign`` is -1."""
        return Matrix(np.ascontiguousarray(sign * self.values[order]), self.scale[order].copy())


def stacked(parts: list[Matrix]) -> Matrix:
    """Return the rows of all parts, in order; integers stay integers only if all are."""
    if all(part.is_integer for part in parts):
        values = np.concatenate([part.values for part in parts])
        return Matrix(values, np.concatenate([part.scale for part in parts]))
    return Matrix.of_floats(np.concatenate([part.real for part in parts]))


@dataclass(frozen=True, eq=False)
class Lstm:
    """One LSTM layer of a stream.

    With x the input, r the last output and c the last cell state::

        pre   = W x + U r (+ P_i c, P_f c on i and f; o sees the new c)   -> [norm: (pre - mean) / sqrt(var + 1e-8) * n]
        pre   = pre + bias,  clipped to +-gate_clip                      (mean and var over the H units of one gate)
        c     = f(pre_f) c + f(pre_i) g(pre_g),  clipped to +-cell_clip
        m     = f(pre_o) h(c);   output r = m, or W_r m + b_r clipped to +-projection_clip

    An input gate that is coupled with the forget gate is written out: ``1 - sigmoid(x)`` is ``sigmoid(-x)``, so its
    rows are the other's, negated.

    Attributes:
        name: what the source calls it, for messages.
        weight_ih: (4H, I)
        weight_hh: (4H, R)
        bias: (4H,) all of the source's biases added.
        gate: f, of the gates i, f, o.
        candidate: g.
        output: h, of the cell state.
        peephole: (3, H) P of i, f, o, or None.
        norm: (4, H) layer normalization's factors, or None.
        weight_hr: (R, H) the projection, or None.
        bias_hr: (R,) the projection's bias, or None.
        gate_clip: 0 for none, as the other clips.
        initial: (r, c) that a stream starts from, (R,) and (H,), or None for zeros.
    """

    name: str
    weight_ih: Matrix
    weight_hh: Matrix
    bias: Floats
    gate: Activation = SIGMOID
    candidate: Activation = TANH
    output: Activation = TANH
    peephole: Floats | None = None
    norm: Floats | None = None
    weight_hr: Matrix | None = None
    bias_hr: Floats | None = None
    gate_clip: float = 0.0
    cell_clip: float = 0.0
    projection_clip: float = 0.0
    initial: tuple[Floats, Floats] | None = None

    @property
    def input_size(self) -> int:
        """I."""
        return self.weight_ih.shape[1]

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.weight_ih.shape[0] // GATES

    @property
    def output_size(self) -> int:
        """R."""
        return self.weight_hh.shape[1]


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense layer on the output of the last LSTM layer, or of the dense layer before: ``activation(W x + b)``."""

    name: str
    weight: Matrix  # (O, I)
    bias: Floats  # (O,)
    activation: Activation = LINEAR


@dataclass(frozen=True, eq=False)
class Scaler:
    """``u = (x - mean) / scale``, one of each per channel; whatever the tool called them."""

    mean: Floats
    scale: Floats

    @classmethod
    def identity(cls, channels: int) -> "Scaler":
        """Return the scaler that changes nothing."""
        return cls(np.zeros(channels), np.ones(channels))


@dataclass(frozen=True, eq=False)
class Model:
    """What a source file says.

    Attributes:
        source: what the file is, in words, for the provenance: "PyTorch state_dict (.pt)".
        scaler: that the file itself applies to its inputs, if it does.
        window: rows that the model was made to see at a time, from a zero state; 0 if the file does not say.
        stateful: whether the file says that state goes on from call to call (Keras' ``stateful``).
        notes: what a person should know: what was left out, folded, or assumed.
    """

    source: str
    layers: tuple[Lstm, ...]
    head: tuple[Dense, ...] = ()
    scaler: Scaler | None = None
    window: int = 0
    stateful: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def input_size(self) -> int:
        """Inputs of the first layer."""
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        """Outputs of the last layer."""
        return self.head[-1].weight.shape[0] if self.head else self.layers[-1].output_size

    @property
    def is_integer(self) -> bool:
        """Whether any weights are integers in the source."""
        matrices = [m for layer in self.layers for m in (layer.weight_ih, layer.weight_hh)]
        return any(m.is_integer for m in (*matrices, *(dense.weight for dense in self.head)))
