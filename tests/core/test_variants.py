"""The same bits un-jitted, under the CUDA simulator, and with bounds checks; each in a process of its own."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(arguments: list[str], **environment: str) -> str:
    """Run Python; return what it said, or fail with it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=clean | {"PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def bits(selection: str, least: int, file: str = "test_bits.py", **environment: str) -> None:
    """Run tests of a file, at least so many; all must pass, and none be skipped."""
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/core/{file}", "-k", selection]
    said = run(arguments, **environment).splitlines()[-1]
    passed = re.match(r"(\d+) passed", said)
    assert passed, said
    assert int(passed[1]) >= least, said
    assert "skipped" not in said


def test_unjitted_equals_the_oracle() -> None:
    bits("random_weights or one_sample or sizes or mixture", 15, NUMBA_DISABLE_JIT="1")


@pytest.mark.slow
def test_cuda_equals_engine_and_oracle() -> None:
    bits("test", 20, "test_cuda.py", NUMBA_DISABLE_JIT="1", NUMBA_ENABLE_CUDASIM="1")


CPUS = {
    "avx-vnni": "+avx,+avx2,+fma,+avxvnni",
    "avx2": "+avx,+avx2,+fma",
    "portable": "+sse2",  # and no fma: the C library's
}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86 features are masked")
@pytest.mark.parametrize("name", CPUS)
def test_lesser_cpus_equal_the_oracle(name: str, tmp_path: Path) -> None:
    """Compiled anew for a CPU of this kind with fewer features."""
    if name == "avx-vnni" and not llvm.get_host_cpu_features().get("avxvnni"):
        pytest.skip("this CPU has no avxvnni")
    cpu = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": CPUS[name], "NUMBA_CACHE_DIR": str(tmp_path)}
    assert run(["-c", "from edge_lstm.core import dot; print(dot.ISA.name)"], **cpu) == f"{name}\n"
    bits("random_weights or one_sample or sizes or mixture", 15, **cpu)


@pytest.mark.slow
def test_bounds_are_kept(tmp_path: Path) -> None:
    """Compiled anew, with a check on every index."""
    bits(
        "random_weights or hostile or one_sample or sizes or mixture",
        17,
        NUMBA_BOUNDSCHECK="1",
        NUMBA_CACHE_DIR=str(tmp_path),
    )


@pytest.mark.slow
def test_unjitted_bounds_are_kept_on_hostile_streams() -> None:
    """NumPy checks indices; only a negative one would pass unseen."""
    bits("hostile", 2, NUMBA_DISABLE_JIT="1")
