"""PyTorch's files written by hand, right and wrong ones, without PyTorch."""

import io
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "<f4": "FloatStorage",
    "<f8": "DoubleStorage",
    "<f2": "HalfStorage",
    "|i1": "QInt8Storage",
    "<i8": "LongStorage",
}


class Raw(NamedTuple):
    """Opcodes that push one object."""

    code: bytes


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module: str, what: str) -> bytes:
    return f"c{module}\n{what}\n".encode()


def tup(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def tensor(
    key: str, kind: str, size: int, shape: tuple[int, ...], *, offset: int = 0, strides: tuple[int, ...] | None = None
) -> bytes:
    """Return opcodes that rebuild a tensor on storage ``key`` of ``size`` numbers."""
    if strides is None:
        strides = tuple(int(np.prod(shape[k + 1 :])) for k in range(len(shape)))
    storage = tup(text("storage"), name("torch", kind), text(key), text("cpu"), number(size)) + b"Q"
    sizes = tup(*map(number, shape)), tup(*map(number, strides))
    return (
        name("torch._utils", "_rebuild_tensor_v2") + tup(storage, number(offset), *sizes, b"\x89", ORDERED_DICT) + b"R"
    )


def pickled(entries: dict[str, Any]) -> tuple[bytes, dict[str, bytes]]:
    """Return the pickle of a state_dict of arrays or ``Raw``, and the bytes of its storages."""
    code, storages = b"\x80\x02" + ORDERED_DICT + b"(", {}
    for at, (key, value) in enumerate(entries.items()):
        code += text(key)
        if isinstance(value, Raw):
            code += value.code
        else:
            code += tensor(str(at), STORAGES[value.dtype.str], value.size, value.shape)
            storages[str(at)] = np.ascontiguousarray(value).tobytes()
    return code + b"u.", storages


def archive(
    pickle: bytes, storages: dict[str, bytes], more: dict[str, bytes] | None = None, *, how: int = zipfile.ZIP_STORED
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as file:
        file.writestr("net/data.pkl", pickle)
        file.writestr("net/byteorder", b"little")
        for key, data in storages.items():
            file.writestr(f"net/data/{key}", data)
        file.writestr("net/version", b"3\n")
        for member, data in (more or {}).items():
            file.writestr(f"net/{member}", data)
    return out.getvalue()


def state_dict_file(entries: dict[str, Any]) -> bytes:
    return archive(*pickled(entries))


def lstm(inputs: int = 2, units: int = 3, layers: int = 1, seed: int = 1) -> dict[str, Any]:
    """Return the arrays of an nn.LSTM "lstm" and an nn.Linear "fc" of one output."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for k in range(layers):
        width = units if k else inputs
        arrays[f"lstm.weight_ih_l{k}"] = rng.uniform(-0.5, 0.5, (4 * units, width)).astype("<f4")
        arrays[f"lstm.weight_hh_l{k}"] = rng.uniform(-0.5, 0.5, (4 * units, units)).astype("<f4")
        arrays[f"lstm.bias_ih_l{k}"] = rng.uniform(-0.5, 0.5, 4 * units).astype("<f4")
        arrays[f"lstm.bias_hh_l{k}"] = rng.uniform(-0.5, 0.5, 4 * units).astype("<f4")
    arrays["fc.weight"] = rng.uniform(-0.5, 0.5, (1, units)).astype("<f4")
    arrays["fc.bias"] = rng.uniform(-0.5, 0.5, 1).astype("<f4")
    return arrays


def overlapping(size: int) -> bytes:
    """Return an archive whose directory says that a member has ``size`` bytes, more than the file."""
    data = bytearray(state_dict_file(lstm()))
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", size, size)
    return bytes(data)
