"""Tensors of a safetensors file, every byte of it accounted for."""

import json
import math
from typing import Any

import numpy as np

from edge_lstm.convert.formats.pytorch.tensor import MAX_NAME, MAX_NUMBERS, Tensor
from edge_lstm.errors import WeightsError

MAX_HEADER_BYTES = 16 * 2**20
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1",
}  # fmt: skip


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


def read(content: bytes) -> dict[str, Tensor]:
    """Return the tensors by name.

    Raises:
        WeightsError: the file is damaged, has bytes of no tensor, or a type that is not read.
    """
    length = int.from_bytes(content[:8], "little")
    fits = 2 <= length <= min(MAX_HEADER_BYTES, len(content) - 8)
    _require(fits, f"not a safetensors file, or cut off: a header of {length} bytes in a file of {len(content)}")
    header = _header(content[8 : 8 + length])
    _require("edge_lstm" not in header.pop("__metadata__", {}), "a bundle of edge-lstm already; run it as it is")
    begin = 8 + length
    plain: dict[str, Tensor] = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        _require(8 + length + first == begin, f"{name[:60]}: does not begin where the tensor before it ends")
        begin += last - first
        _require(begin <= len(content), f"{name[:60]}: reaches beyond the end of the file; it is cut off")
        plain[name] = _tensor(name, entry, content[begin - (last - first) : begin])
    _require(begin == len(content), f"{len(content) - begin} bytes of the file belong to no tensor")
    return plain


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _require(len(dict(pairs)) == len(pairs), "the header has a name twice")
    return dict(pairs)


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        message = "not a safetensors file: its header is not JSON"
        raise WeightsError(message) from None
    _require(type(header) is dict, "not a safetensors file: its header is not an object")
    for name, entry in header.items():
        _require(
            len(name) <= MAX_NAME, f"{name[:60]}...: a name of {len(name)} characters, expected at most {MAX_NAME}"
        )
        _require(type(entry) is dict, f"{name[:60]}: its entry in the header is not an object")
        _require(name == "__metadata__" or _is_entry(entry), f"{name[:60]}: expected dtype, shape and data_offsets")
    return dict(header)


def _is_entry(entry: dict[str, Any]) -> bool:
    if set(entry) != {"dtype", "shape", "data_offsets"} or type(entry["dtype"]) is not str:
        return False
    sizes, offsets = entry["shape"], entry["data_offsets"]
    lists = type(sizes) is list and type(offsets) is list and len(offsets) == 2 and len(sizes) <= 8
    return lists and all(type(n) is int and 0 <= n < 2**48 for n in (*sizes, *offsets)) and offsets[0] <= offsets[1]


def _tensor(name: str, entry: dict[str, Any], data: bytes) -> Tensor:
    _require(
        entry["dtype"] in DTYPES, f"{name[:60]}: type {entry['dtype'][:20]} is not read, expected one of {[*DTYPES]}"
    )
    dtype = np.dtype(DTYPES[entry["dtype"]])
    expected = math.prod(entry["shape"]) * dtype.itemsize
    _require(expected == len(data), f"{name[:60]}: {len(data)} bytes, expected {expected} for shape {entry['shape']}")
    few = math.prod(entry["shape"]) <= MAX_NUMBERS
    _require(few, f"{name[:60]}: more than {MAX_NUMBERS} numbers")
    values = np.frombuffer(data, dtype).reshape(entry["shape"])
    # bfloat16 is the upper half of a float32.
    return Tensor((values.astype("<u4") << 16).view("<f4") if entry["dtype"] == "BF16" else values)
