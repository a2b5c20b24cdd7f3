"""The tensors of LiteRT's LSTM operators and dense layers as the numbers that they stand for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.formats.litert.file import Graph, Operator, Tensor
from edge_lstm.convert.formats.litert.flatbuffer import Table
from edge_lstm.convert.model import Floats, Matrix
from edge_lstm.errors import WeightsError

SAME = 1e-4  # relative, of two float32 scales that should be one


def refused(where: str, why: str) -> WeightsError:
    """Return the error that names an operator."""
    return WeightsError(f"{where}: {why}")


def constant_matrix(tensor: Tensor, data: NDArray[Any], where: str) -> Matrix:
    """Return weights as the file has them: floats as floats, int8 as those integers.

    Raises:
        WeightsError: another type, or not a matrix.
    """
    name = f"{where}: tensor {tensor.name!r}"
    if data.ndim != 2 or 0 in data.shape:
        raise WeightsError(f"{name} has shape {tensor.shape}, expected a matrix")
    if tensor.type in ("float32", "float16") and not tensor.scale:
        return Matrix.of_floats(data)
    if tensor.type == "int8" and len(tensor.scale) in (1, len(data)):
        scale = tensor.scale[0] if len(tensor.scale) == 1 else np.array(tensor.scale)
        zero = tensor.zero[0] if len(tensor.zero) == 1 else np.array(tensor.zero)
        if np.abs(zero).max() > 128:
            raise WeightsError(f"{name} has a zero point of {np.abs(zero).max()}, expected -128 to 127")
        return Matrix.of_integers(data, scale, zero)
    found = f"{tensor.type} with {len(tensor.scale)} scales"
    raise WeightsError(f"{name} is {found}, expected float32, float16, or int8 with one scale or one per row")


@dataclass(frozen=True, eq=False)
class Source:
    """An LSTM operator with what its tensors are read from.

    Attributes:
        options: its table, None for all defaults.
        hidden: H.
        integer: whether its activations are 8-bit integers, so that LiteRT computes it in integers.
        coupled: whether the input gate is 1 - forget gate, its tensors left out.
    """

    graph: Graph
    operator: Operator
    options: Table | None
    hidden: int
    integer: bool
    coupled: bool

    def given(self, at: int) -> bool:
        """Return whether an input is there."""
        return at < len(self.operator.inputs) and self.operator.inputs[at] >= 0

    def tensor(self, at: int) -> Tensor:
        """Return an input's tensor."""
        return self.graph.tensor(self.operator.inputs[at], f"{self.operator.where}, input {at}")

    def matrix(self, at: int) -> Matrix:
        """Return an input's weights; LiteRT's LSTM kernels know one scale for all and no zero point."""
        where = f"{self.operator.where}, input {at}"
        tensor, data = self.graph.constant(self.operator.inputs[at], where)
        if len(tensor.scale) > 1 or any(tensor.zero):
            raise refused(where, "weights with a scale per row or a zero point, which LiteRT's LSTM does not read")
        if self.integer and tensor.type != "int8":
            raise refused(where, f"{tensor.type} weights under int8 activations; quantize all weights, or none")
        return constant_matrix(tensor, data, where)

    def vector(self, at: int, size: int, step: float | None = None) -> Floats:
        """Return an input's real numbers.

        Args:
            at: which.
            size: elements.
            step: what an int32 counts in; the file's own scale has to agree. Left out for other types.

        Raises:
            WeightsError: another shape or type, or a scale that LiteRT would not use.
        """
        where = f"{self.operator.where}, input {at}"
        tensor, data = self.graph.constant(self.operator.inputs[at], where)
        if data.shape != (size,):
            raise refused(where, f"tensor {tensor.name!r} has shape {tensor.shape}, expected ({size},)")
        if tensor.type in ("float32", "float16") and not self.integer:
            return np.asarray(data, np.float64)
        if step is not None and self.integer and tensor.type == "int32":
            if tensor.scale and abs(tensor.scale[0] / step - 1.0) > SAME:
                raise refused(where, f"a bias with scale {tensor.scale[0]:g}, where LiteRT counts in steps of {step:g}")
            return np.asarray(data * step, np.float64)
        kind = "int16" if self.integer else "int8"
        if step is None and tensor.type == kind and len(tensor.scale) == 1 and not any(tensor.zero):
            return np.asarray(data * tensor.scale[0], np.float64)
        expected = "int32" if step is not None else f"{kind} with one scale" if self.integer else "floats"
        raise refused(where, f"tensor {tensor.name!r} is {tensor.type}, expected {expected}")

    def scale(self, at: int) -> float:
        """Return the one scale of an input, 1 if it is left out."""
        if not self.given(at):
            return 1.0
        tensor = self.tensor(at)
        if len(tensor.scale) != 1:
            why = f"tensor {tensor.name!r} has {len(tensor.scale)} scales, expected one"
            raise refused(self.operator.where, why)
        return tensor.scale[0]
