"""What a bundle is made of before it has a judge."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edge_lstm.bundle import Bundle, Channel, Metadata, Tensors, seal
from edge_lstm.convert.biases import Sensitivity
from edge_lstm.convert.frame import Frame
from edge_lstm.convert.meaning import Choice
from edge_lstm.convert.model import Scaler
from edge_lstm.convert.network import Quantized
from edge_lstm.fit.calibrate import rules
from edge_lstm.fit.draft import golden_input
from edge_lstm.fit.normal import Normal

WARM_UP = 30  # samples
CLIP = 20.0  # scales of the data that the inputs may be away
MARGIN = 1.25  # over the normal row that is farthest away


@dataclass(frozen=True)
class ConvertOptions:
    """What can be chosen.

    Attributes:
        name: of the bundle.
        choice: what the outputs mean.
        scaler: that the model's inputs went through; its own, or none, if not given.
        target_scaler: that its outputs went through, one entry a target; inferred, if not given.
        activation_bits: 0: chosen by what 8 bits do.
        window: samples that the state reaches back; 0: for ever; None: as the file says.
        copies: of the state, that start anew in turn.
        tau_b: memory of the averaged log distance, samples.
        tau_c: memory of the averaged residual, samples.
    """

    name: str = "converted"
    choice: Choice = field(default_factory=Choice)
    scaler: Scaler | None = None
    target_scaler: Scaler | None = None
    activation_bits: Literal[0, 8, 16] = 0
    window: int | None = None
    copies: int = 8
    tau_b: float = 6.0
    tau_c: float = 10.0
    provenance: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """All that a bundle is made of but its activations' width and its judge."""

    frame: Frame
    network: Quantized
    normal: Normal
    columns: tuple[str, ...]
    options: ConvertOptions
    period_s: float
    window: int
    copies: int
    sensitivity: Sensitivity | None  # of a source whose weights are rounded

    @property
    def settle(self) -> int:
        """Samples that a stream needs before the network says what it will keep saying."""
        return max(WARM_UP, self.window) + max(0, self.frame.meaning.horizon - 1)

    def metadata(self, bits: Literal[8, 16]) -> Metadata:
        """Return the document."""
        means, normal = self.frame.meaning, self.normal
        named = tuple(self.columns[k] for k in means.targets)
        return Metadata(
            name=self.options.name,
            judge="fitted",
            channels=tuple(Channel(column) for column in self.columns),
            input_size=len(self.columns),
            hidden_size=self.network.hidden_size,
            num_layers=len(self.frame.model.layers),
            activation_bits=bits,
            input_clip=self._input_clip(),
            period_s=self.period_s,
            warm_up=WARM_UP,
            settle=self.settle,
            tau_b=self.options.tau_b,
            tau_c=self.options.tau_c,
            fit_rows=normal.rows,
            head=means.head,
            horizon=means.horizon,
            targets=named if len(named) < len(self.columns) else (),
            classes=means.classes,
            anomalous=means.anomalous,
            window=self.window,
            copies=self.copies,
            layers=self.network.cells,
            dense=self.network.dense,
            provenance=self.options.provenance,
        )

    def _input_clip(self) -> float:
        """Return how far inputs may be from 0: so many scales of the data, in units of the network's scaler."""
        frame = self.frame
        spread = np.where(self.normal.constant, 0.0, frame.scale)
        far = np.abs(frame.mean - frame.input.mean) + CLIP * spread
        seen = [np.abs(sequence.x - frame.input.mean).max(0) for sequence in self.normal.sequences]
        most = np.maximum(far, MARGIN * np.max(seen, axis=0))  # a flag that is seldom set is far from its mean
        return float(np.clip((most / frame.input.scale).max(), 1e-3, 1e6))

    def fixed(self) -> Tensors:
        """Return the tensors that the judge does not change."""
        normal = self.normal
        tensors = {"normalize.mean": normal.mean, "normalize.scale": normal.scale}
        tensors |= rules([sequence.x for sequence in normal.sequences], normal.mean, normal.scale, normal.still)
        return self.network.tensors | tensors | self.frame.tensors()

    def seal(self, metadata: Metadata, tensors: Tensors) -> Bundle:
        """Return the bundle with its golden run."""
        return seal(metadata, tensors, *golden_input(self.normal, self.period_s))
