"""The formulas that round: against NumPy and exact fractions, jitted and not."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from edge_lstm.core import maths

ROOT = Path(__file__).resolve().parents[2]
F32, F64 = np.float32, np.float64
EPSILON = 2.0**-52


@njit
def over(function: Callable[[float], float], x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for k in range(len(x)):
        out[k] = function(x[k])


@njit
def fma_over(a: NDArray[F64], b: NDArray[F64], c: NDArray[F64], out: NDArray[F64]) -> None:
    for k in range(len(a)):
        out[k] = maths.fma(a[k], b[k], c[k])


@njit
def gated_over(gate: NDArray[F32], x: NDArray[F32], out: NDArray[F32]) -> None:
    for k in range(len(x)):
        out[k] = maths.gated32(gate[k], x[k])


def values_of(function: Callable[[float], float], x: NDArray) -> NDArray:
    out = np.empty_like(x)
    over(function, x, out)
    return out


def test_tanh32_error_and_bound() -> None:
    x = np.concatenate([np.linspace(-9, 9, 1_000_001), np.random.default_rng(0).normal(0, 2, 500_000)]).astype(F32)
    y = values_of(maths.tanh32, x)
    worst = np.abs(y.astype(F64) - np.tanh(x.astype(F64))).max()
    assert 3e-7 < worst <= 4.2e-7  # what the docstring and docs/numerics.md say
    assert np.abs(y).max() <= 1.0


def test_tanh32_points() -> None:
    assert values_of(maths.tanh32, np.array([0.0], F32))[0] == 0.0
    x = np.geomspace(1e-30, 1e30, 4001).astype(F32)
    y = values_of(maths.tanh32, x)
    assert np.array_equal(values_of(maths.tanh32, -x), -y)
    assert (y[x > 8] == y[-1]).all()
    assert y[-1] > 0.9999995
    extremes = np.array([3.4e38, -3.4e38, 1e-45, -1e-45], F32)
    assert np.isfinite(values_of(maths.tanh32, extremes)).all()


def test_sigmoid32() -> None:
    x = np.linspace(-20, 20, 400_001).astype(F32)
    y = values_of(maths.sigmoid32, x)
    assert np.abs(y.astype(F64) - 1.0 / (1.0 + np.exp(-x.astype(F64)))).max() <= 2.4e-7
    assert values_of(maths.sigmoid32, np.array([0.0], F32))[0] == 0.5
    assert y.min() >= 0.0
    assert y.max() <= 1.0


def test_gated32() -> None:
    rng = np.random.default_rng(0)
    gate = np.concatenate(
        [rng.normal(0, 3, 1_000_000), rng.uniform(-20, 20, 500_000), [0, 0, 100, 3e38, -3e38]]
    ).astype(F32)
    x = np.concatenate([rng.normal(0, 2, 1_000_000), rng.uniform(-9, 9, 500_000), [0, 1, 100, 3e38, 3e38]]).astype(F32)
    y = np.empty_like(x)
    gated_over(gate, x, y)
    exact = np.tanh(x.astype(F64)) / (1.0 + np.exp(-gate.clip(-50, 50).astype(F64)))
    worst = np.abs(y - exact).max()
    assert 5e-7 < worst <= 6.3e-7  # what the docstring and docs/numerics.md say
    assert np.abs(y).max() <= 1.0
    assert y[-5] == 0.0  # units that pad a row stay at rest


def test_exp64() -> None:
    x = np.concatenate([np.linspace(-700, 700, 200_001), np.linspace(-1, 1, 100_001)])
    y = values_of(maths.exp64, x)
    assert np.abs(y / np.exp(x) - 1.0).max() < 1e-14
    points = np.array([0.0, -0.0, 800.0, -800.0, 1e308, -1e308])
    one, same, high, low, higher, lower = values_of(maths.exp64, points).tolist()
    assert (one, same) == (1.0, 1.0)
    assert high == higher == values_of(maths.exp64, np.array([700.0]))[0]
    assert low == lower == values_of(maths.exp64, np.array([-700.0]))[0]
    assert low > 0.0


def test_log64() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([np.exp(rng.uniform(-700, 700, 200_000)), rng.uniform(0.5, 2.0, 200_000)])
    y = values_of(maths.log64, x)
    exact = np.log(x)
    assert (np.abs(y - exact) / np.maximum(1.0, np.abs(exact))).max() < 1e-15
    points = np.array([1.0, 2.0, 0.5, 2.0**-1022, 1.7976931348623157e308, math.nextafter(1.0, 2.0)])
    found = values_of(maths.log64, points).tolist()
    assert found[0] == 0.0
    assert found[1] == math.log(2.0)
    assert found[2] == -math.log(2.0)
    assert found[3] == pytest.approx(math.log(2.0**-1022), rel=1e-15)
    assert found[4] == pytest.approx(math.log(1.7976931348623157e308), rel=1e-15)
    assert found[5] == pytest.approx(EPSILON, rel=1e-12)


def test_log10_64() -> None:
    powers = 10.0 ** np.arange(-15, 16)
    assert np.abs(values_of(maths.log10_64, powers) - np.arange(-15, 16)).max() < 4e-15


def test_asinh64() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(0, 1, 100_000), np.exp(rng.uniform(-20, 300, 100_000)), [0.0]])
    y = values_of(maths.asinh64, x)
    # small arguments lose relative accuracy in 1 + x, so the bound is absolute below 1
    assert (np.abs(y - np.arcsinh(x)) / np.maximum(1.0, np.abs(y))).max() < 1e-15
    assert np.array_equal(values_of(maths.asinh64, -x), -y)
    assert y[-1] == 0.0


def exact_fma(a: float, b: float, c: float) -> float:
    """Round the exact result once; Python's division of integers rounds to nearest even."""
    total = Fraction(a) * Fraction(b) + Fraction(c)
    return total.numerator / total.denominator


