"""From a model and normal rows of its system to a bundle that is shown to do the same."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edge_lstm.bundle import Bundle
from edge_lstm.compare.variants import whole_turns
from edge_lstm.convert.arrival import Arrival, Judgement, arrival, device_outputs, mean_square, persistence
from edge_lstm.convert.behind import behind_of
from edge_lstm.convert.biases import Sensitivity, fitted
from edge_lstm.convert.bounds import bounds
from edge_lstm.convert.draft import ConvertOptions, Draft
from edge_lstm.convert.frame import frame, spread_bias
from edge_lstm.convert.meaning import meaning
from edge_lstm.convert.model import Model, Scaler
from edge_lstm.convert.network import quantized
from edge_lstm.convert.notes import FEW, notes, warnings
from edge_lstm.errors import WeightsError
from edge_lstm.fit.draft import no_judge
from edge_lstm.fit.normal import Normal, check_periods, normalize
from edge_lstm.fit.recordings import SHORTEST, Sequence

FEWEST = 50  # normal rows
HELD_BACK = 0.25
PROBE = 4000  # normal rows that bounds are taken from
WORTH_16 = 1.25  # 8-bit activations are taken where their error is at most so many times that of 16 bits
TINY = 1e-3  # a difference that is nothing, of outputs that do not move
LOST = 0.25  # root mean square difference to the source, of its outputs' own deviation, beyond which nothing arrived


@dataclass(frozen=True)
class Converted:
    """What came of a conversion; ``notes`` are what was assumed, ``warnings`` what looks wrong."""

    bundle: Bundle
    arrival: Arrival
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@np.errstate(over="ignore", invalid="ignore")  # what is no number does not arrive
def convert(
    model: Model, sequences: list[Sequence], columns: tuple[str, ...], options: ConvertOptions, *, clocked: bool = True
) -> Converted:
    """Make a bundle of a model, calibrated on normal rows.

    Args:
        model: what an importer read.
        sequences: normal rows of the system, in order, without gaps.
        columns: names of the channels, in the order of the model's inputs.
        clocked: whether the rows have times.

    Raises:
        WeightsError: model, rows and options do not fit together, or the bundle does not do what the model does.
    """
    if len(columns) != model.input_size:
        message = f"the model takes {model.input_size} channels, the rows have {len(columns)}: {', '.join(columns)}"
        raise WeightsError(message)
    if model.scaler is not None and options.scaler is not None:
        raise WeightsError("the file has a scaler of its own; --scaler would be a second one")
    means = meaning(model, columns, options.choice)
    normal = normalize(_long_enough(sequences, means.horizon), HELD_BACK)
    if clocked:
        check_periods(normal)
    if normal.constant.all():
        raise WeightsError("no channel ever changes in the normal rows: there is nothing to calibrate a score on")
    data = Scaler(normal.mean, normal.scale)
    probe = normal.sequences[0].x[:PROBE]
    before = model.scaler or options.scaler or Scaler.identity(len(columns))
    behind, note = behind_of(model, means, options.target_scaler, before, probe)
    framed = frame(model, means, data, before, behind)
    limits = bounds(framed.model, framed.inputs(probe))
    network = quantized(framed.model, limits)
    window, copies = _context(model, options)
    longest = max(normal.sequences, key=lambda sequence: len(sequence.x))
    sensitivity = None if model.is_integer else Sensitivity(framed, longest)
    period_s = normal.period_s if clocked else 0.0
    draft = Draft(framed, network, normal, columns, options, period_s, window, copies, sensitivity)
    _check_rows(normal, draft.settle)
    bundle, found = _chosen(draft)
    return Converted(bundle, found, (*model.notes, *means.notes, *note, *notes(draft)), tuple(warnings(draft, found)))


def _check_rows(normal: Normal, settle: int) -> None:
    """Raise WeightsError where too few rows are left to calibrate on, behind those that a stream settles in."""
    left = sum(max(0, len(sequence.x) - settle) for sequence in normal.sequences)
    if left < FEWEST:
        message = (
            f"{left} normal rows to calibrate a score on, behind the {settle} that each recording settles in; "
            f"expected {FEWEST} or more, and {FEW} are better"
        )
        raise WeightsError(message)


def _long_enough(sequences: list[Sequence], horizon: int) -> list[Sequence]:
    """Return the sequences in which enough forecasts come due."""
    found = [sequence for sequence in sequences if len(sequence.x) >= SHORTEST + horizon - 1]
    if not found:
        longest = max(len(sequence.x) for sequence in sequences)
        message = f"{longest} normal rows in a row, too few for a forecast of {horizon} samples ahead"
        raise WeightsError(message)
    return found


def _context(model: Model, options: ConvertOptions) -> tuple[int, int]:
    """Return window and copies."""
    window = options.window if options.window is not None else (0 if model.stateful else model.window)
    return whole_turns(window, options.copies) if window else (0, 1)


def _chosen(draft: Draft) -> tuple[Bundle, Arrival]:
    """Return the bundle of the width that is asked for, or of the smaller one that does no harm."""
    asked = draft.options.activation_bits
    widths: list[Literal[8, 16]] = [8, 16] if asked == 0 else [asked]
    made = {}
    for bits in widths:
        try:
            made[bits] = _calibrated(draft, bits)
        except WeightsError:
            if not made:
                raise
            # too wide for 16 bits, but not for 8
    harmless = len(made) == 1 or made[8][1].difference_rms <= WORTH_16 * made[16][1].difference_rms
    bits = min(made) if harmless else 16
    bundle, found = made[bits]
    if not found.difference_rms <= LOST * found.deviation_rms + TINY:  # nor if either is no number
        message = (
            f"the bundle differs from the source by {found.difference_rms:.3g} on normal rows, whose outputs move by "
            f"{found.deviation_rms:.3g}: it did not arrive. Are the channels in order, and is the scaler the right one?"
        )
        raise WeightsError(message)
    others: dict[int, float] = {width: report.difference_rms for width, (_, report) in made.items()}
    return bundle, replace(found, widths=others)


def _calibrated(draft: Draft, bits: Literal[8, 16]) -> tuple[Bundle, Arrival]:
    """Return a bundle with its judge, and how it compares with the source's own mathematics."""
    metadata, fixed = draft.metadata(bits), draft.fixed()
    channels, means, normal = len(draft.columns), draft.frame.meaning, draft.normal
    blank = draft.seal(metadata, fixed | no_judge(channels))
    if draft.sensitivity is not None:
        fixed |= fitted(blank, draft.sensitivity)
        blank = draft.seal(metadata, fixed | no_judge(channels))
    runs = [device_outputs(blank, sequence) for sequence in normal.sequences]
    judgement = Judgement(means, normal, draft.options.tau_b, draft.options.tau_c, metadata.settle)
    judge, residual = judgement.calibrate(runs)
    tensors = fixed | judge
    if means.head != "classification":
        bias = tensors["head.bias"].copy()
        bias[channels:] = spread_bias(draft.frame, residual)
        tensors["head.bias"] = bias.astype(np.float32)
    bundle = draft.seal(metadata, tensors)
    found = arrival(bundle, draft.frame, normal)
    return bundle, replace(
        found, residual=mean_square(residual / normal.scale), persistence=persistence(draft.frame, normal)
    )
