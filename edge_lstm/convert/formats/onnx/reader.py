"""ONNX files: one chain of LSTM layers from the graph's input to its output, however the exporter wrote it."""

from pathlib import Path

import numpy as np

from edge_lstm.convert.checks import check
from edge_lstm.convert.files import content
from edge_lstm.convert.formats.onnx.values import STAND_INS, length
from edge_lstm.convert.formats.onnx.walk import Walk, walk
from edge_lstm.convert.formats.onnx.wire import parse
from edge_lstm.convert.model import Model, Scaler
from edge_lstm.errors import WeightsError

SUFFIXES: tuple[str, ...] = (".onnx",)


def recognizes(head: bytes) -> bool:
    """Return whether a file may begin so: ONNX has no signature, but writers put the IR version, of one byte, first."""
    return (
        len(head) >= 4
        and head[0] == 0x08
        and 1 <= head[1] < 64
        and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
    )


def follow(path: Path) -> Walk:
    """Return what a file's graph does.

    Raises:
        WeightsError: as ``read``.
    """
    try:
        with np.errstate(all="ignore"):  # numbers that are not finite are refused at the end, whatever became of them
            return walk(parse(content(path)))
    except (ValueError, TypeError, OverflowError, IndexError, KeyError) as error:
        # NumPy, of shapes that don't fit each other
        raise WeightsError(f"a damaged ONNX file: {error}") from None


def read(path: Path) -> Model:
    """Read an ONNX file.

    Raises:
        WeightsError: it is damaged, has weights in other files, or does anything that is not understood or that
            can't be streamed.
    """
    found = follow(path)
    chain, notes = found.output.chain, list(found.notes)
    inputs = chain.layers[0].input_size
    mean, scale = (np.broadcast_to(v, inputs).astype(np.float64) for v in (chain.mean, chain.scale))
    identity = not mean.any() and (scale == 1.0).all()
    if found.carried:
        notes.append(f"the caller carries the state in {', '.join(found.carried)}: here it starts at zero and goes on")
    window = 1 if not chain.time else length(chain.time)
    return check(
        Model(
            source="ONNX (.onnx)",
            layers=chain.layers,
            head=chain.head,
            scaler=None if identity else Scaler(mean, scale),
            window=0 if found.carried or window in STAND_INS else window,
            stateful=bool(found.carried),
            notes=tuple(notes),
        )
    )
