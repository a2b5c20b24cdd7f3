"""The biases of a rounded network, moved so that the device says what the source says.

Rounding the weights gives a state that should stand still a small constant pull, which adds up: a network that recalls
a value after 500 steps may lose it, or not, as the rounding falls. Biases are float32, so they can take the pull away.
They are fitted on normal rows, by Gauss-Newton steps with the source's own sensitivities, from what the device says.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle, Tensors
from edge_lstm.compare.variants import stateful, variant
from edge_lstm.convert.arrival import told_by, told_by_device
from edge_lstm.convert.frame import Frame
from edge_lstm.convert.mathematics import State, activate, cell, fresh
from edge_lstm.convert.model import LINEAR, Floats
from edge_lstm.fit.recordings import Sequence

STEPS = 3
RIDGE = 1e-3
NUDGE = 1e-4  # of a bias, for its sensitivity
ROWS, FEWEST = 3000, 300  # normal rows
WORK = 3e11  # multiplications that sensitivities may take: half a minute
NUMBERS = 4e7  # of them that are kept


class Sensitivity:
    """How the source's outputs on some rows depend on its biases.

    Args:
        frame: the model in the frame of its data; its dense layers before the last keep their biases.
        sequence: normal rows.

    Attributes:
        whole: the rows.
        sequence: as many of them as can be afforded; none if that is too few.
    """

    def __init__(self, frame: Frame, sequence: Sequence) -> None:
        self.frame, self.whole = frame, sequence
        layers = frame.model.layers
        self.sizes = [len(layer.bias) for layer in layers]
        weights = sum(layer.weight_ih.values.size + layer.weight_hh.values.size for layer in layers)
        count = sum(self.sizes)
        kept = (count + 1) * frame.model.output_size
        rows = int(min(len(sequence.x), ROWS, WORK / (weights * (count + 1)), NUMBERS / kept))
        rows = rows if rows >= FEWEST else 0
        self.sequence = sequence._replace(t=sequence.t[:rows], x=sequence.x[:rows])

    @cached_property
    def outputs(self) -> Floats:
        """Return the last layer's outputs, (n, 1 + biases, O): as they are, then with each bias nudged."""
        model = self.frame.model
        count = 1 + sum(self.sizes)
        nudges = np.zeros((count, count - 1))
        nudges[1:] = NUDGE * np.eye(count - 1)
        biases = [
            layer.bias + part
            for layer, part in zip(model.layers, np.split(nudges, np.cumsum(self.sizes)[:-1], axis=1), strict=True)
        ]
        state = State(*([np.repeat(a[None], count, 0) for a in part] for part in (fresh(model).r, fresh(model).c)))
        found = np.empty((len(self.sequence.x), count, model.output_size))
        for n, row in enumerate(self.frame.inputs(self.sequence.x)):
            x = np.repeat(row[None], count, 0)
            for k, layer in enumerate(model.layers):
                state.r[k], state.c[k] = cell(layer, x, state.r[k], state.c[k], biases[k])
                x = state.r[k]
            for dense in model.head:
                x = activate(dense.activation, x @ dense.weight.real.T + dense.bias)
            found[n] = x
        return found


def fitted(bundle: Bundle, sensitivity: Sensitivity) -> Tensors:
    """Return the biases that make a bundle say what its source says on normal rows; none if they can't be had.

    Args:
        bundle: of float weights that were rounded.
        sensitivity: of its source; the rows after those that are fitted on tell whether it helped.
    """
    frame, rows = sensitivity.frame, sensitivity.sequence
    if not len(rows.x):
        return {}
    endless = stateful(bundle)
    source, slopes = _slopes(sensitivity, endless)
    whole = sensitivity.whole
    unseen = whole._replace(t=whole.t[: 2 * len(rows.t)], x=whole.x[: 2 * len(rows.x)])
    wanted = told_by(frame.float_outputs(unseen.x), bundle.metadata, frame)
    best: Tensors = {}
    least = _apart(endless, frame, unseen, wanted, len(source))
    solve = np.linalg.solve(slopes.T @ slopes / len(slopes) + RIDGE * np.eye(slopes.shape[1]), slopes.T / len(slopes))
    moved = endless
    for _ in range(STEPS):
        residual = source - told_by_device(moved, frame, rows)
        tensors = _moved(moved, sensitivity, solve @ residual.ravel())
        moved = variant(moved, tensors)
        apart = _apart(moved, frame, unseen, wanted, len(source))
        if apart < least:
            best, least = tensors, apart
    return best


def _apart(bundle: Bundle, frame: Frame, rows: Sequence, wanted: Floats, seen: int) -> float:
    """Return the mean squared distance from the source, on rows that were not fitted on if there are enough."""
    start = seen if len(wanted) - seen >= FEWEST else 0
    return float(np.square((told_by_device(bundle, frame, rows) - wanted)[start:]).mean())


def _slopes(sensitivity: Sensitivity, bundle: Bundle) -> tuple[Floats, Floats]:
    """Return what the source says, (n, K), and how that changes with each bias and offset: (n * K, biases + K)."""
    outputs = sensitivity.outputs
    said = [told_by(outputs[:, k], bundle.metadata, sensitivity.frame) for k in range(outputs.shape[1])]
    source = said[0]
    of_biases = [((one - source) / NUDGE).ravel() for one in said[1:]]
    offsets = np.tile(np.eye(source.shape[1]), (len(source), 1))
    columns = [*of_biases, *offsets.T] if _is_linear(sensitivity.frame) else of_biases
    return source, np.column_stack(columns)


def _is_linear(frame: Frame) -> bool:
    """Tell whether a move of the last layer's biases moves what the device says by as much."""
    return frame.meaning.head != "classification" and frame.model.head[-1].activation == LINEAR


def _moved(bundle: Bundle, sensitivity: Sensitivity, by: NDArray[Any]) -> Tensors:
    """Return the biases, each moved by its part of ``by``: those of the layers, then the outputs' offsets."""
    frame, at = sensitivity.frame, 0
    tensors: Tensors = {}
    for k, size in enumerate(sensitivity.sizes):
        tensors[f"bias_l{k}"] = (bundle.tensors[f"bias_l{k}"] + by[at : at + size]).astype(np.float32)
        at += size
    if len(by) > at:
        tensors["head.bias"] = bundle.tensors["head.bias"].copy()
        tensors["head.bias"][list(frame.meaning.targets)] += by[at:].astype(np.float32)
    return tensors
