"""What a name in the graph stands for: numbers, or the rows of the stream at some point of the network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.model import Dense, Floats, Lstm, Matrix
from edge_lstm.errors import WeightsError

STAND_INS = (4099, 4111, 4127, 4129)  # for lengths that the file leaves open: primes above every size that is accepted
FEATURES = "features"
END = 2**31  # of an axis, in a slice to its end


class Atom(NamedTuple):
    """An axis of the graph's input that a reshape can't split; those of length 1 have none."""

    name: str
    size: int


Axis = tuple[Atom, ...]  # what a reshape has merged into one; () for an axis of length 1


def length(axis: Axis) -> int:
    """Return how many elements an axis has."""
    return int(np.prod([atom.size for atom in axis], dtype=np.int64))


def features_axis(size: int) -> Axis:
    """Return the axis that a layer's outputs lie along."""
    return (Atom(FEATURES, size),) if size > 1 else ()


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers, or integers with what they stand for.

    Attributes:
        values: any shape; integers to dequantize where there is a scale.
        scale: of the shape of ``values``, or None.
        zero: of the shape of ``values``, or None.
    """

    values: NDArray[Any]
    scale: Floats | None = None
    zero: NDArray[Any] | None = None

    @property
    def real(self) -> Floats:
        """What the values stand for, float64."""
        values = np.asarray(self.values, np.float64)
        if self.scale is None:
            return values
        return np.asarray((values - np.asarray(self.zero, np.float64)) * self.scale)

    def map(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> "Constant":
        """Return it with its elements moved about, and with them their scales."""
        scale = None if self.scale is None else change(self.scale)
        return Constant(change(self.values), scale, None if self.zero is None else change(self.zero))

    def matrix(self, where: str) -> Matrix:
        """Return weights (rows, columns): of 8 bits as integers, others as the floats they stand for.

        Raises:
            WeightsError: integers whose scale changes along a row.
        """
        if self.values.ndim != 2:
            raise WeightsError(f"{where} has shape {self.values.shape}, expected two axes")
        if self.scale is None or self.values.dtype.itemsize > 1:
            return Matrix.of_floats(self.real)
        scale = np.array(self.scale[:, :1])
        if not (self.scale == scale).all():
            raise WeightsError(f"{where} has scales along its inputs; one per output, or one for all, can be kept")
        integers = self.values.astype(np.int64) - np.asarray(self.zero, np.int64)
        return Matrix(integers.astype(np.int16), scale.ravel())


class Chain(NamedTuple):
    """What has been done to the rows of one graph input."""

    source: str
    mean: Floats
    scale: Floats
    layers: tuple[Lstm, ...] = ()
    head: tuple[Dense, ...] = ()
    time: Axis = ()  # the axis that the layers step along
    batch: Axis = ()


def chain_of(source: str) -> Chain:
    """Return what begins at a graph input."""
    return Chain(source, np.zeros(1), np.ones(1))


@dataclass(frozen=True, eq=False)
class Stream:
    """The rows at some point.

    Attributes:
        axes: how they lie in the tensor.
        features: numbers per row.
        chain: what was done to them.
        state: which layer's last "h" or "c" this is, or None.
        rounded: scale and zero point of the 8-bit integers that they are at this point, or None.
        owes: the dynamic scale that these sums of integers still lack, or None.
        inner: what a sigmoid was taken of, to know a swish by.
    """

    axes: tuple[Axis, ...]
    features: int
    chain: Chain
    state: tuple[int, str] | None = None
    rounded: tuple[Any, ...] | None = None
    owes: "Dynamic | None" = None
    inner: "Stream | None" = None

    def moved(self, axes: tuple[Axis, ...]) -> "Stream":
        """Return the same rows, laid out otherwise."""
        return replace(self, axes=axes, inner=None)

    @property
    def along(self) -> Axis:
        """The axis of the numbers of a row; their number is 0 while the file leaves it open."""
        return features_axis(self.features) if self.features else (Atom(FEATURES, STAND_INS[3]),)

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's, with stand-ins."""
        return tuple(length(axis) for axis in self.axes)


class Carried(NamedTuple):
    """A state that the caller passes in: a graph input, from index ``at`` on."""

    name: str
    at: int = 0


class Parts(NamedTuple):
    """States of several layers, side by side along one axis."""

    parts: tuple[Stream, ...]
    axis: int


class Dynamic(NamedTuple):
    """The scale or zero point that DynamicQuantizeLinear finds as it runs: of node ``of``, times ``factor``."""

    of: str
    kind: str
    factor: Floats


Movable = Constant | Stream | Carried | Parts
Value = Movable | Dynamic
