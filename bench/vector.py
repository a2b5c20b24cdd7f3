"""Loops of 512-bit vectors, written in LLVM's language, because what is measured must be what was meant.

Where registers are narrower LLVM splits the loads; the dot instructions exist or they don't.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BYTES = 64  # of a vector
FEATURES = llvm.get_host_cpu_features()
# independent accumulators: enough for the latency of a dot times the units that do them, and no more than registers
CHAINS = 16 if FEATURES.get("avx512f") else 4
I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
VNNI, AVX2 = "vpdpbusd", "pmaddwd"


def dot_instruction() -> str | None:
    """Return the widest integer dot instruction that this CPU has, of those known here."""
    if FEATURES.get("avx512vnni"):
        return VNNI
    return AVX2 if FEATURES.get("avx2") else None


def _bytes_dot(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Return ``total`` (16 int32) and the products of 64 bytes."""
    wide = ir.VectorType(I32, 16)
    # the operands' type was <16 x i32> before LLVM 22
    operand = ir.VectorType(I8, 64) if llvm.llvm_version_info >= (22,) else wide
    kind = ir.FunctionType(wide, [wide, operand, operand])
    function = builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), kind)
    return builder.call(function, [total, builder.bitcast(a, operand), builder.bitcast(b, operand)])


def _words_dot(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Return ``total`` (16 int32) and the products of 32 words, in two halves."""
    words, sums = ir.VectorType(I16, 16), ir.VectorType(I32, 8)
    function = builder.module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", (), ir.FunctionType(sums, [words, words]))

    def half(vector: Any, first: int) -> Any:
        lanes = ir.Constant(ir.VectorType(I32, 16), list(range(first, first + 16)))
        both = builder.bitcast(vector, ir.VectorType(I16, 32))
        return builder.shuffle_vector(both, both, lanes)

    def product(first: int) -> Any:
        # an empty instruction that LLVM can't see through: else it would multiply once, before the loop
        seen = builder.asm(ir.FunctionType(words, [words]), "", "=x,0", [half(a, first)], True)
        return builder.call(function, [seen, half(b, first)])

    lanes = ir.Constant(ir.VectorType(I32, 16), list(range(16)))
    return builder.add(total, builder.shuffle_vector(product(0), product(16), lanes))


def _dot(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Return ``total`` and the products of two vectors of 64 bytes."""
    return (_bytes_dot if dot_instruction() == VNNI else _words_dot)(builder, total, a, b)


def _vector(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Return a pointer to the vector that begins ``at`` bytes into an array."""
    data = context.make_array(kind)(context, builder, array).data
    start = builder.gep(builder.bitcast(data, I8.as_pointer()), [at])
    return builder.bitcast(start, ir.VectorType(I32, 16).as_pointer())


def _loop(context: Any, builder: Any, kinds: Any, args: Any, step: int, add: Callable[[Any, int, Any], Any]) -> Any:
    """Emit ``for at in range(0, n, step)`` over ``CHAINS`` vectors in registers, which end in ``out``.

    Args:
        add: (index ``at``, number of the chain, its value) -> its new value.
    """
    out, n = args[-2], args[-1]
    wide = ir.VectorType(I32, 16)
    chains = [cgutils.alloca_once_value(builder, ir.Constant(wide, None)) for _ in range(CHAINS)]
    with cgutils.for_range_slice(builder, I64(0), n, I64(step), I64) as (at, _):
        for k, chain in enumerate(chains):
            builder.store(add(at, k, builder.load(chain)), chain)
    for k, chain in enumerate(chains):
        builder.store(builder.load(chain), _vector(context, builder, kinds[-2], out, I64(k * BYTES)), align=1)
    return context.get_dummy_value()


@intrinsic
def _read(typingctx: Any, data: Any, out: Any, n: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def add(at: Any, k: int, value: Any) -> Any:
            start = builder.add(at, I64(k * BYTES))
            return builder.xor(value, builder.load(_vector(context, builder, data, args[0], start), align=1))

        return _loop(context, builder, signature.args, args, CHAINS * BYTES, add)

    return types.none(data, out, n), codegen


@intrinsic
def _dots(typingctx: Any, data: Any, out: Any, n: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = (builder.load(_vector(context, builder, data, args[0], I64(k * BYTES)), align=1) for k in range(2))
        return _loop(context, builder, signature.args, args, 1, lambda _at, _k, value: _dot(builder, value, a, b))

    return types.none(data, out, n), codegen


@numba.njit
def read(data: Any, out: Any, times: int) -> None:
    """Read an int8 array ``times`` over.

    Args:
        data: a multiple of ``CHAINS * BYTES`` long.
        out: (CHAINS * BYTES,) int8, what keeps the loop from being left out.
    """
    for _ in range(times):
        _read(data, out, data.size)


@numba.njit
def dots(data: Any, out: Any, n: int) -> None:
    """Execute ``n * CHAINS`` dot instructions of 64 bytes with all operands in registers."""
    _dots(data, out, n)
