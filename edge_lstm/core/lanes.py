"""Sixteen numbers at once: the vector that the step computes with.

A formula of ``maths.py`` takes ``Lanes`` where it takes a number, so there is one source for both. LLVM maps the
sixteen onto whatever registers the CPU has: one of AVX-512, two of AVX2, four of Neon. A loop would leave that to the
auto-vectorizer, which gives up on short ones (a step of 16 units: 92 ns so, 41 ns with lanes). Un-jitted, lanes are
small NumPy arrays.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from edge_lstm.core.cache import intrinsic, overload

WIDTH = 16


class Lanes(types.Type):
    """Numba's type of ``WIDTH`` float32 or int32."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"lanes({dtype})")


FLOATS, INTEGERS = Lanes(types.float32), Lanes(types.int32)
VECTORS = {FLOATS: ir.VectorType(ir.FloatType(), WIDTH), INTEGERS: ir.VectorType(ir.IntType(32), WIDTH)}


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, VECTORS[kind])


def splat(builder: Any, value: Any, vector: Any) -> Any:
    """Return ``value`` in every lane of a vector type."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(first, undefined, zeros)


def floats(builder: Any, values: Any) -> list[Any]:
    """Return every value as a vector of floats."""
    vector = VECTORS[FLOATS]
    return [value if value.type == vector else splat(builder, value, vector) for value in values]


def pointer(context: Any, builder: Any, where: tuple[Any, Any, Any], kind: Any) -> Any:
    """Return where an element lies, given the array's type, the array and the index, as a pointer to ``kind``."""
    array_type, array, start = where
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [start]), kind.as_pointer())


def _operator(function: Callable[[Any, Any], Any], instruction: str) -> None:
    @intrinsic
    def emit(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*floats(builder, args))

        return FLOATS(a, b), codegen

    @overload(function)
    def apply(a: Any, b: Any) -> Any:
        if FLOATS in (a, b):
            return lambda a, b: emit(a, b)
        return None


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def fma_lanes(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit ``llvm.fma`` on lanes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = VECTORS[FLOATS]
        kind = ir.FunctionType(vector, [vector] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fma.v16f32", (), kind), floats(builder, args))

    return FLOATS(a, b, c), codegen


@intrinsic
def clip_lanes(typingctx: Any, x: Any, low: Any, high: Any) -> Any:
    """Emit ``min(max(x, low), high)`` on lanes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, low, high = floats(builder, args)
        x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
        return builder.select(builder.fcmp_ordered(">", x, high), high, x)

    return FLOATS(x, low, high), codegen


def load(array: Any, start: int) -> Any:
    """Return ``array[start : start + WIDTH]`` of float32 or int32."""
    return array[start : start + WIDTH].copy()


@intrinsic
def _load(typingctx: Any, array: Any, start: Any) -> Any:
    kind = {types.float32: FLOATS, types.int32: INTEGERS}[array.dtype]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(pointer(context, builder, (array, *args), VECTORS[kind]), align=4)

    return kind(array, start), codegen


@overload(load)
def _load_overload(array: Any, start: Any) -> Any:
    return lambda array, start: _load(array, start)


def store(array: Any, start: int, lanes: Any) -> None:
    """Put lanes into ``array[start : start + WIDTH]``."""
    array[start : start + WIDTH] = lanes


@intrinsic
def _store(typingctx: Any, array: Any, start: Any, lanes: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where, first, value = args
        builder.store(value, pointer(context, builder, (array, where, first), value.type), align=4)
        return context.get_dummy_value()

    return types.void(array, start, lanes), codegen


@overload(store)
def _store_overload(array: Any, start: Any, lanes: Any) -> Any:
    return lambda array, start, lanes: _store(array, start, lanes)


def to_float(integers: Any) -> Any:
    """Return int32 lanes as float32, rounded to nearest even."""
    return integers.astype(np.float32)


def to_integer(x: Any) -> Any:
    """Return a float32, or lanes of it, without its fraction; it has none where this is called."""
    return x.astype(np.int32)


def _cast(function: Callable[[Any], Any], source: Lanes, instruction: str, target: Lanes) -> None:
    @intrinsic
    def emit(typingctx: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(args[0], VECTORS[target])

        return target(x), codegen

    @overload(function)
    def apply(x: Any) -> Any:
        if x == source:
            return lambda x: emit(x)
        return lambda x: np.int32(x)


_cast(to_float, INTEGERS, "sitofp", FLOATS)
_cast(to_integer, FLOATS, "fptosi", INTEGERS)
