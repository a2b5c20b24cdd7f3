"""The CUDA compiler takes the kernels, and makes of them what docs/numerics.md demands; no device is needed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ("advance", "advance_global", "advance_layers", "step", "silent")
PARAMETER_BYTES = 4096 - 256  # what every driver takes, less some room for their alignment

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(find_spec("numba_cuda") is None, reason="the extra cuda is not installed"),
]


@pytest.fixture(scope="module", params=["9.0", pytest.param("8.7", marks=pytest.mark.slow)])
def facts(request: pytest.FixtureRequest) -> Any:
    """Compile in a process of its own: what stands in for the device stays there."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.ptx", request.param],
        env=clean | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_is_contracted(facts: Any, kernel: str) -> None:
    """Neither by the compiler, which does it where it finds a product that meets a sum, nor by the assembler."""
    assert facts[kernel]["operations"] == facts[kernel]["operations_uncontracted"]
    assert facts[kernel].get("same_code_without_fmad", True)
    assert not facts[kernel]["link_time_optimization"]  # else a third one would write the code


def test_contraction_would_be_seen(facts: Any) -> None:
    assert facts["contracted"]["operations"] != facts["contracted"]["operations_uncontracted"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_arithmetic_is_exact(facts: Any, kernel: str) -> None:
    names = facts[kernel]["instructions"]
    assert not [name for name in names if {"approx", "full", "ftz"} & set(name.split("."))]
    assert not [name for name in names if name.startswith("call")]  # a library's function
    divisions = [name for name in names if name.startswith(("div", "rcp", "sqrt", "fma")) and ".f" in name]
    assert all(".rn." in name for name in divisions)
    assert not facts[kernel]["variable_extremes"]  # the smaller of two zeros is not Python's


def test_steps_multiply_integers_by_four(facts: Any) -> None:
    for kernel in ("advance", "advance_global", "step"):
        names = facts[kernel]["instructions"]
        assert names["dp2a.lo.s32.s32"] == names["dp2a.hi.s32.s32"] >= 64


@pytest.mark.parametrize("kernel", KERNELS)
def test_everything_stays_in_registers(facts: Any, kernel: str) -> None:
    assert facts[kernel]["local"] == 0
    assert facts[kernel].get("spilled", 0) == 0
    assert facts[kernel]["parameter_bytes"] <= PARAMETER_BYTES
