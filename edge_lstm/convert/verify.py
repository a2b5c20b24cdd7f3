"""The original, run by the framework that made it, beside the imported mathematics."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_lstm.convert.model import Floats, Model, Scaler
from edge_lstm.convert.sources import importer_of
from edge_lstm.errors import WeightsError

ROWS = 1000
TOLERANCE = {False: 1e-4, True: 0.1}  # of the largest output; integers: frameworks round their activations to 8 bits


def verify(path: Path, model: Model, x: Floats, scaler: Scaler | None) -> str:
    """Run the original on the first of the rows, and say how far the import is from it.

    Args:
        path: the source file.
        model: what was imported.
        x: (n, I) data units.
        scaler: before the model, if it has none of its own.

    Raises:
        WeightsError: they differ by more than rounding can explain, or what runs the original is not installed.
    """
    name = importer_of(path)
    u = x[:ROWS] if scaler is None else (x[:ROWS] - scaler.mean) / scaler.scale
    try:
        original: Any = import_module(f"edge_lstm.convert.originals.{name}")
        theirs, ours = original.run(path, model, u)
    except ImportError as error:
        message = f"--verify can't run the original: {error}"
        raise WeightsError(message) from None
    largest, apart = float(np.abs(theirs).max()), float(np.abs(theirs - ours).max())
    tolerance = TOLERANCE[model.is_integer]
    if not apart <= tolerance * max(largest, 1e-6):  # nor if it is no number
        message = (
            f"--verify: the original's outputs differ from the import's by {apart:.3g}, its largest output is "
            f"{largest:.3g}; expected at most {tolerance:g} of that. Please report it, with the file"
        )
        raise WeightsError(message)
    return f"verified     {len(theirs)} outputs of the original: largest difference {apart:.2g}, of {largest:.3g}\n"
