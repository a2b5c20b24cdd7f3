"""Every instruction set gives the exact sums: compiled without Numba, run here where the CPU can, else emulated."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from edge_lstm.core import dot, isa
from edge_lstm.core.isa import AVX2, AVX512_VNNI, AVX_VNNI, DOTPROD, PORTABLE, SETS, SIZE, InstructionSet

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
HERE = frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"


class Target(NamedTuple):
    """A CPU to compile for, and what its code must and must not have."""

    one: InstructionSet
    triple: str
    cpu: str
    has: str
    lacks: str = "none"


TARGETS = [
    Target(AVX512_VNNI, X86, "znver4", "vpdpbusd %zmm"),
    Target(AVX512_VNNI, X86, "icelake-server", "vpdpbusd %zmm"),
    Target(AVX_VNNI, X86, "alderlake", "vpdpbusd %ymm", "zmm"),
    Target(AVX2, X86, "haswell", "vpmaddwd", "vpdpbusd"),
    Target(DOTPROD, ARM, "cortex-a76", "sdot"),
    Target(PORTABLE, ARM, "cortex-a72", "smlal", "sdot"),
    Target(PORTABLE, ARM, "cortex-a53", "smlal", "sdot"),
]


class Shape(NamedTuple):
    """What one call sums: blocks of sixteen rows of weights, streams, planes of activations."""

    blocks: int
    rows: int
    planes: int


def shapes_of(one: InstructionSet) -> list[Shape]:
    planes = (1, 2) if one.forms else (1,)
    return [Shape(blocks, rows, p) for blocks in (1, 4) for rows in (1, 2) for p in planes]


def module_of(one: InstructionSet, shape: Shape) -> ir.Module:
    """Return a module with ``sums(packed, activations, stride, plane, groups, sums)`` and ``keep``."""
    module = ir.Module()
    byte = isa.BYTE.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, byte, SIZE, SIZE, SIZE, byte])
    function = ir.Function(module, kind, "sums")
    builder = ir.IRBuilder(function.append_basic_block())
    packed, activations, stride, plane, groups, out = function.args
    streams = [builder.gep(activations, [builder.mul(stride, SIZE(row))]) for row in range(shape.rows)]
    operands = isa.Operands(packed, streams, plane, groups)
    for k, sums in enumerate(isa.emit_sums(builder, one, operands, shape.blocks, shape.planes)):
        where = builder.gep(out, [SIZE(4 * 16 * k)])
        builder.store(sums, builder.bitcast(where, sums.type.as_pointer()), align=4)
    builder.ret_void()
    kind = ir.FunctionType(ir.VoidType(), [byte, byte, SIZE])
    function = ir.Function(module, kind, "keep")  # sixteen int32 to their bytes
    builder = ir.IRBuilder(function.append_basic_block())
    values, where, plane = function.args
    sixteen = ir.VectorType(isa.WORD, 16)
    q = builder.load(builder.bitcast(values, sixteen.as_pointer()), align=4)
    isa.emit_keep(builder, one, q, where, plane, shape.planes)
    builder.ret_void()
    return module


def machine_for(triple: str, cpu: str, features: str = "") -> llvm.TargetMachine:
    return llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=3, reloc="static")


def compiled(module: ir.Module, triple: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    module.triple, module.data_layout = triple, str(machine.target_data)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)  # must live as long as the passes
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return parsed


class Case(NamedTuple):
    """Weights and activations, and their exact sums."""

    matrix: np.ndarray
    q: np.ndarray
    expected: np.ndarray


def case_of(one: InstructionSet, shape: Shape, width: int, seed: int) -> Case:
    """Return numbers of which a fifth are the most extreme ones; with seed 0 all are."""
    rng = np.random.default_rng(seed)
    most = 127 if one.forms and shape.planes == 1 else 32767
    matrix = rng.integers(-128, 128, (shape.blocks * 16, width)).astype(np.int8)
    q = rng.integers(-most, most + 1, (shape.rows, width)).astype(np.int32)
    for array, edge in ((matrix, 127), (q, most)):
        array[rng.random(array.shape) < 0.1] = edge
        array[rng.random(array.shape) < 0.1] = -edge
    if seed == 0:
        matrix[:], q[:] = (-128 if width * 128 * most < 2**31 else -127), most
    expected = q.astype(np.int64) @ matrix.T.astype(np.int64)
    assert np.abs(expected).max() < 2**31
    return Case(matrix, q, expected.astype(np.int32))


def kept(one: InstructionSet, shape: Shape, q: np.ndarray) -> np.ndarray:
    """Return activations in the set's form, by NumPy: (rows, 2 * plane) bytes."""
    plane = -(-q.shape[1] // 16) * 16
    room = np.zeros((len(q), 2 * plane), np.uint8)
    if not one.forms:
        room[:, : 2 * q.shape[1]] = q.astype(np.int16).view(np.uint8)
        return room
    for k, flip in enumerate(one.forms[shape.planes - 1].flips):
        room[:, k * plane : k * plane + q.shape[1]] = ((q >> 8 * k) & 255) ^ flip
    return room


CASES = [(width, seed) for width in (4, 8, 16, 64) for seed in (0, 1, 2)] + [(512, 0), (512, 1)]


# ---- Run here ------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_sums_are_exact(one: InstructionSet) -> None:
    if not one.needs <= HERE:
        pytest.skip(f"this CPU has no {', '.join(sorted(one.needs - HERE))}")
    for shape in shapes_of(one):
        machine = machine_for(llvm.get_process_triple(), llvm.get_host_cpu_name(), ",".join(f"+{n}" for n in HERE))
        engine = llvm.create_mcjit_compiler(
            compiled(module_of(one, shape), llvm.get_process_triple(), machine), machine
        )
        engine.finalize_object()
        sums = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)(
            engine.get_function_address("sums")
        )
        keep = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64)(engine.get_function_address("keep"))
        for width, seed in CASES:
            case = case_of(one, shape, width, seed)
            packed = dot.pack(case.matrix, shape.blocks, shape.planes, one).ravel()
            q = kept(one, shape, case.q)
            plane, rows = q.shape[1] // 2, shape.blocks * 16
            out = np.zeros((shape.rows, rows), np.int32)
            sums(packed.ctypes.data, q.ctypes.data, q.strides[0], plane, width // one.group, out.ctypes.data)
            assert np.array_equal(out, case.expected), (shape, width, seed)
            if width % 16 == 0:
                again = np.zeros_like(q[0])
                step = 1 if one.forms else 2
                for first in range(0, width, 16):
                    keep(case.q[0, first:].ctypes.data, again.ctypes.data + step * first, plane)
                assert np.array_equal(again, q[0]), (shape, width)


def test_what_the_cpu_has_is_chosen() -> None:
    assert isa.choose(frozenset()) is PORTABLE
    assert isa.choose(frozenset({"avx2", "fma"})) is AVX2
    assert isa.choose(frozenset({"avx2", "avxvnni"})) is AVX_VNNI
    assert isa.choose(frozenset({"avx2", "avxvnni", "avx512vnni", "avx512bw", "avx512vl"})) is AVX512_VNNI
    assert isa.choose(frozenset({"neon"})) is PORTABLE
    assert isa.choose(frozenset({"neon", "dotprod"})) is DOTPROD
    assert dot.ISA is isa.choose(HERE)


# ---- Compiled for others -------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.one.name}-{target.cpu}")
def test_instructions(target: Target) -> None:
    for shape in shapes_of(target.one):
        machine = machine_for(target.triple, target.cpu)
        assembly = machine.emit_assembly(compiled(module_of(target.one, shape), target.triple, machine))
        code = " ".join(assembly.split())
        first, _, second = target.has.partition(" ")
        loops = [line for line in assembly.splitlines() if first in line and second in line]
        assert len(loops) >= shape.rows * shape.planes, (shape, code[:2000])
        assert target.lacks not in code, shape


# ---- Emulated ------------------------------------------------------------------------------------

LEAVE = ".text\n.globl leave\nleave: mov x8, #93\nsvc #0\n"  # exit with the first argument
TOOLS = [shutil.which(tool) for tool in ("qemu-aarch64-static", "aarch64-linux-gnu-as", "aarch64-linux-gnu-ld")]


def program_of(one: InstructionSet, shape: Shape, width: int, seed: int) -> ir.Module:
    """Return a module whose ``_start`` sums a case and exits with the number of wrong sums, at most 99."""
    case = case_of(one, shape, width, seed)
    module = module_of(one, shape)
    q = kept(one, shape, case.q)

    def data(name: str, array: np.ndarray) -> ir.Value:
        kind = ir.ArrayType(isa.BYTE, array.nbytes)
        variable = ir.GlobalVariable(module, kind, name)
        variable.initializer = ir.Constant(kind, bytearray(array.tobytes()))
        return variable

    rows = shape.blocks * 16
    packed = data("packed", dot.pack(case.matrix, shape.blocks, shape.planes, one))
    kept_q, expected = data("q", q), data("expected", case.expected)
    out = data("out", np.zeros((shape.rows, rows), np.int32))
    start = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "_start")
    builder = ir.IRBuilder(start.append_basic_block())
    packed, kept_q, out, expected = (builder.bitcast(p, isa.BYTE.as_pointer()) for p in (packed, kept_q, out, expected))
    sizes = SIZE(q.strides[0]), SIZE(q.shape[1] // 2), SIZE(width // one.group)
    builder.call(module.get_global("sums"), [packed, kept_q, *sizes, out])
    wrong = SIZE(0)
    for k in range(shape.rows * rows):
        pair = [
            builder.load(builder.bitcast(builder.gep(p, [SIZE(4 * k)]), isa.WORD.as_pointer())) for p in (out, expected)
        ]
        wrong = builder.add(wrong, builder.zext(builder.icmp_signed("!=", *pair), SIZE))
    status = builder.select(builder.icmp_signed("<", wrong, SIZE(99)), wrong, SIZE(99))
    leave = ir.Function(module, ir.FunctionType(ir.VoidType(), [SIZE]), "leave")
    builder.call(leave, [status])
    builder.unreachable()
    return module


@pytest.mark.skipif(not all(TOOLS), reason="needs qemu-user-static and binutils-aarch64-linux-gnu")
@pytest.mark.parametrize("target", [t for t in TARGETS if t.triple == ARM], ids=lambda target: target.cpu)
def test_sums_on_emulated_arm(target: Target, tmp_path: Path) -> None:
    emulator, assembler, linker = map(str, TOOLS)
    machine = machine_for(ARM, target.cpu)
    for shape in shapes_of(target.one):
        for width, seed in ((4, 1), (8, 2), (64, 0), (64, 1), (512, 0)):
            module = compiled(program_of(target.one, shape, width, seed), ARM, machine)
            (tmp_path / "case.s").write_text(machine.emit_assembly(module) + LEAVE)
            for command in (
                [assembler, "-march=armv8.2-a+dotprod", "-o", "case.o", "case.s"],
                [linker, "-static", "-o", "case", "case.o"],
            ):
                subprocess.run(command, cwd=tmp_path, check=True)
            done = subprocess.run([emulator, "-cpu", target.cpu, tmp_path / "case"], check=False)
            assert done.returncode == 0, (shape, width, seed)
