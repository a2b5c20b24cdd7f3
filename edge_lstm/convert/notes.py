"""What a person should know of a conversion: what was assumed, and what looks wrong."""

import numpy as np

from edge_lstm.convert.arrival import Arrival
from edge_lstm.convert.draft import Draft

FEW = 1000  # normal rows
BAD = 2.0  # times the error of a forecast of no change
RAW = 10.0  # inputs beyond it look like data units


def warnings(draft: Draft, found: Arrival) -> list[str]:
    """Return what looks wrong."""
    doubts = []
    if draft.normal.rows < FEW:
        doubts.append(f"only {draft.normal.rows} normal rows to calibrate the score on; {FEW} or more are better")
    worse = found.residual / found.persistence if found.persistence else 0.0
    if worse > BAD:
        doubts.append(
            f"it forecasts {worse:.1f} times worse than no change at all: is the scaler the right one, are the "
            "channels in order, do the outputs mean what --head says?"
        )
    elif found.residual > 1.0:
        doubts.append(
            f"its outputs are {found.residual:.3g} standard deviations away from the normal rows, farther than their "
            "mean is: is the scaler the right one, are the channels in order, do the outputs mean what --head says?"
        )
    return doubts


def notes(draft: Draft) -> list[str]:
    """Return what was assumed about scaler and window."""
    found, model, options = [], draft.frame.source, draft.options
    if model.scaler is None and options.scaler is None:
        far = np.abs(draft.normal.mean) + draft.normal.scale
        if (far > RAW).any():
            name = draft.columns[int(far.argmax())]
            found.append(
                f"no --scaler, so the model takes values as they are, {name} at about "
                f"{draft.normal.mean[far.argmax()]:.3g}; networks are seldom trained on such"
            )
    if draft.window:
        found.append(
            f"trained on windows: {_copies(draft.copies)}, so each sample is judged with "
            f"{draft.window - draft.window // draft.copies + 1} to {draft.window} samples of context; --window 0 keeps "
            "one state for ever, 'edge-lstm compare' shows the difference"
        )
    elif options.window is None and not model.stateful:
        found.append("the file does not say on how many rows it was trained; if on windows, give --window")
    return found


def _copies(count: int) -> str:
    return f"{count} copies of the state start anew in turn" if count > 1 else "the state starts anew now and then"
