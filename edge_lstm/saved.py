"""What a checkpoint holds, as bytes and back.

    magic | BLAKE2b of the rest | zlib( safetensors: arrays, and a JSON document as one more )

Numbers are little-endian whatever the machine, so a state may move to another. Nothing in it is executable. A flipped
bit anywhere, a missing end or something else's file is a ``StateError``, never a state.
"""

import errno
import hashlib
import sys
import zlib
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load, save

from edge_lstm.errors import StateError
from edge_lstm.lane import Saved
from edge_lstm.route import SavedRoute

MAGIC = b"edge-lstm state 1\n"
DIGEST_BYTES = 32
LARGEST = 2**28  # bytes, unpacked: 200,000 streams of the universal bundle, more than a device has room for
_DOCUMENT = "document"
_QUICK = 1  # zlib's level: state is mostly noise, and higher ones gain little


class SavedState(msgspec.Struct, frozen=True, kw_only=True):
    """A consistent cut: the state after a message, and which messages are in it without the broker's knowing.

    Attributes:
        serial: counts the checkpoints of a folder; the largest is the newest.
        written: Unix seconds.
        filters: what was subscribed to.
        pending: packet number and digest of messages that are in the state, and may come again.
        routes: by source.
    """

    serial: int = 0
    written: float = 0.0
    filters: list[str] = []
    pending: dict[int, bytes] = {}
    routes: list[SavedRoute] = []


class _Route(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    bundle: str
    silent: dict[str, float]
    streams: list[str]
    waiting: dict[str, Any]


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    serial: int
    written: float
    filters: list[str]
    pending: dict[int, bytes]
    routes: list[_Route]


def pack(state: SavedState) -> bytes:
    """Return a state as bytes.

    Raises:
        OSError: it has more than ``LARGEST``.
    """
    routes = [_Route(r.topic, r.bundle, r.silent, r.lane.streams, r.lane.waiting) for r in state.routes]
    document = _Document(state.serial, state.written, state.filters, state.pending, routes)
    arrays = {
        f"{n}.{name}": np.ascontiguousarray(array)
        for n, route in enumerate(state.routes)
        for name, array in route.lane.arrays.items()
    }
    arrays[_DOCUMENT] = np.frombuffer(msgspec.json.encode(document), np.uint8)
    data = save(arrays)
    if len(data) > LARGEST:  # it would not be read
        raise OSError(errno.EFBIG, f"a state of {len(data)} bytes, at most {LARGEST}")
    body = zlib.compress(data, _QUICK)
    return MAGIC + _digest(body) + body


def unpack(data: bytes) -> SavedState:
    """Return the state that bytes hold.

    Raises:
        StateError: they do not, or are damaged.
    """
    if not data.startswith(MAGIC):
        raise StateError(f"{len(data)} bytes that begin with {data[:20]!r}, expected {MAGIC!r}: not a state of ours")
    body = data[len(MAGIC) + DIGEST_BYTES :]
    if _digest(body) != data[len(MAGIC) : len(MAGIC) + DIGEST_BYTES]:
        raise StateError(f"{len(data)} bytes do not match their digest: damaged, or cut short")
    return _read(_inflate(body))


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, LARGEST)
    except zlib.error as error:
        raise StateError(f"not compressed as a state is: {error}") from None
    if not inflater.eof:
        raise StateError(f"unpacks to more than {LARGEST} bytes, or ends too early")
    return data


def _read(data: bytes) -> SavedState:
    """Take arrays and document apart."""
    try:
        arrays = load(data)
        document = msgspec.json.decode(arrays.pop(_DOCUMENT, np.zeros(0, np.uint8)).tobytes(), type=_Document)
    except Exception as error:  # safetensors, NumPy and msgspec have a type each, and no common one
        raise StateError(f"not a state: {error}") from None
    routes = []
    for n, route in enumerate(document.routes):
        own = {name: arrays.pop(name) for name in list(arrays) if name.startswith(f"{n}.")}
        lane = Saved(route.streams, route.waiting, {name.partition(".")[2]: array for name, array in own.items()})
        routes.append(SavedRoute(route.topic, route.bundle, route.silent, lane))
    if arrays:
        raise StateError(f"arrays of no source: {', '.join(sorted(arrays))[:200]}")
    return SavedState(
        serial=document.serial,
        written=document.written,
        filters=document.filters,
        pending=document.pending,
        routes=routes,
    )


if sys.byteorder != "little":  # safetensors writes arrays as they lie in memory
    raise ImportError("edge-lstm keeps its state in little-endian order; this machine is big-endian")
