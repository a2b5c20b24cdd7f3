"""What the device computes, beside the source's own float64 mathematics: the proof that a model arrived."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_lstm.bundle import Bundle, Metadata, Tensors
from edge_lstm.compare.differences import Difference, difference
from edge_lstm.compare.variants import stateful, variant
from edge_lstm.convert.frame import Frame
from edge_lstm.convert.meaning import Meaning
from edge_lstm.convert.model import Floats
from edge_lstm.core.engine import Engine
from edge_lstm.core.judged import judged
from edge_lstm.core.table import Results
from edge_lstm.errors import WeightsError
from edge_lstm.fit.calibrate import BODY, Residuals, averaged, calibrate, tail_of
from edge_lstm.fit.draft import no_judge
from edge_lstm.fit.normal import Normal
from edge_lstm.fit.recordings import Sequence

ROWS = 20_000  # that the float mathematics is run on
FAR = 1e3  # logits; a judge that hands the log odds on reaches so far
NEVER = 1e9


@dataclass(frozen=True)
class Arrival:
    """How a bundle compares with its source on normal rows, both run as one stream from a fresh state.

    Attributes:
        rows: compared.
        difference_rms: root mean square difference of the outputs; in scales of the data, of classes in logits.
        difference_max: the largest.
        deviation_rms: how much the source's outputs themselves move, in the same units.
        scores: the source's outputs behind the bundle's judge, against the bundle.
        residual: how far the outputs are from the normal rows, root mean square, in scales of the data.
        persistence: the same of "as it is now"; both 0 for classes, this also for a reconstruction.
        widths: ``difference_rms`` by the width of activations, of those that were tried.
    """

    rows: int
    difference_rms: float
    difference_max: float
    deviation_rms: float
    scores: Difference
    widths: dict[int, float] = field(default_factory=dict)
    residual: float = 0.0
    persistence: float = 0.0


def run(bundle: Bundle, sequence: Sequence) -> Results:
    """Run one sequence through a fresh row of the engine."""
    x = np.ascontiguousarray(sequence.x)
    results = Engine(bundle.weights, 1).advance(np.zeros(len(x), np.int64), sequence.t, x)
    return Results._make(array.copy() for array in results)


def device_outputs(bundle: Bundle, sequence: Sequence) -> Floats:
    """Return what the network says after each sample: (n, C) in data units, or (n, 1) the log odds of an anomaly."""
    if bundle.metadata.head != "classification":
        return np.asarray(run(bundle, sequence).forecast[..., 0])
    results = run(_transparent(bundle), sequence)
    return np.asarray(results.surprise[:, None] * (2.0 * FAR / BODY) - FAR)


def _transparent(bundle: Bundle) -> Bundle:
    """Return a bundle whose surprise is a straight line of the log odds, whatever they are."""
    judge = {
        "judge.evidence": np.array([[0.0, 1.0], [NEVER, NEVER + 1.0], [0.0, 1.0]]),
        "judge.tail": np.array([-FAR, FAR, 1.0, 0.1]),
    }
    return variant(bundle, judge, warm_up=0, settle=0)


@dataclass(frozen=True)
class Judgement:
    """How the judge's numbers are found on normal rows; ``settle`` samples of each sequence come before."""

    meaning: Meaning
    normal: Normal
    tau_b: float
    tau_c: float
    settle: int

    def calibrate(self, outputs: list[Floats]) -> tuple[Tensors, Floats]:
        """Return the judge's tensors, and the residuals' root mean square, (C,) in data units.

        Args:
            outputs: of each normal sequence, as ``device_outputs`` gives them.

        Raises:
            WeightsError: there is nothing to calibrate on.
        """
        try:
            if self.meaning.head == "classification":
                return self._classes(outputs), np.zeros(len(self.normal.mean))
            return self._residuals(outputs)
        except ValueError as error:
            raise WeightsError(str(error)) from None

    def _residuals(self, outputs: list[Floats]) -> tuple[Tensors, Floats]:
        normal, horizon = self.normal, self.meaning.horizon
        silent = normal.constant.copy()
        silent[[c for c in range(len(silent)) if c not in self.meaning.targets]] = True
        if silent.all():
            raise ValueError("the channels that the model has outputs for never change in the normal rows")
        judged = []
        for sequence, output in zip(normal.sequences, outputs, strict=True):
            later = 1 if horizon else 0
            away = (sequence.x[later:] - output[: len(output) - later]) / normal.scale
            e = np.clip(away, -20.0, 20.0)[max(0, horizon - 1) :]
            settled = self.settle - max(0, horizon - 1)  # as many of the residuals are of rows before
            judged.append(Residuals(e, min(settled, len(e) // 2)))
        found = calibrate(judged, silent, self.tau_b, self.tau_c)
        square = np.concatenate([np.square(e[held:]) for e, held in judged]).mean(0)
        return found.tensors(), np.where(silent, 0.0, np.sqrt(square)) * normal.scale

    def _classes(self, outputs: list[Floats]) -> Tensors:
        statistics = []
        for output in outputs:
            odds = output[:, 0]
            both = np.stack([odds, averaged(odds, self.tau_b)], axis=1)
            statistics.append(both[min(self.settle, len(both) // 2) :])
        rows = np.concatenate(statistics)
        evidence = np.stack([np.median(rows, 0), np.quantile(rows, 0.99, axis=0)], axis=1)
        if not (evidence[:, 1] > evidence[:, 0]).all():
            raise ValueError("the classes' odds are all alike on the normal rows: there is nothing to calibrate on")
        relative = ((rows - evidence[:, 0]) / (evidence[:, 1] - evidence[:, 0])).max(1)
        return no_judge(len(self.normal.mean)) | {
            "judge.evidence": np.concatenate([evidence, [[0.0, 1.0]]]),
            "judge.tail": tail_of(relative),
        }


def arrival(bundle: Bundle, frame: Frame, normal: Normal) -> Arrival:
    """Run the bundle and the source's mathematics on normal rows, and compare outputs and scores."""
    endless = stateful(bundle)
    ours, theirs, runs = [], [], []
    for sequence in _first(normal.sequences):
        outputs = frame.float_outputs(sequence.x)
        runs.append((judged(endless.weights, sequence.t, sequence.x, outputs), run(endless, sequence)))
        ours.append(told_by_device(endless, frame, sequence))
        theirs.append(told_by(outputs, bundle.metadata, frame))
    mine, its = np.concatenate(ours), np.concatenate(theirs)
    source, device = (_joined(side) for side in zip(*runs, strict=True))
    apart = mine - its
    return Arrival(
        rows=len(mine),
        difference_rms=float(np.sqrt(np.square(apart).mean())),
        difference_max=float(np.abs(apart).max()),
        deviation_rms=float(np.sqrt(np.square(its - its.mean(0)).mean())),
        scores=difference(source, device),
    )


def _first(sequences: list[Sequence]) -> Iterator[Sequence]:
    """Yield sequences until there were ``ROWS`` rows."""
    left = ROWS
    for sequence in sequences:
        if left <= 0:
            return
        yield sequence._replace(t=sequence.t[:left], x=sequence.x[:left])
        left -= len(sequence.x)


def told_by_device(bundle: Bundle, frame: Frame, sequence: Sequence) -> Floats:
    """Return what a bundle says after each sample, (n, K): targets in scales of the data, or the log odds.

    Of forecasts further ahead, which come late, those of the last samples are missing.
    """
    device = device_outputs(bundle, sequence)
    if frame.meaning.head == "classification":
        return device
    targets = list(frame.meaning.targets)
    return ((device - frame.mean) / frame.scale)[max(0, frame.meaning.horizon - 1) :, targets]


def told_by(outputs: Floats, metadata: Metadata, frame: Frame) -> Floats:
    """Return the same of outputs (n, O) as ``frame.float_outputs`` gives them."""
    if frame.meaning.head == "classification":
        return _log_odds(outputs, metadata)
    targets = list(frame.meaning.targets)
    located = (outputs[:, : frame.channels] * frame.output.scale + frame.output.mean)[:, targets]
    there = len(outputs) - max(0, frame.meaning.horizon - 1)
    return ((located - frame.mean[targets]) / frame.scale[targets])[:there]


def _joined(results: tuple[Any, ...]) -> Results:
    return Results._make(np.concatenate(arrays) for arrays in zip(*results, strict=True))


def _log_odds(logits: Floats, metadata: Metadata) -> Floats:
    """Return (n, 1) the log odds of an anomaly, of logits (n, O)."""
    anomalous = np.array([name in metadata.anomalous for name in metadata.classes])
    if len(anomalous) == 1:
        return logits if anomalous[0] else -logits
    sums = [np.logaddexp.reduce(logits[:, part], axis=1) for part in (anomalous, ~anomalous)]
    return np.asarray(sums[0] - sums[1])[:, None]


def mean_square(values: Floats) -> float:
    """Return the root mean square of those that are not 0; 0 if all are."""
    some = values[values != 0.0]
    return float(np.sqrt(np.square(some).mean())) if len(some) else 0.0


def persistence(frame: Frame, normal: Normal) -> float:
    """Return how far the targets move from now to when they are forecast, in scales of the data."""
    ahead, targets = frame.meaning.horizon, list(frame.meaning.targets)
    if not ahead or not targets:
        return 0.0
    moves = [sequence.x[ahead:, targets] - sequence.x[:-ahead, targets] for sequence in normal.sequences]
    return mean_square(np.sqrt(np.square(np.concatenate(moves)).mean(0)) / normal.scale[targets])