def hard_triples(rng: np.random.Generator, count: int) -> NDArray[F64]:
    """Return factors and addends whose sum cancels, ties or rounds where two roundings would differ."""
    a = rng.normal(0, 1, count) * 2.0 ** rng.integers(-40, 40, count)
    b = rng.normal(0, 1, count) * 2.0 ** rng.integers(-40, 40, count)
    c = -(a * b) * (1.0 + EPSILON * rng.integers(-3, 4, count))
    c[::3] = rng.normal(0, 1, len(c[::3])) * 2.0 ** rng.integers(-60, 60, len(c[::3]))
    return np.stack([a, b, c])


def test_fma64_is_exact() -> None:
    a, b, c = hard_triples(np.random.default_rng(3), 3000)
    out = np.empty_like(a)
    fma_over(a, b, c, out)
    expected = [exact_fma(*triple) for triple in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)]
    assert out.tolist() == expected
    twice = a * b + c
    assert (twice != out).mean() > 0.3  # the cases tell one rounding from two
    assert [maths.fma(*triple) for triple in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)] == expected


def test_fma32_is_exact() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, (2, 3000)).astype(F32)
    c = (-(a.astype(F64) * b) * (1 + 2.0**-23 * rng.integers(-3, 4, 3000))).astype(F32)
    out = np.empty_like(a)
    fma_over(a, b, c, out)
    assert out.dtype == F32
    for k in range(3000):
        # the product is exact in float64 and the sum of these cancels, so a Fraction to float64 to float32 is checked
        total = Fraction(float(a[k])) * Fraction(float(b[k])) + Fraction(float(c[k]))
        assert out[k] == nearest32(total), k
        assert maths.fma(a[k], b[k], c[k]) == out[k]
        assert isinstance(maths.fma(a[k], b[k], c[k]), F32)


def nearest32(total: Fraction) -> np.float32:
    """Return the float32 nearest to a fraction, the even one on a tie."""
    guess = F32(total.numerator / total.denominator)
    around = [np.nextafter(guess, F32(-np.inf)), guess, np.nextafter(guess, F32(np.inf))]
    return min(around, key=lambda v: (abs(Fraction(float(v)) - total), int(v.view(np.uint32)) & 1))


