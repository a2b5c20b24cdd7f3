"""The scaler behind a model: whether its outputs are in data units, or in those that its inputs were scaled to."""

from dataclasses import replace

import numpy as np

from edge_lstm.convert.mathematics import run
from edge_lstm.convert.meaning import Meaning
from edge_lstm.convert.model import Floats, Model, Scaler
from edge_lstm.errors import WeightsError


def behind_of(
    model: Model, meaning: Meaning, given: Scaler | None, before: Scaler, rows: Floats
) -> tuple[Scaler, list[str]]:
    """Return the scaler of a model's outputs, one entry a channel, and a note if it was inferred.

    No file says whether a model was trained to give its targets scaled or not, so both are tried on normal rows.

    Args:
        given: one entry a target, if the user said.
        before: the scaler of the inputs.
        rows: (n, C) normal ones, in data units.

    Raises:
        WeightsError: a scaler is given, but the outputs are not values of channels.
    """
    channels, targets = rows.shape[1], list(meaning.targets)
    plain = Scaler.identity(channels)
    if given is not None and meaning.head == "classification":
        raise WeightsError("--target-scaler: the outputs are classes, not values of channels")
    if given is not None:
        mean, scale = plain.mean.copy(), plain.scale.copy()
        mean[targets], scale[targets] = given.mean, given.scale
        return Scaler(mean, scale), []
    if meaning.head == "classification" or (np.array_equal(before.mean, plain.mean) and (before.scale == 1.0).all()):
        return plain, []
    outputs = run(replace(model, scaler=None), (rows - before.mean) / before.scale)[:, list(meaning.rows)]
    late = meaning.horizon
    shown, made = rows[late:, targets], outputs[: len(outputs) - late]
    errors = [
        float(np.median(np.abs(shown - (made * one.scale[targets] + one.mean[targets])) / before.scale[targets]))
        for one in (plain, before)
    ]
    scaled = errors[1] <= errors[0]
    units = "scaled as its inputs are" if scaled else "in data units"
    note = f"its outputs are taken to be {units}, which fits the normal rows better; --target-scaler says otherwise"
    return (before if scaled else plain), [note]
