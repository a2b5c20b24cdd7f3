"""Four products at once on a CUDA device; exact integers, so they equal the plain loop of the CPU."""

import struct
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload


def dot4(weights: Any, activations: Any, total: Any) -> Any:
    """Return ``total`` and the four products of the int8 in ``weights`` with the int16 in ``activations``.

    This body runs in the simulator only; a device gets two ``dp2a``, through the overload below. ``dp4a`` would need
    just as many, since a 16-bit activation is two bytes, and twice the sums.

    Args:
        weights: int32, four int8, the first in the lowest byte.
        activations: int64, four int16.
        total: int32.
    """
    bytes_, shorts = (
        struct.unpack("<4b", struct.pack("<i", weights)),
        struct.unpack("<4h", struct.pack("<q", activations)),
    )
    return np.int32(int(total) + sum(w * a for w, a in zip(bytes_, shorts, strict=True)))


@intrinsic
def _dp2a_twice(typingctx: Any, weights: Any, activations: Any, total: Any) -> Any:
    """Emit ``dp2a`` for the lower and for the upper half."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        kind = ir.FunctionType(word, [word] * 3)
        packed, pairs, value = args
        lower = builder.trunc(pairs, word)
        upper = builder.trunc(builder.lshr(pairs, ir.Constant(pairs.type, 32)), word)
        for half, pair in (("lo", lower), ("hi", upper)):
            text = f"dp2a.{half}.s32.s32 $0, $1, $2, $3;"
            value = builder.call(ir.InlineAsm(kind, text, "=r,r,r,r"), [pair, packed, value])
        return value

    return types.int32(types.int32, types.int64, types.int32), codegen


@overload(dot4, strict=False)
def _dot4_overload(weights: Any, activations: Any, total: Any) -> Any:
    return lambda weights, activations, total: _dp2a_twice(weights, activations, total)  # type: ignore[call-arg]
