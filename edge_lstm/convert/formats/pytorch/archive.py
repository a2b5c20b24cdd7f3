"""PyTorch's files, .pt and .pth, without PyTorch: the zip archive, and the plain stream that came before it."""

import zipfile
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.formats.pytorch.records import SAVE, Storage, TensorRecord, require
from edge_lstm.convert.formats.pytorch.unpickle import load
from edge_lstm.errors import WeightsError

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of PyTorch's magic number
PROTOCOL = 1001
MAX_MEMBERS = 20_000
MAX_PICKLE_BYTES = 16 * 2**20
# What torch.save writes beside the pickle and the storages. None of it says anything about the weights.
MARKS = ("version", ".format_version", ".storage_alignment", ".data/serialization_id")


def read(content: bytes) -> dict[Any, Any]:
    """Return the dict that a file holds; tensors are ``TensorRecord``, their storages filled.

    Raises:
        WeightsError: the file is damaged, or holds anything but a dict of what a state_dict consists of.
    """
    if content.startswith(ZIP):
        result = _read_zip(content)
    else:
        require(content.startswith(LEGACY), "not a PyTorch file: neither a zip archive nor PyTorch's older stream")
        result = _read_legacy(content)
    require(type(result) is dict, f"the file holds a {_kind(result)}, expected a state_dict; {SAVE}")
    return dict(result)


def _kind(value: Any) -> str:
    return "tensor" if type(value) is TensorRecord else type(value).__name__


def array(record: TensorRecord) -> NDArray[Any]:
    """Return the numbers of a tensor, as they lie in its storage; bfloat16 as float32, which holds it exactly."""
    wide = record.storage.dtype == "bfloat16"
    dtype = np.dtype("<u2" if wide else record.storage.dtype)
    strides = [stride * dtype.itemsize for stride in record.strides]
    view = np.ndarray(record.shape, dtype, record.storage.data, record.offset * dtype.itemsize, strides)
    return (view.astype("<u4") << 16).view("<f4") if wide else view


def _read_zip(content: bytes) -> Any:
    # Each member costs memory before any is read. Four given bytes are rare in weights.
    require(content.count(b"PK\x01\x02") <= MAX_MEMBERS, f"more than {MAX_MEMBERS} members in the zip archive")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return _read_members(archive, len(content))
    except WeightsError:
        raise
    except Exception as error:  # zipfile raises a dozen types on damaged archives
        message = f"damaged zip archive: {type(error).__name__}: {str(error)[:100]}"
        raise WeightsError(message) from None


def _members(archive: zipfile.ZipFile, available: int) -> dict[str, zipfile.ZipInfo]:
    """Return the directory by names without the folder that all are in; nothing is read yet."""
    names = archive.namelist()
    script = any("/code/" in name or name.endswith("/constants.pkl") for name in names)
    require(not script, f"a TorchScript program, whose code would have to be executed; load it and {SAVE}")
    roots = {name.partition("/")[0] for name in names}
    require(len(roots) == 1, f"a zip archive of {len(roots)} folders, expected the one of a state_dict")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.partition("/")[2]
        require(name not in members, f"{info.filename[:60]!r} is twice in the zip archive")
        require(info.compress_type == zipfile.ZIP_STORED, f"{info.filename[:60]!r} is compressed; PyTorch stores only")
        require(info.file_size == info.compress_size, f"{info.filename[:60]!r} has two sizes")
        members[name] = info
    total = sum(info.file_size for info in members.values())  # they may all name the same bytes
    require(total <= available, f"damaged zip archive: members of {total} bytes in a file of {available}")
    return members


def _read_members(archive: zipfile.ZipFile, available: int) -> Any:
    members = _members(archive, available)
    require("data.pkl" in members, f"a zip archive without data.pkl: not a state_dict; {SAVE}")
    require(members["data.pkl"].file_size <= MAX_PICKLE_BYTES, f"data.pkl: more than {MAX_PICKLE_BYTES} bytes")
    order = archive.read(members["byteorder"]) if "byteorder" in members else b"little"
    require(order == b"little", "written on a big-endian machine; save it again on a little-endian one")
    result, storages = _pickle(archive.read(members["data.pkl"]))
    expected = {f"data/{key}" for key in storages} | {"data.pkl", "byteorder", *MARKS}
    unknown = sorted(set(members) - expected)
    require(not unknown, f"members that belong to no tensor: {', '.join(unknown[:5])[:200]}")
    for key, storage in storages.items():
        require(f"data/{key}" in members, f"the numbers of storage {key[:60]} are missing: data/{key[:60]}")
        _fill(storage, archive.read(members[f"data/{key}"]), key)
    return result


def _pickle(content: bytes) -> tuple[Any, dict[str, Storage]]:
    stream = BytesIO(content)
    result = load(stream)
    require(stream.tell() == len(content), "the pickle is damaged: something follows it")
    return result


def _fill(storage: Storage, data: bytes, key: str) -> None:
    expected = storage.size * storage.itemsize
    require(len(data) == expected, f"storage {key[:60]} has {len(data)} bytes, expected {expected}")
    storage.data = data


def _read_legacy(content: bytes) -> Any:
    stream = BytesIO(content)
    load(stream)  # the magic number
    require(load(stream)[0] == PROTOCOL, f"PyTorch's older stream in an unknown version; {SAVE}")
    system = load(stream)[0]
    little = type(system) is dict and system.get("little_endian") is True
    require(little, "written on a big-endian machine; save it again on a little-endian one")
    result, storages = load(stream)
    keys = load(stream)[0]
    same = type(keys) is list and all(type(key) is str for key in keys) and sorted(keys) == sorted(storages)
    require(same, "the pickle is damaged: its storages are not those that follow")
    for key in keys:
        storage = storages[key]
        size = int.from_bytes(stream.read(8), "little")
        require(size == storage.size, f"storage {key[:60]} has {size} numbers, expected {storage.size}")
        _fill(storage, stream.read(size * storage.itemsize), key)
    require(stream.tell() == len(content), "damaged: something follows the last storage")
    return result
