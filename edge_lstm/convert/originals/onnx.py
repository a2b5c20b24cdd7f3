"""ONNX Runtime on the file, beside the imported model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.onnx.reader import follow
from edge_lstm.convert.formats.onnx.values import STAND_INS, Axis, Stream
from edge_lstm.convert.formats.onnx.walk import Walk
from edge_lstm.convert.model import Floats, Model
from edge_lstm.errors import WeightsError

CALLS = 32  # at most, of models that give only the last row of what they see


class _Span(NamedTuple):
    """Rows of one call, and whether the state before it is zero."""

    first: int
    last: int
    fresh: bool


class _Session:
    """The file in ONNX Runtime, fed with rows (n, I)."""

    def __init__(self, path: Path, found: Walk) -> None:
        self.found = found
        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.intra_op_num_threads = 1
            # the nodes as they are; fused ones trust shapes that PyTorch's exporter declares of its example's length
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            providers = ["CPUExecutionProvider"]
            self.session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers)
        except Exception as error:  # its own types, by what is wrong
            raise WeightsError(f"ONNX Runtime can't load it: {error}") from None
        self.inputs = {given.name: given for given in self.session.get_inputs()}
        self.states: dict[str, NDArray[Any]] = {}

    def reset(self) -> None:
        """Set the states that the caller carries to zero."""
        for name in self.found.carried:
            given = self.inputs[name]
            shape = [size if isinstance(size, int) else 1 for size in given.shape]
            self.states[name] = np.zeros(shape, _dtype(given.type))

    def call(self, rows: Floats) -> Floats:
        """Return outputs (m, O), of each row or of the last."""
        chain = self.found.output.chain
        given = self.inputs[chain.source]
        shape, time = list(given.shape), self._time()
        shape = [size if isinstance(size, int) else 1 for size in shape]
        batch = int(np.prod([size for k, size in enumerate(shape[:-1]) if k != time]))
        if time is not None:
            shape[time] = len(rows)
        shape[-1] = rows.shape[1]
        x = np.ascontiguousarray(np.broadcast_to(rows, (batch, *rows.shape)))
        if time is not None and int(np.prod(shape[:time])) == 1:
            x = np.moveaxis(x, 1, 0)  # steps first
        feed = {chain.source: x.reshape(shape).astype(_dtype(given.type)), **self.states}
        made = dict(zip([out.name for out in self.session.get_outputs()], self.session.run(None, feed), strict=True))
        self._carry(made)
        return _rows(made[self.found.name], self.found.output, len(rows), batch)

    def _time(self) -> int | None:
        time = self.found.output.chain.time
        return int(time[0].name) if time else None

    def _carry(self, made: dict[str, Any]) -> None:
        for name, layers in self.found.carried.items():
            back = [out for out, of in self.found.returned.items() if of == layers]
            if not back:
                raise WeightsError(
                    f"the state that goes in as {name!r} does not come out again: nothing to compare with"
                )
            self.states[name] = made[back[0]].reshape(self.states[name].shape)


def _dtype(name: str) -> Any:
    return {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}[name]


def _rows(made: NDArray[Any], stream: Stream, steps: int, batch: int) -> Floats:
    """Return an output tensor as rows, of the first sequence of the batch."""
    time, along = stream.chain.time, stream.along

    def size(axis: Axis) -> int:
        return steps if axis == time else len_of(axis)

    def len_of(axis: Axis) -> int:
        return batch if axis and axis == stream.chain.batch else stream.features

    atoms = [(atom,) for axis in stream.axes for atom in axis]
    if time and stream.chain.batch == time:
        raise WeightsError("steps and batch lie on one axis")
    laid = made.reshape([size(atom) for atom in atoms])
    for k in reversed([k for k, atom in enumerate(atoms) if atom not in (time, along)]):
        laid = laid.take(0, k)
    atoms = [atom for atom in atoms if atom in (time, along)]
    if atoms == [along, time] and time:
        laid = laid.T
    return np.asarray(laid.reshape(-1, stream.features), np.float64)


def _spans(count: int, window: int, free: bool, every: bool, carried: bool) -> Iterator[_Span]:
    if carried:
        size = window or (count if every else 1)
        yield from (_Span(k, k + size, k == 0) for k in range(0, count - size + 1, size))
    elif free:
        ends = [count] if every else np.unique(np.linspace(1, count, min(CALLS, count)).astype(int)).tolist()
        yield from (_Span(0, end, True) for end in ends)
    else:
        starts = np.unique(np.linspace(0, count - window, min(CALLS, count)).astype(int)).tolist()
        yield from (_Span(k, k + window, True) for k in starts)


def run(path: Path, model: Model, x: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Run ONNX Runtime on rows x (n, I), and our mathematics on the same footing.

    A file that allows any length gets one sequence, or up to 32 ever longer ones if only the last row comes out; one
    of a fixed length gets up to 32 windows, each from the initial state.

    Returns:
        Outputs of ONNX Runtime and ours, (m, O) each.

    Raises:
        WeightsError: ONNX Runtime can't run the file.
    """
    found = follow(path)
    session, stream = _Session(path, found), found.output
    size = stream.chain.time[0].size if stream.chain.time else 1
    free, carried = size in STAND_INS, bool(found.carried)
    every = any(stream.chain.time[0] in axis for axis in stream.axes) if stream.chain.time else True
    if not free and len(x) < size:
        raise WeightsError(f"{len(x)} rows to compare on, the file takes {size} at a time")
    theirs, ours, state = [], [], mathematics.fresh(model)
    for span in _spans(len(x), 0 if free else size, free, every, carried):
        rows = np.asarray(x[span.first : span.last], np.float64)
        if span.fresh:
            session.reset()
            state = mathematics.fresh(model)
        try:
            theirs.append(session.call(rows))
        except WeightsError:
            raise
        except Exception as error:  # ONNX Runtime's own types
            raise WeightsError(f"ONNX Runtime can't run it: {error}") from None
        mine = mathematics.run(model, rows, state)
        ours.append(mine if every else mine[-1:])
    return np.concatenate(theirs), np.concatenate(ours)
