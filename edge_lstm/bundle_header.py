"""The header of a safetensors file, looked at with care before anybody unpacks it: foreign bytes begin here."""

from typing import Final

import msgspec

from edge_lstm.bundle_format import require
from edge_lstm.errors import WeightsError

KEY: Final = "edge_lstm"
MAX_HEADER_BYTES = 2**20
MAX_COLONS = 10_000  # bounds what parsing takes; a bundle of a thousand channels has a few thousand
MAX_TENSORS = 512

_MAKE_ONE = "make one with 'edge-lstm fit' or 'edge-lstm convert'"
_FOREIGN = (  # where other model files have what bytes; none of them is ever opened here
    (0, b"PK\x03\x04", "a zip, as PyTorch, Keras and NumPy write"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes"),
    (0, b"\x80\x02", "a pickle, as PyTorch wrote"),
    (0, b"\x80\x03", "a pickle"),
    (0, b"\x80\x04", "a pickle"),
    (0, b"\x80\x05", "a pickle"),
    (0, b"\x93NUMPY", "an array of NumPy"),
    (4, b"TFL3", "a LiteRT model"),
    (0, b"\x08", "ONNX"),  # the number of its version; there is no better sign
    (0, b"{", "JSON, as RTNeural writes"),
)


def document_of(content: bytes) -> str:
    """Return the JSON document of a bundle, from the header of its file.

    Raises:
        WeightsError: the file is not safetensors, or not a bundle.
    """
    entry = _header(content).get("__metadata__", msgspec.Raw(b"{}"))
    try:
        text = msgspec.json.decode(entry, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = {}
    require(set(text) == {KEY}, f"not an edge-lstm bundle: no {KEY!r} in the metadata; {_MAKE_ONE}")
    return text[KEY]


def _header(content: bytes) -> dict[str, msgspec.Raw]:
    """Return the header's entries, unparsed; sizes are checked before."""
    end = 8 + int.from_bytes(content[:8], "little")
    require(len(content) > 8 and 10 <= end <= 8 + MAX_HEADER_BYTES, f"not a safetensors file{_guess(content)}")
    require(content.count(b":", 8, end) <= MAX_COLONS, "not a bundle: its header has far more in it than any bundle's")
    try:
        header = msgspec.json.decode(memoryview(content)[8:end], type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        message = "not a safetensors file: its header is not an object"
        raise WeightsError(message) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = "not a safetensors file: its header is not JSON"
        raise WeightsError(message) from None
    require(len(header) <= MAX_TENSORS, f"not a bundle: {len(header)} tensors, expected at most {MAX_TENSORS}")
    return header


def _guess(content: bytes) -> str:
    """Return what a foreign file seems to be, and what to do about it."""
    for place, magic, what in _FOREIGN:
        if content.startswith(magic, place):
            return f"; it looks like {what}. A bundle is made of it by 'edge-lstm convert'"
    return ""
