"""The same bits un-jitted, under the CUDA simulator, and with bounds checks; each in a process of its own."""

import os
import platform
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


def bits(selection: str, **environment: str) -> str:
    """Run tests of ``test_bits.py``; return pytest's summary."""
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core/test_bits.py", "-k", selection]
    return run(arguments, **environment)


CUDA = """
import msgspec
import numpy as np
from numba import config
from edge_lstm.core.cuda import CudaTable
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import END, OUTCOMES, PHASES, QUALITIES, REASONS, SCORED, START, START_END
from tests.bundles import hostile_stream, random_bundle
from tests.reference import Reference

assert config.ENABLE_CUDASIM
SAMPLES, ROWS, BUDGET_S = 440, 2, 1e6
for judge in ("fitted", "adaptive"):
    bundle = random_bundle(judge, channels=2, hidden=3, layers=2, warm_up=20)
    channels = len(bundle.metadata.channels)
    t, x = hostile_stream(SAMPLES, channels, 3)
    x[330:336] += 80.0
    t[400:] -= 20000.0  # the clock is set back
    rows = np.random.default_rng(0).integers(0, ROWS, SAMPLES)
    engine, device = Engine(bundle.weights, ROWS, BUDGET_S), CudaTable(bundle.weights, ROWS, BUDGET_S)
    oracles = [Reference(msgspec.to_builtins(bundle.metadata), bundle.tensors, budget_s=BUDGET_S) for _ in range(ROWS)]
    met = set()
    for block in (slice(0, 200), slice(200, 200), slice(200, 201), slice(201, SAMPLES)):
        mine = engine.advance(rows[block], t[block], x[block])
        its = device.advance(rows[block], t[block], x[block])
        for name in ("outcome", "surprise", "score", "quality", "reason", "strength", "phase", "level"):
            assert getattr(mine, name).tobytes() == getattr(its, name).tobytes(), (judge, name)
        for k in range(len(mine.outcome)):
            at = block.start + k
            expected = oracles[rows[at]].advance(float(t[at]), [float(v) for v in x[at]])
            assert OUTCOMES[its.outcome[k]] == expected.outcome, (judge, at)
            met |= {expected.outcome, expected.alert}
            if expected.outcome != "scored":
                continue
            assert mine.forecast[k].tobytes() == its.forecast[k].tobytes()
            assert its.forecast[k].tolist() == [list(f) for f in expected.forecast]
            assert its.surprise[k] == expected.surprise and its.score[k] == expected.score, (judge, at)
            assert QUALITIES[its.quality[k]] == expected.quality
            assert REASONS[its.reason[k]] == expected.reason
            assert PHASES[its.phase[k]] == expected.alert
            assert its.level[k] == expected.level
            if its.phase[k] in (START, END, START_END):
                assert mine.event[k].tobytes() == its.event[k].tobytes()
                assert mine.cause[k].tobytes() == its.cause[k].tobytes()
    state = device.snapshot()
    for name, mine, its in zip(state._fields, engine.state, state):
        assert mine.tobytes() == its.tobytes(), (judge, name)
    for row, oracle in enumerate(oracles):
        assert np.array_equal(state.h[row], oracle.h) and np.array_equal(state.c[row], oracle.c)
    assert met >= {"scored", "not_finite", "out_of_order", "start", "active", "end"}, met
print("equal")
"""


def test_unjitted_equals_the_oracle() -> None:
    assert "15 passed" in bits("random_weights or one_sample or sizes or mixture", NUMBA_DISABLE_JIT="1")


def test_cuda_kernel_equals_engine_and_oracle() -> None:
    assert run(["-c", CUDA], NUMBA_DISABLE_JIT="1", NUMBA_ENABLE_CUDASIM="1") == "equal\n"


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
    assert "15 passed" in bits("random_weights or one_sample or sizes or mixture", **cpu)


@pytest.mark.slow
def test_bounds_are_kept(tmp_path: Path) -> None:
    """Compiled anew, with a check on every index."""
    said = bits("random_weights or hostile or one_sample or sizes or mixture", NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert "17 passed" in said


@pytest.mark.slow
def test_unjitted_bounds_are_kept_on_hostile_streams() -> None:
    """NumPy checks indices; only a negative one would pass unseen."""
    assert "2 passed" in bits("hostile", NUMBA_DISABLE_JIT="1")
