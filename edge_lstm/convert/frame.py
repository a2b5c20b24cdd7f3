"""A model in the frame of its data: scalers folded in or beside it, and a head whose rows a bundle knows."""

from dataclasses import dataclass, replace

import numpy as np

from edge_lstm.bundle import Tensors
from edge_lstm.convert.mathematics import run
from edge_lstm.convert.meaning import Meaning
from edge_lstm.convert.model import LINEAR, Dense, Floats, Matrix, Model, Scaler
from edge_lstm.convert.network import folded_input, scaled_rows, stacked_rows

LOG_SPREAD = 7.0  # as clipped by docs/numerics.md, section 5


@dataclass(frozen=True)
class Frame:
    """What a model is to a bundle.

    Attributes:
        source: the model as it came.
        model: the same function of ``(x - input.mean) / input.scale``, one dense layer at least; its last layer gives
            the outputs that count, in units of ``output``.
        meaning: of the outputs.
        mean: (C,) of the data.
        scale: (C,) of the data.
        input: the scaler before ``model``; that of the data where it could be folded into the weights.
        output: (C,) what the outputs are scaled by, likewise.
        outside: the scalers that the source was trained behind: of its inputs, of its outputs by channel.
    """

    source: Model
    model: Model
    meaning: Meaning
    mean: Floats
    scale: Floats
    input: Scaler
    output: Scaler
    outside: tuple[Scaler, Scaler]

    @property
    def channels(self) -> int:
        """C."""
        return len(self.mean)

    def inputs(self, x: Floats) -> Floats:
        """Return what the model takes, of samples (n, C) in data units."""
        return (x - self.input.mean) / self.input.scale

    def float_outputs(self, x: Floats) -> Floats:
        """Return the source's own mathematics on samples (n, C), (n, O) as the bundle's last layer would give it."""
        u = (x - self.outside[0].mean) / self.outside[0].scale
        if self.meaning.head == "classification":
            return run(replace(self.source, scaler=None, head=_to_logits(self.source.head)), u)
        outputs = run(replace(self.source, scaler=None), u)[:, list(self.meaning.rows)]
        targets = list(self.meaning.targets)
        data = outputs * self.outside[1].scale[targets] + self.outside[1].mean[targets]
        located = np.zeros((len(x), 2 * self.channels))
        located[:, targets] = (data - self.output.mean[targets]) / self.output.scale[targets]
        return located

    def tensors(self) -> Tensors:
        """Return the scalers that the bundle has to hold: none where they are those of the data."""
        own = Scaler(self.mean, self.scale)
        if _same(self.input, own) and _same(self.output, own):
            return {}
        return {
            "input.mean": self.input.mean, "input.scale": self.input.scale,
            "output.mean": self.output.mean, "output.scale": self.output.scale,
        }  # fmt: skip


def _same(a: Scaler, b: Scaler) -> bool:
    return bool(np.array_equal(a.mean, b.mean) and np.array_equal(a.scale, b.scale))


def _to_logits(head: tuple[Dense, ...]) -> tuple[Dense, ...]:
    """Return the head without the function that turns logits into probabilities: these saturate, logits do not."""
    if not head or head[-1].activation.kind not in ("softmax", "sigmoid"):
        return head
    return (*head[:-1], replace(head[-1], activation=LINEAR))


def frame(model: Model, meaning: Meaning, data: Scaler, before: Scaler, behind: Scaler) -> Frame:
    """Put a model into the frame of its data.

    Args:
        data: mean and scale of normal rows.
        before: the scaler of its inputs.
        behind: the scaler of its outputs, one entry a channel.
    """
    channels = len(data.mean)
    folded = folded_input(model, before, data.mean, data.scale)
    inner = folded or replace(model, scaler=None)
    head = inner.head or (_identity(inner.output_size),)
    output = behind
    if meaning.head == "classification":
        last = _to_logits(head)[-1]
        output = data
    else:
        targets = list(meaning.targets)
        last = replace(
            head[-1], weight=head[-1].weight.rows(list(meaning.rows)), bias=head[-1].bias[list(meaning.rows)]
        )
        if last.activation == LINEAR:
            trained = Scaler(behind.mean[targets], behind.scale[targets])
            last = scaled_rows(last, trained, data.mean[targets], data.scale[targets])
            output = data
        last = stacked_rows(last, targets, channels)
    inner = replace(inner, head=(*head[:-1], last))
    return Frame(model, inner, meaning, data.mean, data.scale, data if folded else before, output, (before, behind))


def _identity(size: int) -> Dense:
    """Return a layer that hands on what it is given."""
    return Dense("output", Matrix.of_integers(np.eye(size, dtype=np.int8), 1.0), np.zeros(size))


def spread_bias(frame: Frame, spread: Floats) -> Floats:
    """Return the head's biases for log spreads.

    Args:
        spread: (C,) root mean square of the residual, data units.
    """
    log_spread = np.log(np.maximum(spread, 1e-300) / frame.output.scale)
    return np.clip(log_spread, -LOG_SPREAD, LOG_SPREAD)
