"""The process that reads HDF5 for ``keras_hdf5``: from standard input to standard output, under limits.

What Keras never writes is refused unread. No link but a hard one is followed, so nothing outside the bytes is ever
opened; an array is read only if all its bytes lie in the file as they are, so no declared size exceeds what is there.
"""

import contextlib
import io
import json
import math
import sys
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import save

from edge_lstm.convert.formats.keras.hdf5 import REFUSED, Array, Contents
from edge_lstm.errors import WeightsError

MAX_DEPTH, MAX_OBJECTS, MAX_TEXTS = 12, 4096, 1024
MAX_TEXT_BYTES = 2**30  # of all texts of one attribute, each as large as the file
CPU_S, BYTES_PER_S = 2, 16 * 2**20
MEMORY_BYTES, MEMORY_COPIES = 2**30, 5
TRAINING = frozenset({"optimizer", "optimizer_weights", "metrics"})  # at the top: of the training, left unread
ATTRIBUTES = frozenset({"model_config", "keras_version", "layer_names", "weight_names", "name"})


def contents_of(content: bytes) -> Contents:
    """Return every array of an HDF5 file, and the texts that Keras describes them with.

    Raises:
        WeightsError: the file is damaged, or holds something that Keras does not write.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            reader = _Reader(len(content))
            reader.group(file, "", 0)
    except WeightsError:
        raise
    except Exception as error:  # h5py raises whatever its C library's error resembles
        reason = str(error).replace("\n", " ")[:200] or type(error).__name__
        message = f"damaged, or no HDF5 file: {reason}; save the model again"
        raise WeightsError(message) from None
    return reader.contents


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


class _Reader:
    def __init__(self, size: int) -> None:
        self.contents = Contents()
        self._size = size
        self._left = size  # bytes of arrays: all of them lie in the file, none twice
        self._objects = 0

    def group(self, group: Any, place: str, depth: int) -> None:
        _require(depth <= MAX_DEPTH, f"{place}: groups nested deeper than {MAX_DEPTH}")
        self.contents.texts[place] = {
            name: self._texts(group.attrs, name, place) for name in group.attrs if name in ATTRIBUTES
        }
        for name in group:
            path = f"{place}/{name}" if place else name
            if path in TRAINING:
                continue
            self._objects += 1
            _require(self._objects <= MAX_OBJECTS, f"more than {MAX_OBJECTS} groups and arrays")
            self._child(group, name, path, depth)

    def _child(self, group: Any, name: str, path: str, depth: int) -> None:
        link = group.get(name, getlink=True)
        _require(
            isinstance(link, h5py.HardLink),
            f"{path} is a {type(link).__name__} to somewhere else, which Keras does not write; it is not followed",
        )
        child = group[name]
        if isinstance(child, h5py.Group):
            self.group(child, path, depth + 1)
        elif isinstance(child, h5py.Dataset):
            self.contents.arrays[path] = self._array(child, path)
        else:
            _require(False, f"{path} is a {type(child).__name__}, expected a group or an array")

    def _array(self, dataset: Any, path: str) -> Array:
        kind = dataset.dtype
        _require(
            kind.kind in "fiu" and kind.itemsize <= 8,
            f"{path} holds {kind}, expected plain numbers; save the model as float32",
        )
        _require(dataset.shape is not None, f"{path} has no shape, expected an array")
        _require(not dataset.is_virtual, f"{path} is a virtual array over other files; it is not followed")
        _require(not dataset.external, f"{path} has its data in another file; it is not followed")
        _require(
            dataset.chunks is None,
            f"{path} is stored in chunks or compressed, which Keras does not do; load and save the model once in Keras",
        )
        size = math.prod(dataset.shape) * kind.itemsize
        stored = dataset.id.get_storage_size()
        _require(size == stored, f"{path} declares {size} bytes, {stored} are stored")
        _require(size <= self._left, f"{path} declares {size} bytes, more than the file has left")
        self._left -= size
        return np.asarray(dataset[()], kind.newbyteorder("="))

    def _texts(self, attributes: Any, name: str, place: str) -> str | list[str]:
        where = f"attribute {name} of {place or 'the file'}"
        identifier = attributes.get_id(name)
        count = math.prod(identifier.shape or ())
        if not count or identifier.shape is None:
            return []
        _require(count <= MAX_TEXTS, f"{where} has {count} texts, expected at most {MAX_TEXTS}")
        text = h5py.check_string_dtype(identifier.dtype)
        _require(text is not None, f"{where} is {identifier.dtype}, expected text")
        largest = self._size if text.length is None else text.length
        _require(count * largest <= MAX_TEXT_BYTES, f"{where} may be {count * largest} bytes")
        value = attributes[name]
        if isinstance(value, str | bytes):
            return _decoded(value)
        return [_decoded(one) for one in np.asarray(value).ravel().tolist()]


def _decoded(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _limit(size: int) -> None:
    """Bound what the C library can take for a file of so many bytes, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
        seconds = used + CPU_S + size // BYTES_PER_S
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        memory = MEMORY_BYTES + MEMORY_COPIES * size
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main() -> int:
    """Read; return the exit code: 0 with the contents as safetensors, ``REFUSED`` with a sentence."""
    content = sys.stdin.buffer.read()
    _limit(len(content))
    try:
        found = contents_of(content)
        output, code = save(found.arrays, {"texts": json.dumps(found.texts)}), 0
    except WeightsError as error:
        output, code = str(error).encode(errors="replace"), REFUSED
    sys.stdout.buffer.write(output)
    return code


if __name__ == "__main__":
    sys.exit(main())
