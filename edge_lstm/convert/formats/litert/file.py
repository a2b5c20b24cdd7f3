"""What is in a .tflite file: its tensors and operators (schema version 3, main subgraph), bounded and checked.

Field numbers are those of ``tflite/schema/schema.fbs``. Nothing here knows what an operator does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.formats.litert.flatbuffer import Table, root
from edge_lstm.convert.formats.litert.names import NAMES
from edge_lstm.convert.model import GATES, MAX_UNITS
from edge_lstm.errors import WeightsError

IDENTIFIER = b"TFL3"
MAX_TABLES = 20_000  # tensors, operators, buffers
MAX_RANK, MAX_INPUTS = 8, 64
SHARED = 2**16  # numbers that a file may have beyond one per byte, as it may name a buffer more than once
DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "|u1", 4: "<i8", 7: "<i2", 9: "|i1"}
TYPE_NAMES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 7: "int16", 9: "int8", 13: "resource"}
TYPE_NAMES |= {14: "variant", 17: "int4", 18: "bfloat16", 19: "int2"}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph.

    Attributes:
        shape: as at conversion.
        signature: the shape with -1 for sizes that may change.
        type: in words, as in ``TYPE_NAMES``, with "sparse" or "external" before it where that is so.
        data: its content if it is a constant that can be read, else None.
        variable: kept from call to call.
        scale: of its integers, one or one per element of axis 0; empty for none.
        zero: zero points, as many.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: str
    data: NDArray[Any] | None
    variable: bool
    scale: tuple[float, ...] = ()
    zero: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator; tensors by their number, -1 for one left out."""

    number: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Table | None
    options_type: int

    @property
    def where(self) -> str:
        """Its name in messages."""
        return f"operator {self.number} ({self.kind})"


