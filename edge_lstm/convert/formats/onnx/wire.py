"""From bytes to protobuf messages and arrays: measured before anything is allocated."""

import math
from typing import Any

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from edge_lstm.errors import WeightsError

MAX_FIELDS = 300_000  # of all messages together; each costs some 100 bytes once parsed, however small in the file
MAX_PACKED = 16 * 2**20  # bytes of packed varints, which grow eightfold
MAX_DEPTH = 24
MAX_ELEMENTS = 2**26

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DENSE = {"raw_data", "float_data", "double_data"}  # as large in memory as in the file
_DATA = ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data")


def parse(content: bytes) -> ModelProto:
    """Return the message that the bytes of an ``.onnx`` file hold.

    Raises:
        WeightsError: they are not one, or one that holds more than any network of a size that is accepted.
    """
    _Scan(content).message(0, len(content), ModelProto.DESCRIPTOR, 0)
    try:
        model = ModelProto()
        model.ParseFromString(content)
        return model
    except Exception as error:  # protobuf's implementations raise different types
        message = f"not an ONNX file, or a damaged one: {error}"
        raise WeightsError(message) from None


class _Scan:
    """Walks the wire format by ONNX's own schema and counts."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fields = 0
        self.packed = 0

    def message(self, at: int, end: int, schema: Descriptor, depth: int) -> None:
        """Check one message, and those within."""
        if depth > MAX_DEPTH:
            raise WeightsError(f"not an ONNX file: messages within messages, more than {MAX_DEPTH} deep")
        seen: set[int] = set()
        while at < end:
            key, at = self._varint(at, end)
            field = schema.fields_by_number.get(key >> 3)
            if field is None:
                message = (
                    f"not an ONNX file, a damaged one, or one of a newer version: field {key >> 3} in {schema.name}"
                )
                raise WeightsError(message)
            if field.number in seen and not field.is_repeated:
                raise WeightsError(f"a damaged ONNX file: {schema.name}.{field.name} is there twice")
            seen.add(field.number)
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise WeightsError(f"more than {MAX_FIELDS} fields: that is no network of LSTM layers")
            at = self._field(at, end, key & 7, field, depth)

    def _field(self, at: int, end: int, kind: int, field: FieldDescriptor, depth: int) -> int:
        if kind == _VARINT:
            return self._varint(at, end)[1]
        if kind in (_FIXED32, _FIXED64):
            return self._within(at + (4 if kind == _FIXED32 else 8), end)
        if kind != _BYTES:
            raise WeightsError(f"not an ONNX file: wire type {kind} in {field.full_name}")
        length, at = self._varint(at, end)
        stop = self._within(at + length, end)
        if field.message_type is not None:
            self.message(at, stop, field.message_type, depth + 1)
        elif field.name not in _DENSE:
            self.packed += length
            if self.packed > MAX_PACKED:
                raise WeightsError(f"more than {MAX_PACKED} bytes beside raw weights, the last in {field.full_name}")
        return stop

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for k in range(10):
            if at + k >= end:
                break
            byte = self.content[at + k]
            value |= (byte & 127) << (7 * k)
            if byte < 128:
                return value, at + k + 1
        raise WeightsError("not an ONNX file, or a truncated one")

    def _within(self, at: int, end: int) -> int:
        if at > end:
            raise WeightsError(f"not an ONNX file, or a truncated one: {at - end} bytes are missing")
        return at


def array(tensor: TensorProto, where: str) -> NDArray[Any]:
    """Return a tensor's numbers: float64, or the integers as they are (4 bits in 8).

    Raises:
        WeightsError: it lies in another file, is not of numbers, or its numbers don't fill its shape.
    """
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise WeightsError(f"{where} lies in another file, which is not followed: save it with the weights inside")
    filled = [name for name in _DATA if getattr(tensor, name)]
    if tensor.HasField("segment") or len(filled) > 1 or tensor.string_data:
        raise WeightsError(f"{where} is stored in segments, twice, or as text: expected one block of numbers")
    dims = list(tensor.dims)
    if len(dims) > 8 or any(d < 0 for d in dims) or math.prod(dims) > MAX_ELEMENTS:
        raise WeightsError(f"{where} has shape {dims[:8]}, expected at most 8 axes and {MAX_ELEMENTS} numbers")
    try:
        values = numpy_helper.to_array(tensor)
    except Exception as error:  # several types, by what is wrong
        raise WeightsError(f"{where} can't be read, expected numbers of shape {dims}: {error}") from None
    return _widened(np.asarray(values), where)


def _widened(values: NDArray[Any], where: str) -> NDArray[Any]:
    name = values.dtype.name
    if name in ("int4", "uint4"):
        return values.astype(name[:-1] + "8")
    if name in ("float16", "float32", "float64", "bfloat16"):
        return values.astype(np.float64)
    if values.dtype.kind in "iub":
        return values
    raise WeightsError(f"{where} is of type {name}, expected floats of 16 to 64 bits or integers")
