"""One tensor of a state_dict, whatever file it came in."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.model import Floats, Matrix
from edge_lstm.errors import WeightsError

MAX_NAME = 200  # characters
MAX_NUMBERS = 2**26  # in all tensors together: half a gigabyte as float64, whatever memory they share in the file


def float64(values: NDArray[Any]) -> Floats:
    """Return floats as float64; what is not finite is refused by the model's check."""
    with np.errstate(invalid="ignore"):  # a signaling NaN
        return values.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Tensor:
    """Numbers as the file has them.

    Attributes:
        values: of any shape; float16 to float64, or integers.
        scale: of integers that stand for floats, (1,) or one per row; None if the numbers stand for themselves.
        zero_point: int64, as many as scales.
    """

    values: NDArray[Any]
    scale: Floats | None = None
    zero_point: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self.values.shape

    def vector(self, name: str) -> Floats:
        """Return (n,) float64, of a tensor that holds floats.

        Raises:
            WeightsError: it holds something else.
        """
        if self.values.ndim != 1:
            message = f"{name} has shape {self.shape}, expected one dimension"
            raise WeightsError(message)
        return self._floats(name)

    def _floats(self, name: str) -> Floats:
        if self.values.dtype.kind != "f" or self.scale is not None:
            message = (
                f"{name} holds {self.values.dtype}, expected floats (or int8 with {name}.scale, if it is a weight)"
            )
            raise WeightsError(message)
        return float64(self.values)

    def matrix(self, name: str) -> Matrix:
        """Return the weights, integers as integers.

        Raises:
            WeightsError: they are neither floats nor 8-bit integers with valid scales.
        """
        if self.scale is None or self.zero_point is None:
            return Matrix.of_floats(self._floats(name))
        self._check_quantized(name, self.scale, self.zero_point)
        return Matrix.of_integers(self.values, self.scale, self.zero_point)

    def _check_quantized(self, name: str, scale: Floats, zero_point: NDArray[np.int64]) -> None:
        if self.values.dtype not in (np.int8, np.uint8):
            message = f"{name} holds {self.values.dtype} with a scale, expected int8 or uint8"
            raise WeightsError(message)
        if scale.shape != zero_point.shape or scale.shape not in ((1,), self.shape[:1]):
            message = (
                f"{name} has {scale.size} scales and {zero_point.size} zero points for {len(self.values)} rows, "
                "expected one of each for all, or one of each per row"
            )
            raise WeightsError(message)
        limits = np.iinfo(self.values.dtype)
        if not ((zero_point >= limits.min) & (zero_point <= limits.max)).all():
            message = f"{name}.zero_point: outside {limits.min} to {limits.max}"
            raise WeightsError(message)


def scaled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with NAME.scale and NAME.zero_point joined to the integers of NAME.

    Raises:
        WeightsError: one without the other, or of a wrong type.
    """
    return {name: _scaled(name, tensors) for name in tensors if not _is_scale(name, tensors)}


def _is_scale(name: str, tensors: dict[str, Tensor]) -> bool:
    base, _, last = name.rpartition(".")
    return last in ("scale", "zero_point") and base in tensors


def _scaled(name: str, tensors: dict[str, Tensor]) -> Tensor:
    tensor, scale, zero_point = tensors[name], tensors.get(f"{name}.scale"), tensors.get(f"{name}.zero_point")
    if scale is None:
        if zero_point is not None:
            message = f"{name}.zero_point without {name}.scale"
            raise WeightsError(message)
        return tensor
    if zero_point is None and tensor.values.dtype == np.uint8:
        message = f"{name} holds uint8 without {name}.zero_point"
        raise WeightsError(message)
    zeros = np.zeros(scale.shape, np.int64) if zero_point is None else zero_point.values
    if tensor.scale is not None or scale.values.dtype.kind != "f" or zeros.dtype.kind not in "iu":
        message = f"{name}: expected integers, a scale of floats and a zero point of integers"
        raise WeightsError(message)
    return Tensor(tensor.values, _at_least_1d(float64(scale.values)), _at_least_1d(zeros.astype(np.int64)))


def _at_least_1d(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(1) if values.ndim == 0 else values
