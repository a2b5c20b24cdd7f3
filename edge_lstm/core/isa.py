"""Instruction sets: how a CPU multiplies int8 weights with integer activations, sixteen rows at once.

Sums are exact in int32, so every way gives the same. Where an instruction multiplies bytes only, an activation of 16
bits is two planes of bytes, ``256 * high + low``. A plane whose sign the instruction does not take has its top bits
flipped; what this adds to a sum, ``shift`` times the sum of the row's weights, is known beforehand and taken off where
the sum starts.

Everything here builds LLVM code and knows nothing of Numba, so that a test can compile it for CPUs that it does not
run on.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from edge_lstm.core.lanes import WIDTH, splat

BYTE, HALF, WORD, SIZE = (ir.IntType(bits) for bits in (8, 16, 32, 64))


class Form(NamedTuple):
    """How activations are kept as bytes: what is flipped in each plane, low first, and what that adds."""

    flips: tuple[int, ...]
    shift: int


class InstructionSet(NamedTuple):
    """One way to multiply and add.

    Attributes:
        needs: features of the CPU, in LLVM's words.
        group: weights of one row that lie together, and are multiplied by one instruction.
        lanes: int32 sums that a register holds.
        blocks: of sixteen rows each, how many are summed at once, so that registers suffice.
        rows: streams, 1 or 2, whose sums are made at once, so that weights are read once for both.
        forms: how activations of one plane and of two are kept; empty where they stay int16.
        multiply_add: (builder, sums, weights, activations) to sums.
    """

    name: str
    needs: frozenset[str]
    group: int
    lanes: int
    blocks: int
    rows: int
    forms: tuple["Form", ...]
    multiply_add: Callable[[Any, Any, Any, Any], Any]


def _call(name: str, *kinds: ir.Type) -> Callable[[Any, Any, Any, Any], Any]:
    """Return a multiply-add by an intrinsic whose operands have these types, the sums' type first."""
    sums, weights, activations = kinds

    def multiply_add(builder: Any, acc: Any, w: Any, a: Any) -> Any:
        function = builder.module.declare_intrinsic(name, (), ir.FunctionType(sums, [sums, weights, activations]))
        return builder.call(function, [acc, builder.bitcast(w, weights), builder.bitcast(a, activations)])

    return multiply_add