@dataclass(frozen=True, eq=False)
class Graph:
    """The main subgraph of a file."""

    tensors: list[Tensor]
    operators: list[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    left: list[int]  # one number: how many constants may still be read, so that naming a buffer often takes no memory

    def tensor(self, number: int, where: str) -> Tensor:
        """Return a tensor by its number."""
        if not 0 <= number < len(self.tensors):
            message = f"{where}: takes tensor {number}, the file has {len(self.tensors)}"
            raise WeightsError(message)
        return self.tensors[number]

    def constant(self, number: int, where: str) -> tuple[Tensor, NDArray[Any]]:
        """Return a tensor that must be a constant, and its content.

        Raises:
            WeightsError: it is computed, or all constants together are more than the file can hold.
        """
        tensor = self.tensor(number, where)
        if tensor.data is None:
            message = (
                f"{where}: tensor {tensor.name!r} ({tensor.type}) has no readable content here, expected a constant"
            )
            raise WeightsError(message)
        self.left[0] -= tensor.data.size
        if self.left[0] < 0:
            message = f"{where}: more weights in all than the file has bytes; it names the same ones again and again"
            raise WeightsError(message)
        return tensor, tensor.data


def parse(content: bytes) -> Graph:
    """Return the main subgraph of a file.

    Raises:
        WeightsError: it is damaged, of another version, or keeps content outside itself.
    """
    model = root(content, IDENTIFIER, "the model", 10)
    version = model.integer(0, "I")
    if version != 3:
        message = f"TensorFlow Lite schema version {version}, expected 3"
        raise WeightsError(message)
    if model.vector(8, 4, MAX_TABLES)[1] or model.vector(9, 4, MAX_TABLES)[1]:
        message = "its weights lie in other files (external buffers); write it in one file"
        raise WeightsError(message)
    kinds = [_kind(code) for code in model.tables(1, "operator code", 4, MAX_TABLES)]
    buffers = model.tables(4, "buffer", 3, MAX_TABLES)
    graphs = model.tables(2, "subgraph", 6, MAX_TABLES)
    if not graphs:
        message = "it holds no subgraph, so no model"
        raise WeightsError(message)
    main = graphs[0]
    return Graph(
        _tensors(main, buffers),
        [_operator(k, table, kinds) for k, table in enumerate(main.tables(3, "operator", 14, MAX_TABLES))],
        main.integers(1, MAX_INPUTS),
        main.integers(2, MAX_INPUTS),
        len(graphs),
        [len(content) + SHARED],
    )


def _kind(code: Table) -> str:
    number = max(code.integer(0, "b"), code.integer(3, "i"))  # the older field ends at 127
    kind = NAMES.get(number, f"operator kind {number}")
    return f"CUSTOM {code.name(1)}" if kind == "CUSTOM" else kind


def _operator(number: int, table: Table, kinds: list[str]) -> Operator:
    index = table.integer(0, "I")
    if index >= len(kinds):
        message = f"operator {number} is of kind {index}, the file names {len(kinds)}"
        raise WeightsError(message)
    if table.vector(5, 1, len(table.content))[1] and not kinds[index].startswith("CUSTOM"):
        message = f"operator {number} ({kinds[index]}) has custom options, which only custom operators have"
        raise WeightsError(message)
    if table.integer(9, "Q") or table.integer(10, "Q") or table.integer(11, "B"):
        message = f"operator {number} ({kinds[index]}) has options of a newer schema"
        raise WeightsError(message)
    return Operator(
        number,
        kinds[index],
        table.integers(1, MAX_INPUTS),
        table.integers(2, MAX_INPUTS),
        table.integers(8, MAX_INPUTS),
        table.table(4, f"operator {number} ({kinds[index]}): options", 6),
        table.integer(3, "B"),
    )


def _tensors(main: Table, buffers: list[Table]) -> list[Tensor]:
    """Return all tensors, whose scales together may not be more than the file can hold."""
    tensors, left = [], len(main.content) + SHARED
    for table in main.tables(0, "tensor", 11, MAX_TABLES):
        tensors.append(_tensor(table, buffers))
        left -= len(tensors[-1].scale)
        if left < 0:
            message = "more scales than the file has bytes; its tensors name the same ones again and again"
            raise WeightsError(message)
    return tensors


def _tensor(table: Table, buffers: list[Table]) -> Tensor:
    name = table.name(3) or table.what
    code = table.integer(1, "b")
    kind = TYPE_NAMES.get(code, f"type {code}")
    shape = table.integers(0, MAX_RANK)
    if any(size < 0 for size in shape):
        message = f"tensor {name!r} has shape {shape}"
        raise WeightsError(message)
    data = _content(table.integer(2, "I"), buffers, name)
    if table.integer(10, "I"):
        kind, data = f"external {kind}", None
    elif table.table(6, f"tensor {name!r}: sparsity", 3) is not None:
        kind, data = f"sparse {kind}", None
    scale, zero = _quantization(table, name)
    array = None if data is None else _array(data, kind, shape, (name, code))
    variable = bool(table.integer(5, "B"))
    return Tensor(name, shape, table.integers(7, MAX_RANK) or shape, kind, array, variable, scale, zero)


def _content(number: int, buffers: list[Table], name: str) -> memoryview | None:
    """Return the bytes of a buffer, None if it is empty: the tensor is computed."""
    if number >= len(buffers):
        message = f"tensor {name!r} takes buffer {number}, the file has {len(buffers)}"
        raise WeightsError(message)
    buffer = buffers[number]
    if buffer.integer(1, "Q") > 1 or buffer.integer(2, "Q") > 1:
        message = f"tensor {name!r} lies behind the FlatBuffer; write a file below 2 GB"
        raise WeightsError(message)
    at, length = buffer.vector(0, 1, len(buffer.content))
    return memoryview(buffer.content)[at : at + length] if length else None


def _array(data: memoryview, kind: str, shape: tuple[int, ...], origin: tuple[str, int]) -> NDArray[Any] | None:
    name, code = origin
    if code not in DTYPES:
        return None  # refused by name where an operator takes it
    dtype = np.dtype(DTYPES[code])
    elements = 1
    for size in shape:
        elements *= size
    if len(data) != elements * dtype.itemsize:
        message = f"tensor {name!r} holds {len(data)} bytes, expected {elements * dtype.itemsize} for {kind} {shape}"
        raise WeightsError(message)
    return np.frombuffer(data, dtype).reshape(shape)


def _quantization(table: Table, name: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
    found = table.table(4, f"tensor {name!r}: quantization", 7)
    if found is None:
        return (), ()
    limit = GATES * MAX_UNITS
    scale = tuple(map(float, found.numbers(2, "f", limit)))
    zero = found.integers(3, limit, "q") or (0,) * len(scale)
    if found.integer(4, "B") or found.table(5, "details", 100) is not None:
        message = f"tensor {name!r} has a custom quantization; convert with TensorFlow Lite's own"
        raise WeightsError(message)
    if not scale:  # old files keep only what calibration saw
        return (), ()
    if len(zero) != len(scale) or not all(np.isfinite(scale)) or min(scale) <= 0:
        message = (
            f"tensor {name!r}: {len(scale)} scales and {len(zero)} zero points, expected as many, positive, finite"
        )
        raise WeightsError(message)
    if len(scale) > 1 and found.integer(6, "i") != 0:
        message = f"tensor {name!r} has scales along axis {found.integer(6, 'i')}, expected axis 0 (rows)"
        raise WeightsError(message)
    return scale, zero
