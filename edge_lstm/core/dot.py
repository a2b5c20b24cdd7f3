"""The integer dot products of one layer: weights packed for the CPU at hand, and the code that multiplies them.

The instruction set is chosen once, from the features that Numba compiles for, which are those that the CPU reports.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core.registry import cpu_target

from edge_lstm.core.cache import config, formula, intrinsic, overload
from edge_lstm.core.isa import BYTE, SIZE, InstructionSet, Operands, choose, emit_keep, emit_sums
from edge_lstm.core.lanes import INTEGERS, WIDTH
from edge_lstm.core.table import I8, I32, U8

GATES = 4


def _features() -> frozenset[str]:
    """Return the features of the CPU that Numba compiles for."""
    if config.DISABLE_JIT:
        return frozenset()
    *_, features = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(name[1:] for name in features.split(",") if name.startswith("+"))


ISA: InstructionSet = choose(_features())
TILE = 2  # streams that are stepped together


def padded(width: int) -> int:
    """Return the number of activations that are multiplied for a layer of this width."""
    return -(-width // 4) * 4


def planes_of(bits: int, isa: InstructionSet = ISA) -> int:
    """Return the planes of bytes that activations of 8 or 16 bits are kept in; 1 where they stay int16."""
    return bits // 8 if isa.forms else 1


def pack(matrix: I8, blocks: int, planes: int, isa: InstructionSet = ISA) -> I8:
    """Return the bytes that a sum reads: where each row starts from, then the weights.

    Args:
        matrix: (n * blocks * 16, width) weights; the width is a multiple of 4.
        blocks: of sixteen rows, that are summed by one call.

    Returns:
        (n, bytes) int8.
    """
    rows, width = matrix.shape
    shift = isa.forms[planes - 1].shift if isa.forms else 0
    starts = (-shift * matrix.sum(1, dtype=np.int64)).astype(np.uint32)  # modulo 2^32, as the sums are
    tiles = matrix.reshape(-1, blocks, WIDTH, width // isa.group, isa.group).transpose(0, 3, 1, 2, 4)
    together = blocks * WIDTH
    n = rows // together
    flat = np.ascontiguousarray(tiles).reshape(n, together * width)
    return np.hstack([starts.view(np.int8).reshape(n, 4 * together), flat])


@formula
def size(width: int, blocks: int = GATES) -> int:
    """Return the bytes of a call's weights."""
    return blocks * WIDTH * (4 + width)


def _sum(code: I8, at: int, q: U8, part: int, width: int, blocks: int) -> tuple[I32, ...]:
    """Un-jitted: what the overloads below do."""
    rows = blocks * WIDTH
    start = code[at : at + 4 * rows].view(np.int32)
    at += 4 * rows
    weights = code[at : at + rows * width].reshape(width, rows).astype(np.int64)
    activations = q[part : part + 2 * width].view(np.int16).astype(np.int64)
    return tuple((start + activations @ weights).astype(np.int32).reshape(blocks, WIDTH))


def gates(packed: Any, at: int, q: U8, part: int, width: int) -> Any:
    """Return the sums of sixteen units' four gates.

    Args:
        packed: ``code``, what ``pack`` gave for 4 blocks, and the number of ``planes``.
        at: byte of the code where the call's weights begin.
        q: (bytes,) activations of a stream; ``keep`` kept them from byte ``part`` on.
        width: of the layer, padded.

    Returns:
        Four lanes of exact sums.
    """
    return _sum(packed.code, at, q, part, width, GATES)


def gates_of_two(packed: Any, at: int, q: U8, part: int, width: int) -> Any:
    """Return the sums of ``gates`` of one stream, then of another; ``q`` is (2, bytes)."""
    return gates(packed, at, q[0], part, width) + gates(packed, at, q[1], part, width)


def outputs(packed: Any, at: int, q: U8, part: int, width: int) -> Any:
    """Return the sums of sixteen rows of the head, one lanes, as ``gates`` does those of a layer."""
    return _sum(packed.code, at, q, part, width, 1)[0]


def keep(packed: Any, q: U8, part: int, first: int, width: int, lanes: Any) -> None:
    """Keep sixteen quantized activations in the form that the instruction set multiplies.

    Args:
        packed: the number of ``planes``.
        q: (bytes,) of a stream; the layer's activations stand from byte ``part`` on.
        first: index of the first of these among them.
        width: of the layer, a multiple of 16.
        lanes: int32.
    """
    q[part + 2 * first : part + 2 * (first + WIDTH)] = lanes.astype(np.int16).view(np.uint8)


def _sums(blocks: int, planes: int, streams: int) -> Any:
    @intrinsic
    def emit(typingctx: Any, code: Any, at: Any, q: Any, part: Any, width: Any) -> Any:
        count = blocks * streams
        kind = types.UniTuple(INTEGERS, count) if count > 1 else INTEGERS

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2)]
            code, q = (builder.bitcast(array.data, BYTE.as_pointer()) for array in arrays)
            first = builder.gep(q, [args[3]])
            activations = [first]
            if streams == 2:
                activations.append(builder.gep(first, [builder.extract_value(arrays[1].strides, 0)]))
            width = args[4]
            operands = Operands(
                packed=builder.gep(code, [args[1]]),
                activations=activations,
                plane=builder.and_(builder.add(width, SIZE(WIDTH - 1)), SIZE(-WIDTH)),
                groups=builder.udiv(width, SIZE(ISA.group)),
            )
            sums = emit_sums(builder, ISA, operands, blocks, planes)
            return context.make_tuple(builder, kind, sums) if count > 1 else sums[0]

        return kind(code, types.int64, q, types.int64, types.int64), codegen

    return emit


def _keep(planes: int) -> Any:
    @intrinsic
    def emit(typingctx: Any, q: Any, part: Any, first: Any, width: Any, lanes: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array, part, first, width, lanes = args
            data = builder.bitcast(context.make_array(q)(context, builder, array).data, BYTE.as_pointer())
            each = SIZE(1 if ISA.forms else 2)
            where = builder.gep(data, [builder.add(part, builder.mul(first, each))])
            emit_keep(builder, ISA, lanes, where, width, planes)
            return context.get_dummy_value()

        return types.void(q, types.int64, types.int64, types.int64, INTEGERS), codegen

    return emit


def _overload_sums(function: Any, blocks: int, streams: int) -> None:
    one, two = (_sums(blocks, planes, streams) for planes in (1, 2))

    @overload(function)
    def apply(packed: Any, at: Any, q: Any, part: Any, width: Any) -> Any:
        if not ISA.forms:
            return lambda packed, at, q, part, width: one(packed.code, at, q, part, width)

        def by_planes(packed: Any, at: int, q: U8, part: int, width: int) -> Any:
            if packed.planes == 1:
                return one(packed.code, at, q, part, width)
            return two(packed.code, at, q, part, width)

        return by_planes


_overload_sums(gates, GATES, 1)
_overload_sums(gates_of_two, GATES, 2)
_overload_sums(outputs, 1, 1)
_keep_one, _keep_two = _keep(1), _keep(2)


@overload(keep)
def _keep_overload(packed: Any, q: Any, part: Any, first: Any, width: Any, lanes: Any) -> Any:
    def by_planes(packed: Any, q: U8, part: int, first: int, width: int, lanes: Any) -> None:
        if packed.planes == 1:
            _keep_one(q, part, first, width, lanes)
        else:
            _keep_two(q, part, first, width, lanes)

    return by_planes