def _vnni(lanes: int) -> Callable[[Any, Any, Any, Any], Any]:
    """``vpdpbusd``: four unsigned bytes times four signed ones; its first factor is the unsigned one."""
    vector = ir.VectorType(WORD, lanes)
    call = _call(f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", vector, vector, vector)
    return lambda builder, acc, w, a: call(builder, acc, a, w)


def _avx2(builder: Any, acc: Any, w: Any, a: Any) -> Any:
    """``vpmovsxbw`` and ``vpmaddwd``: pairs of int16."""
    pairs, sums = ir.VectorType(HALF, 2 * acc.type.count), acc.type
    madd = builder.module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", (), ir.FunctionType(sums, [pairs, pairs]))
    wide = builder.sext(builder.bitcast(w, ir.VectorType(BYTE, pairs.count)), pairs)
    return builder.add(acc, builder.call(madd, [wide, builder.bitcast(a, pairs)]))


def _portable(builder: Any, acc: Any, w: Any, a: Any) -> Any:
    """Plain vector arithmetic: ``sshll`` and ``smlal`` on Arm, whatever there is elsewhere."""
    return builder.add(acc, builder.mul(builder.sext(w, acc.type), builder.sext(a, acc.type)))


_Q = ir.VectorType(WORD, 4)
_B = ir.VectorType(BYTE, 16)

UNSIGNED = (Form((128,), 128), Form((0, 128), 128 * 256))
SIGNED = (Form((0,), 0), Form((128, 0), -128))

AVX512_VNNI = InstructionSet(
    "avx512-vnni", frozenset({"avx512vnni", "avx512bw", "avx512vl"}), 4, 16, 4, 2, UNSIGNED, _vnni(16)
)
AVX_VNNI = InstructionSet("avx-vnni", frozenset({"avxvnni"}), 4, 8, 2, 1, UNSIGNED, _vnni(8))
AVX2 = InstructionSet("avx2", frozenset({"avx2"}), 2, 8, 4, 1, (), _avx2)
DOTPROD = InstructionSet(
    "arm-dotprod", frozenset({"dotprod"}), 4, 4, 2, 1, SIGNED, _call("llvm.aarch64.neon.sdot.v4i32.v16i8", _Q, _B, _B)
)
PORTABLE = InstructionSet("portable", frozenset(), 1, 16, 4, 1, (), _portable)

SETS = (AVX512_VNNI, AVX_VNNI, AVX2, DOTPROD, PORTABLE)


def choose(features: frozenset[str]) -> InstructionSet:
    """Return the best set for a CPU with these features."""
    return next(one for one in SETS if one.needs <= features)


class Operands(NamedTuple):
    """Where a sum finds what it needs: pointers to bytes, and int64 numbers.

    Attributes:
        packed: 4 bytes a row that its sum starts from, then the weights; ``dot.pack`` writes them.
        activations: of each stream.
        plane: bytes from the low ones to the high ones.
        groups: of activations.
    """

    packed: Any
    activations: list[Any]
    plane: Any
    groups: Any


def emit_sums(builder: Any, one: InstructionSet, operands: Operands, blocks: int, planes: int) -> list[Any]:
    """Write code that sums rows of weights with the activations of each stream.

    Args:
        blocks: of sixteen rows of weights.
        planes: of bytes in an activation.

    Returns:
        Vectors of sixteen int32: those of the first stream, one a block, then those of the next.
    """
    registers = WIDTH // one.lanes
    together = min(blocks, one.blocks) * registers
    sums = []
    for first in range(0, len(operands.activations), one.rows):
        some = operands._replace(activations=operands.activations[first : first + one.rows])
        loop = _Loop(builder, one, some, blocks, planes)
        parts = [loop.emit(range(k, k + together)) for k in range(0, blocks * registers, together)]
        for row in range(len(some.activations)):
            own = [register for part in parts for register in part[row]]
            sums += [_joined(builder, own[k : k + registers]) for k in range(0, len(own), registers)]
    return sums


def _joined(builder: Any, parts: list[Any]) -> Any:
    """Return vectors one after the other, as one."""
    while len(parts) > 1:
        count = ir.VectorType(WORD, 2 * parts[0].type.count)
        order = ir.Constant(count, list(range(count.count)))
        parts = [builder.shuffle_vector(low, high, order) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _rolled(module: ir.Module) -> Any:
    """Return the wish that a loop stays as it is: its body fills the registers, and code that is long is often cold."""
    wish = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = module.add_metadata([wish, wish])
    loop.operands = (loop, wish)
    return loop


class _Loop:
    """The loop over groups of activations, for as many sums as there are registers."""

    def __init__(self, builder: Any, one: InstructionSet, operands: Operands, blocks: int, planes: int) -> None:
        self.builder, self.one, self.operands = builder, one, operands
        self.all_rows = blocks * WIDTH
        self.sums = ir.VectorType(WORD, one.lanes)
        self.planes = range(planes)
        self.rows = range(len(operands.activations))

    def emit(self, registers: range) -> list[list[Any]]:
        """Return the sums of some registers' rows of weights, of each stream."""
        builder, before = self.builder, self.builder.block
        starts = [self._load(self.operands.packed, SIZE(4 * self.one.lanes * r), self.sums) for r in registers]
        loop, after = builder.append_basic_block("groups"), builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        group = self._phi(SIZE, SIZE(0), before)
        zero = ir.Constant(self.sums, None)
        sofar = {
            (row, plane): [self._phi(self.sums, zero if plane else start, before) for start in starts]
            for row in self.rows
            for plane in self.planes
        }
        weights = [self._weights(group, r) for r in registers]
        totals = {}
        for stream, phis in sofar.items():
            a = self._activations(group, *stream)
            totals[stream] = [self.one.multiply_add(builder, phi, w, a) for phi, w in zip(phis, weights, strict=True)]
            for phi, total in zip(phis, totals[stream], strict=True):
                phi.add_incoming(total, loop)
        following = builder.add(group, SIZE(1))
        group.add_incoming(following, loop)
        again = builder.cbranch(builder.icmp_signed("<", following, self.operands.groups), loop, after)
        again.set_metadata("llvm.loop", _rolled(builder.module))
        builder.position_at_end(after)
        return [self._total([totals[row, plane] for plane in self.planes]) for row in self.rows]

    def _phi(self, kind: Any, start: Any, before: Any) -> Any:
        phi = self.builder.phi(kind)
        phi.add_incoming(start, before)
        return phi

    def _load(self, base: Any, offset: Any, kind: Any) -> Any:
        address = self.builder.gep(base, [offset])
        return self.builder.load(self.builder.bitcast(address, kind.as_pointer()), align=1)

    def _weights(self, group: Any, register: int) -> Any:
        size = self.one.lanes * self.one.group
        offset = self.builder.mul(group, SIZE(self.all_rows * self.one.group))
        offset = self.builder.add(offset, SIZE(4 * self.all_rows + size * register))
        return self._load(self.operands.packed, offset, ir.VectorType(BYTE, size))

    def _activations(self, group: Any, row: int, plane: int) -> Any:
        """Return a group of a stream's activations, once for each lane."""
        builder, size = self.builder, self.one.group * (1 if self.one.forms else 2)
        offset = builder.mul(group, SIZE(size))
        if plane:
            offset = builder.add(offset, self.operands.plane)
        kind = ir.IntType(8 * size)
        value = self._load(self.operands.activations[row], offset, kind)
        return splat(builder, value, ir.VectorType(kind, self.one.lanes))

    def _total(self, planes: list[list[Any]]) -> list[Any]:
        """Return low + 256 * high."""
        if len(planes) == 1:
            return planes[0]
        eight = ir.Constant(self.sums, [8] * self.one.lanes)
        pairs = zip(*planes, strict=True)
        return [self.builder.add(low, self.builder.shl(high, eight)) for low, high in pairs]


def emit_keep(builder: Any, one: InstructionSet, q: Any, where: Any, plane: Any, planes: int) -> None:
    """Write code that keeps sixteen quantized activations (int32) in the form that the set multiplies.

    Args:
        where: pointer to the byte of the first of them.
        plane: int64, from the low bytes to the high ones.
    """

    def put(pointer: Any, values: Any) -> None:
        builder.store(values, builder.bitcast(pointer, values.type.as_pointer()), align=1)

    if not one.forms:
        put(where, builder.trunc(q, ir.VectorType(HALF, WIDTH)))
        return
    for k, flip in enumerate(one.forms[planes - 1].flips):
        values = builder.trunc(q, ir.VectorType(BYTE, WIDTH))
        put(where, builder.xor(values, ir.Constant(values.type, [flip] * WIDTH)))
        if k + 1 < planes:
            where, q = builder.gep(where, [plane]), builder.ashr(q, ir.Constant(q.type, [8] * WIDTH))
