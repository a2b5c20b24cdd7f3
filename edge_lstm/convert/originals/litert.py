"""LiteRT's interpreter (package ai-edge-litert) beside an imported model."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edge_lstm.convert.formats.litert.reader import layout
from edge_lstm.convert.mathematics import run as ours
from edge_lstm.convert.model import Floats, Model
from edge_lstm.errors import WeightsError


class Original:
    """A .tflite file in LiteRT, one thread; floats in and out, whatever the file has.

    Args:
        path: the file.
        rows: of a call, for a file whose number of time steps is open.

    Raises:
        WeightsError: LiteRT does not take the file.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self.shape = tuple(rows if size == -1 else size for size in layout(path).shape)
        try:
            self.interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
            self.interpreter.resize_tensor_input(self.interpreter.get_input_details()[0]["index"], self.shape)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            message = f"LiteRT itself does not run the file: {error}"
            raise WeightsError(message) from None
        (self.given,), (self.result,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.interpreter.reset_all_variables()

    def reset(self) -> None:
        """Set all state to zero."""
        self.interpreter.reset_all_variables()

    def call(self, x: Floats) -> Floats:
        """Return the outputs (m, O) for the rows x (n, I) of one call; the state goes on."""
        self.interpreter.set_tensor(self.given["index"], _stored(x.reshape(self.shape), self.given))
        self.interpreter.invoke()
        out = self.interpreter.get_tensor(self.result["index"])
        scale, zero = self.result["quantization"]
        if scale:
            out = (out.astype(np.float64) - zero) * scale
        return np.asarray(out, np.float64).reshape(-1, out.shape[-1])


def _stored(x: Floats, detail: dict[str, Any]) -> NDArray[Any]:
    scale, zero = detail["quantization"]
    if not scale:
        return np.asarray(x, np.float32)
    return np.asarray(np.clip(np.round(x / scale) + zero, -128, 127), np.int8)


def run(path: Path, model: Model, x: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Return what LiteRT gives for the rows x (n, I), and what the imported model gives, each (m, O).

    From the zero state on: over all rows if the file allows it, else window by window, of which the last, if it is
    not full, is left out.

    Args:
        path: the .tflite file.
        model: what was imported from it.
        x: rows; at least one window.

    Raises:
        WeightsError: fewer rows than a window, or a file that LiteRT does not run.
    """
    window = model.window or len(x)
    if not 0 < window <= len(x):
        message = f"{len(x)} rows to compare on, expected at least a window of {window}"
        raise WeightsError(message)
    if model.stateful:
        original = Original(path, 1)
        return np.concatenate([original.call(row[None]) for row in x]), ours(model, x)
    original = Original(path, window)
    theirs, mine = [], []
    for start in range(0, len(x) - window + 1, window):
        original.reset()
        theirs.append(original.call(x[start : start + window]))
        mine.append(ours(model, x[start : start + window])[-len(theirs[-1]) :])
    return np.concatenate(theirs), np.concatenate(mine)
