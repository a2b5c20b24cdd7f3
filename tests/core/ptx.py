"""What the CUDA compiler makes of the kernels, without a device: ``python -m tests.core.ptx 9.0`` prints it as JSON."""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda, typeof, types
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm

from edge_lstm.core.cuda_kernels import Batch, advance_kernel, silent, step_kernel
from edge_lstm.core.cuda_layers import advance_layers
from edge_lstm.core.cuda_pack import pack
from edge_lstm.core.layers import new_rooms
from edge_lstm.core.layers import pack as pack_layers
from edge_lstm.core.network import as_layers
from edge_lstm.core.table import new_results, new_scratch, new_state
from tests.bundles import random_bundle

INSTRUCTION = re.compile(r"^\s+(?:@!?%p\d+\s+)?([a-z][a-z0-9_.]+)", re.M)
FLOATS = re.compile(r"(add|sub|mul|fma|div|sqrt|rcp|neg|abs|cvt)\.[a-z0-9.]*f(32|64)")


def ptxas() -> Path | None:
    """Return NVIDIA's assembler if its wheel is installed."""
    spec = find_spec("nvidia")
    places = [Path(place) / "cuda_nvcc/bin/ptxas" for place in (spec.submodule_search_locations or ())] if spec else []
    return next((place for place in places if place.exists()), None)


def compiled(kernel: Callable[..., None], arguments: tuple[Any, ...], cc: tuple[int, int], contract: bool) -> str:
    """Return the PTX of a kernel; ``contract`` as numba-cuda does it, or with fused multiply-add forbidden."""
    compile_ir = nvvm.compile_ir
    if not contract:
        nvvm.compile_ir = lambda code, **options: compile_ir(code, fma=False, **options)
    try:
        return cuda.compile_ptx(kernel, types.void(*map(typeof, arguments)), cc=cc)[0]  # type: ignore[no-any-return]
    finally:
        nvvm.compile_ir = compile_ir


def operations(ptx: str) -> dict[str, int]:
    """Count the arithmetic of floats, whatever the rounding is called."""
    found = (one.replace(".rn", "") for one in INSTRUCTION.findall(ptx) if FLOATS.match(one))
    return dict(sorted(Counter(found).items()))


def assembled(ptx: str, cc: tuple[int, int], fmad: str) -> tuple[bytes, str]:
    """Return machine code and what the assembler said of it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        command = [str(ptxas()), f"-arch=sm_{cc[0]}{cc[1]}", "-v", f"-fmad={fmad}", str(source), "-o", str(target)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return target.read_bytes(), said


def facts(kernel: Any, arguments: tuple[Any, ...], cc: tuple[int, int]) -> dict[str, Any]:
    """Return what matters of a kernel."""
    ptx = compiled(kernel.py_func, arguments, cc, True)
    found: dict[str, Any] = {
        "instructions": dict(Counter(INSTRUCTION.findall(ptx))),
        "operations": operations(ptx),
        "operations_uncontracted": operations(compiled(kernel.py_func, arguments, cc, False)),
        "link_time_optimization": kernel.targetoptions["lto"],
        "local": ptx.count(".local"),
        "variable_extremes": len(re.findall(r"(?:max|min)\.f\d+\s+%\w+, %\w+, %", ptx)),
        "parameter_bytes": parameter_bytes(ptx),
    }
    if ptxas():
        (code, said), (apart, _) = assembled(ptx, cc, "true"), assembled(ptx, cc, "false")
        spilled = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", said)
        registers = re.search(r"Used (\d+) registers", said)
        found["same_code_without_fmad"] = code == apart
        found["spilled"] = sum(map(int, spilled.groups())) if spilled else -1
        found["registers"] = int(registers[1]) if registers else -1
    return found


def parameter_bytes(ptx: str) -> int:
    """Return the size of the parameters."""
    sizes = {"8": 1, "16": 2, "32": 4, "64": 8}
    return sum(sizes[bits] for bits in re.findall(r"^\s*\.param \.[a-z](\d+)", ptx, re.M))


def kernels(judge: str) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Return all kernels with arguments of the right types."""
    weights = random_bundle(judge, channels=8, hidden=64).weights
    n, channels = 4, len(weights.norms.mean)
    network, state = pack(weights.network), new_state(n, weights)
    ints, floats = np.zeros(n, np.int64), np.zeros(n)
    scratch = new_scratch(n, weights)
    advance = (
        network, weights.norms, state,
        Batch(ints, ints, ints, ints, floats, np.zeros((n, channels))), n, 64, 0.0, 1.0,
        scratch, new_results(n, channels),
    )  # fmt: skip
    u = np.zeros((n, 8), np.float32)
    any_layers = as_layers(weights.network)
    by_rows = (*advance[1:4], n, 0.0, 1.0, scratch, new_rooms(any_layers, n), advance[-1])
    return {
        "advance": (advance_kernel(True), advance),
        "advance_global": (advance_kernel(False), advance),
        "advance_layers": (advance_layers, (pack_layers(any_layers), *by_rows)),
        "step": (step_kernel(True), (network, state.h, state.c, u, u, 64)),
        "silent": (silent, (state, n, 0.0, 0.0, np.zeros(n, np.int8))),
        "contracted": (cuda.jit(contracted), (floats, floats)),
    }


def contracted(a: Any, b: Any) -> None:
    """What must not happen, to see that it would be seen."""
    a[0] = a[0] * b[0] + b[1]


def main() -> None:
    """Print the facts for the compute capability that the command line names."""
    cc = tuple(map(int, sys.argv[1].split(".")))
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)  # it is asked before compiling
    print(json.dumps({name: facts(*kernel, cc) for name, kernel in kernels("fitted").items()}))  # noqa: T201


if __name__ == "__main__":
    main()
