"""What has been read of a chain so far: where a scaler, a batch normalization or an activation belongs in it."""

from dataclasses import dataclass, field, replace

import numpy as np

from edge_lstm.convert.formats.keras.settings import Layer, refuse
from edge_lstm.convert.model import LINEAR, Activation, Dense, Floats, Lstm, Matrix, Model, Scaler

LARGEST = 1e15


@dataclass(frozen=True, eq=False)
class Affine:
    """``k * x + t``, one of each per channel, or one for all; of the layer in ``where``."""

    k: Floats
    t: Floats
    where: str


@dataclass
class Builder:
    """The parts of the model, in the order of the stream.

    Attributes:
        major: of the Keras that wrote the file.
        inputs: of the model, if the file says.
        sequence: whether the last layer hands on every row (or, at the beginning, gets every row).
        ended: what reshaped the outputs; nothing can follow it.
    """

    major: int
    inputs: int | None = None
    sequence: bool = True
    scaler: Affine | None = None
    layers: list[Lstm] = field(default_factory=list)
    head: list[Dense] = field(default_factory=list)
    pending: Affine | None = None
    stateful: set[bool] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    ended: str = ""

    @property
    def width(self) -> int | None:
        """How many values a row has here; None if the file does not say."""
        if self.head:
            return self.head[-1].weight.shape[0]
        return self.layers[-1].output_size if self.layers else self.inputs

    def scale(self, affine: Affine, layer: Layer) -> None:
        """Put ``k x + t`` before the first LSTM."""
        if self.layers:
            refuse(f"{layer.where} stands behind an LSTM; scale the inputs only, before the first one")
        _check(affine)
        if not (affine.k > 0).all():
            refuse(f"{layer.where} scales by {affine.k.min()}, expected more than 0")
        if self.inputs is not None and affine.k.size not in (1, self.inputs):
            refuse(f"{layer.where} has {affine.k.size} values, the model {self.inputs} inputs")
        first = self.scaler or Affine(np.ones(1), np.zeros(1), layer.where)
        self.scaler = Affine(affine.k * first.k, affine.k * first.t + affine.t, layer.where)

    def normalize(self, affine: Affine, layer: Layer) -> None:
        """Put a batch normalization where it is: before all, or folded into the weights beside it."""
        _check(affine)
        if self.width is not None and affine.k.size != self.width:
            refuse(f"{layer.where} normalizes {affine.k.size} values, it gets {self.width}")
        if not self.layers:
            self.scale(affine, layer)
            return
        self.notes.append(f"{layer.where} is folded into the weights beside it")
        last = self.head[-1] if self.head else None
        if last is not None and last.activation == LINEAR and not last.weight.is_integer:
            weight = Matrix.of_floats(affine.k[:, None] * last.weight.real)
            self.head[-1] = replace(last, weight=weight, bias=affine.k * last.bias + affine.t)
        elif self.pending is None:
            self.pending = affine
        else:
            refuse(f"{layer.where} follows another normalization")

    def absorb(self, weight: Matrix, bias: Floats) -> tuple[Matrix, Floats]:
        """Return weights (rows, columns) and bias (rows,) that take a normalization before them into themselves."""
        affine, self.pending = self.pending, None
        if affine is None:
            return weight, bias
        if weight.is_integer or weight.shape[1] != affine.k.size:
            refuse(f"{affine.where} can't be folded into the integer weights behind it without changing them")
        return Matrix.of_floats(weight.real * affine.k), bias + weight.real @ affine.t

    def activate(self, activation: Activation, layer: Layer) -> None:
        """Put an activation that is a layer of its own on what there is."""
        if not self.layers:
            refuse(f"{layer.where} stands before the LSTM; only a scaler can")
        if activation == LINEAR:
            return
        self.settled(layer)
        if self.head and self.head[-1].activation == LINEAR:
            self.head[-1] = replace(self.head[-1], activation=activation)
        else:
            width = self.width or 0
            self.head.append(Dense(layer.name, Matrix.of_floats(np.eye(width)), np.zeros(width), activation))

    def settled(self, layer: Layer | None) -> None:
        """Refuse a normalization that has nothing to be folded into before this layer, or at the end."""
        if self.pending is not None:
            what = layer.where if layer else "the end"
            refuse(f"{self.pending.where} stands between an LSTM and {what}; only a Dense or LSTM can take it in")

    def finished(self, source: str, window: int) -> Model:
        """Return the model."""
        self.settled(None)
        if not self.layers:
            refuse("the model has no LSTM layer")
        if len(self.stateful) > 1:
            refuse("some of the LSTM layers are stateful and some are not; make all of them so, or none")
        stateful = self.stateful == {True}
        return Model(
            source=source,
            layers=tuple(self.layers),
            head=tuple(self.head),
            scaler=self._scaler(),
            window=0 if stateful else window,
            stateful=stateful,
            notes=tuple(self.notes),
        )

    def _scaler(self) -> Scaler | None:
        if self.scaler is None:
            return None
        width = self.layers[0].input_size
        if self.scaler.k.size not in (1, width):
            refuse(f"{self.scaler.where} scales {self.scaler.k.size} values, the LSTM takes {width}")
        k = np.broadcast_to(self.scaler.k, width)
        return Scaler(mean=-np.broadcast_to(self.scaler.t, width) / k, scale=1.0 / k)


def _check(affine: Affine) -> None:
    if not all((np.abs(part) <= LARGEST).all() for part in (affine.k, affine.t)):
        refuse(f"{affine.where} holds a value that is not finite or above {LARGEST:g}")