def test_fma_refuses_mixed_widths() -> None:
    @njit
    def mixed(a: float, b: float) -> float:
        return maths.fma(a, b, b)

    with pytest.raises(Exception, match="three floats of one width"):
        mixed(F32(1.0), 2.0)


def test_quantize_rounds_half_to_even() -> None:
    @njit
    def quantized(v: NDArray[F32], k: np.float32, out: NDArray[np.int32]) -> None:
        for i in range(len(v)):
            out[i] = maths.quantize(v[i], k)

    halves = np.arange(-40_000.5, 40_000.5, 0.5, dtype=F32)
    out = np.empty(len(halves), np.int32)
    quantized(halves, F32(1.0), out)
    assert np.array_equal(out, np.rint(halves).astype(np.int32))
    assert set((out[halves % 1 == 0.5] % 2).tolist()) == {0}
    for steps in (127, 32767):
        h = np.concatenate([np.random.default_rng(5).uniform(-1, 1, 200_000), [-1, -0.0, 0, 1]]).astype(F32)
        out = np.empty(len(h), np.int32)
        quantized(h, F32(steps), out)
        # the product of two float32 is exact in float64, so this rounds once as well
        assert np.array_equal(out, np.rint(h.astype(F64) * steps).astype(np.int32))
        assert abs(out).max() == steps


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 1000])
def test_ewma_is_a_mean_while_young(n: int) -> None:
    x = np.random.default_rng(6).normal(5, 1, n).tolist()
    mean = 0.0
    for k, value in enumerate(x, 1):
        mean = maths.ewma(mean, value, 10.0, float(k))
    if n <= 10:
        assert mean == pytest.approx(sum(x) / n, rel=1e-13)
    else:
        assert mean == pytest.approx(0.1 * x[-1] + 0.9 * mean_before(x), rel=1e-13)


def mean_before(x: list[float]) -> float:
    mean = 0.0
    for k, value in enumerate(x[:-1], 1):
        weight = max(0.1, 1.0 / k)
        mean += weight * (value - mean)
    return mean


UNJITTED = """
import sys
import numpy as np
from edge_lstm.core import maths
arrays = np.load(sys.argv[1])
out = {}
for name in ("tanh32", "sigmoid32"):
    out[name] = np.array([getattr(maths, name)(v) for v in arrays["f32"]], np.float32)
out["gated32"] = np.array([maths.gated32(v, w) for v, w in zip(arrays["f32"], arrays["f32"][::-1])], np.float32)
for name in ("exp64", "log64", "log10_64", "asinh64"):
    x = arrays["positive"] if name.startswith("log") else arrays["f64"]
    out[name] = np.array([getattr(maths, name)(v) for v in x.tolist()])
assert not hasattr(maths.tanh32, "py_func")
np.savez(sys.argv[2], **out)
"""


def test_jitted_equals_unjitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    arrays = {
        "f32": np.concatenate([rng.normal(0, 4, 3000), rng.uniform(-1e-6, 1e-6, 500), [0, 8, -8, 1e30]]).astype(F32),
        "f64": np.concatenate([rng.normal(0, 3, 3000), rng.uniform(-800, 800, 1000), [0.0, 1e150, -1e150]]),
        "positive": np.exp(np.concatenate([rng.uniform(-700, 700, 2000), rng.normal(0, 1, 2000), [0.0]])),
    }
    np.savez(tmp_path / "in.npz", **arrays)
    command = [sys.executable, "-c", UNJITTED, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"NUMBA_DISABLE_JIT": "1"})
    plain = np.load(tmp_path / "out.npz")
    assert len(plain.files) == 7
    gated = np.empty_like(arrays["f32"])
    gated_over(arrays["f32"], arrays["f32"][::-1].copy(), gated)
    assert gated.tobytes() == plain["gated32"].tobytes()
    for name in set(plain.files) - {"gated32"}:
        kind = "f32" if name.endswith("32") else ("positive" if name.startswith("log") else "f64")
        assert values_of(getattr(maths, name), arrays[kind]).tobytes() == plain[name].tobytes(), name
