"""What a state_dict's pickle may name, as records: storages, tensors on them, packed parameters."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_lstm.errors import WeightsError

MAX_DIMENSIONS = 8
SAVE = "save the weights alone: torch.save(model.state_dict(), 'weights.pt')"

STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "<u1", "QInt8Storage": "<i1", "QUInt8Storage": "<u1",
}  # fmt: skip
DTYPES = ("qint8", "quint8", "float16", "float32")
SCHEMES = ("per_tensor_affine", "per_channel_affine")


@dataclass(frozen=True)
class Name:
    """A global that the file refers to, by name only."""

    module: str
    name: str


@dataclass(eq=False)
class Storage:
    """Numbers in a row; ``data`` is filled in when the pickle is read.

    Attributes:
        dtype: as NumPy writes it, or "bfloat16".
        size: how many numbers.
    """

    dtype: str
    size: int
    data: bytes = b""

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return 2 if self.dtype == "bfloat16" else int(self.dtype[-1])


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """A tensor as the pickle describes it: a window on a storage, checked to lie inside.

    Attributes:
        quantizer: (scheme, scale, zero point) or (scheme, scales, zero points, axis), or None.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    quantizer: tuple[Any, ...] | None = None


@dataclass(eq=False)
class ScriptRecord:
    """A ``torch.ScriptObject``: packed parameters of a quantized module."""

    state: Any = None
    type_name: str = ""


def require(condition: bool, message: str) -> None:
    """Raise WeightsError unless the condition holds."""
    if not condition:
        raise WeightsError(message)


def tensor_record(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> TensorRecord:
    """Return the record that the arguments of ``torch._utils._rebuild_tensor_v2`` describe."""
    metadata = rest[2:]  # after requires_grad and backward_hooks
    require(2 <= len(rest) <= 3 and not any(metadata), "the pickle: a tensor with properties that are not known here")
    require(type(storage) is Storage, "the pickle: a tensor without a storage")
    _check_window(storage, offset, shape, strides)
    return TensorRecord(storage, offset, shape, strides)


def _check_window(storage: Storage, offset: Any, shape: Any, strides: Any) -> None:
    for numbers in (shape, strides):
        whole = type(numbers) is tuple and all(type(n) is int and 0 <= n < 2**40 for n in numbers)
        require(whole, "the pickle: a tensor's shape or strides are not sizes")
    require(type(offset) is int and 0 <= offset <= storage.size, "the pickle: a tensor begins outside its storage")
    require(len(shape) == len(strides) <= MAX_DIMENSIONS, "the pickle: a tensor's shape does not fit its strides")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    inside = math.prod(shape) <= storage.size and (0 in shape or last < storage.size)
    require(inside, f"the pickle: a tensor of shape {shape} reaches beyond its storage of {storage.size} numbers")


def _quantized_record(storage: Any, offset: Any, shape: Any, strides: Any, quantizer: Any, *rest: Any) -> TensorRecord:
    plain = tensor_record(storage, offset, shape, strides, *rest)
    require(type(quantizer) is tuple and len(quantizer) in (3, 4), "the pickle: a quantizer that is not known here")
    return TensorRecord(plain.storage, plain.offset, plain.shape, plain.strides, quantizer)


def _parameter(data: Any, requires_grad: Any, hooks: Any) -> TensorRecord:
    del requires_grad, hooks
    require(type(data) is TensorRecord, "the pickle: a parameter that is not a tensor")
    return data  # type: ignore[no-any-return]


def _size(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(numbers)


CALLS: dict[Name, Callable[..., Any]] = {
    Name("collections", "OrderedDict"): lambda: {},
    Name("torch", "Size"): _size,
    Name("torch._utils", "_rebuild_tensor_v2"): tensor_record,
    Name("torch._utils", "_rebuild_qtensor"): _quantized_record,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
}
SCRIPT_OBJECT = Name("torch", "ScriptObject")
KNOWN = {*CALLS, SCRIPT_OBJECT, *(Name("torch", name) for name in (*STORAGES, *DTYPES, *SCHEMES))}


def known(module: Any, name: Any) -> Name:
    """Return the name if it is one that a state_dict may hold.

    Raises:
        WeightsError: it is another: a class of a whole pickled module, or code.
    """
    found = Name(str(module), str(name))
    if found not in KNOWN:
        message = f"the file names {found.module[:60]}.{found.name[:60]}, which is not part of a state_dict; {SAVE}"
        raise WeightsError(message)
    return found
