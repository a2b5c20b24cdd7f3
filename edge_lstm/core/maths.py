"""Every function that rounds, shared by all variants (docs/numerics.md, section 1).

No libm, no fastmath, no reassociation: IEEE add, multiply, divide, square root and ``fma`` are exact by definition on
every target, so these functions give the same bits on x86, Arm and CUDA, jitted or not. A product that meets a sum is
always written with ``fma``, because the CUDA compiler would fuse it anyway and the CPU's would not.
"""

import ctypes
import ctypes.util
import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from edge_lstm.core.cache import formula, intrinsic, overload
from edge_lstm.core.lanes import FLOATS, clip_lanes, fma_lanes, to_integer

_libm = ctypes.PyDLL(ctypes.util.find_library("m"))  # keeps the interpreter's lock: letting go of it costs more
_libm.fmaf.argtypes = [ctypes.c_float] * 3
_libm.fmaf.restype = ctypes.c_float
_libm.fma.argtypes = [ctypes.c_double] * 3
_libm.fma.restype = ctypes.c_double


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` with one rounding, in the width of the arguments.

    This body runs un-jitted only; jitted code gets the instruction, through the overload below.
    """
    if isinstance(a, np.float32) and isinstance(b, np.float32) and isinstance(c, np.float32):
        return np.float32(_libm.fmaf(a, b, c))
    if any(isinstance(v, np.ndarray) for v in (a, b, c)):
        return np.array([_libm.fmaf(*v) for v in np.broadcast(a, b, c)], np.float32)
    return _libm.fma(a, b, c)


@intrinsic
def _llvm_fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit ``llvm.fma`` for three equal floats."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        function = builder.module.declare_intrinsic("llvm.fma", [kind], ir.FunctionType(kind, [kind] * 3))
        return builder.call(function, args)

    return a(a, a, a), codegen


@overload(fma)
def _fma_overload(a: Any, b: Any, c: Any) -> Any:
    if FLOATS in (a, b, c):
        return lambda a, b, c: fma_lanes(a, b, c)
    if a in (types.float32, types.float64) and a == b == c:
        return lambda a, b, c: _llvm_fma(a, b, c)
    message = f"fma needs three floats of one width, got {a}, {b}, {c}"
    raise TypeError(message)


HALF = np.float32(0.5)
EIGHT = np.float32(8.0)
# Minimax fit of tanh(x) = x P(x^2) / Q(x^2) on [-8, 8]; largest error 4.2e-7 in float32.
P0 = np.float32(0.9999993443489075)
P1 = np.float32(0.12913639843463898)
P2 = np.float32(0.0029388261027634144)
P3 = np.float32(1.1310207810311113e-05)
Q0 = np.float32(1.0)
Q1 = np.float32(0.46246737241744995)
Q2 = np.float32(0.02376382052898407)
Q3 = np.float32(0.00023702824546489865)
Q4 = np.float32(2.4238366336248873e-07)

MAGIC32 = np.float32(12582912.0)  # 1.5 * 2**23: adding and subtracting it rounds to nearest even
MAGIC64 = 6755399441055744.0  # 1.5 * 2**52
LOG2E = 1.4426950408889634
LN2_HI = 6.93147180369123816490e-01  # upper bits of ln 2, so that k * LN2_HI is exact
LN2_LO = 1.90821492927058770002e-10
SQRT2 = 1.4142135623730951
LN10 = 2.302585092994046
LOG10E = 0.4342944819032518
E2, E3, E4, E5, E6 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720
E7, E8, E9, E10, E11 = 1 / 5040, 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800
L3, L5, L7, L9, L11, L13, L15, L17 = (1 / n for n in range(3, 18, 2))


@formula
def smaller(a: float, b: float) -> float:
    """Return Python's ``min(a, b)``: the first of two zeros. The CUDA compiler's takes the negative one."""
    if b < a:
        return b
    return a


@formula
def larger(a: float, b: float) -> float:
    """Return Python's ``max(a, b)``: the first of two zeros."""
    if b > a:
        return b
    return a


def clip(x: Any, low: Any, high: Any) -> Any:
    """Return ``min(max(x, low), high)``; every argument finite and of one width."""
    if isinstance(x, np.ndarray):
        return np.clip(x, low, high)
    return _clip(x, low, high)


@formula
def _clip(x: float, low: float, high: float) -> float:
    if x < low:
        return low
    if x > high:
        return high
    return x


@overload(clip)
def _clip_overload(x: Any, low: Any, high: Any) -> Any:
    if x == FLOATS:
        return lambda x, low, high: clip_lanes(x, low, high)
    return lambda x, low, high: _clip(x, low, high)


@formula
def _quotient(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return numerator and denominator of tanh(x)."""
    x = clip(x, -EIGHT, EIGHT)
    y = x * x
    p = fma(fma(fma(P3, y, P2), y, P1), y, P0)
    q = fma(fma(fma(fma(Q4, y, Q3), y, Q2), y, Q1), y, Q0)
    return x * p, q


@formula
def tanh32(x: np.float32) -> np.float32:
    """Return tanh(x) in float32, largest error 4.2e-7, never above 1."""
    p, q = _quotient(x)
    return p / q


@formula
def sigmoid32(x: np.float32) -> np.float32:
    """Return the logistic function in float32, largest error 2.4e-7."""
    return fma(HALF, tanh32(HALF * x), HALF)


@formula
def gated32(gate: np.float32, x: np.float32) -> np.float32:
    """Return ``sigmoid(gate) * tanh(x)`` with one division, largest error 6.3e-7.

    Divisions are most of what activations cost on a Raspberry Pi: a cell has three of them so, five otherwise.
    """
    p, q = _quotient(HALF * gate)
    u, v = _quotient(x)
    return (fma(HALF, p, HALF * q) * u) / (q * v)


@formula
def quantize(v: np.float32, k: np.float32) -> np.int32:
    """Return ``v * k`` rounded to the nearest even integer; ``|v * k| < 2**22``."""
    return to_integer(fma(v, k, MAGIC32) - MAGIC32)


@formula
def exp64(x: float) -> float:
    """Return e**x for x clipped to [-700, 700]; relative error below 1e-14.

    Range reduction by powers of two, then the Taylor series to 1/11!.
    """
    x = clip(x, -700.0, 700.0)
    k = fma(x, LOG2E, MAGIC64) - MAGIC64
    r = fma(-k, LN2_HI, x)
    r = fma(-k, LN2_LO, r)
    p = fma(fma(fma(fma(E11, r, E10), r, E9), r, E8), r, E7)
    p = fma(fma(fma(fma(p, r, E6), r, E5), r, E4), r, E3)
    p = fma(fma(fma(p, r, E2), r, 1.0), r, 1.0)
    return math.ldexp(p, int(k))


@formula
def log64(x: float) -> float:
    """Return ln(x) of a positive normal number; error below 1e-15 of the larger of 1 and the result.

    ``ln m = 2 atanh((m - 1) / (m + 1))``, the series to the 17th power.
    """
    m, e = math.frexp(x)  # m in [0.5, 1)
    m = 2.0 * m
    e = e - 1
    if m > SQRT2:
        m = 0.5 * m
        e = e + 1
    s = (m - 1.0) / (m + 1.0)
    y = s * s
    p = fma(fma(fma(fma(L17, y, L15), y, L13), y, L11), y, L9)
    p = fma(fma(fma(fma(p, y, L7), y, L5), y, L3), y, 1.0)
    w = 2.0 * s
    k = np.float64(e)
    return fma(k, LN2_HI, fma(w, p, k * LN2_LO))


@formula
def log10_64(x: float) -> float:
    """Return log10(x) of a positive normal number."""
    return log64(x) * LOG10E


@formula
def asinh64(x: float) -> float:
    """Return asinh(x); error below 1e-15 of the larger of 1 and the result."""
    a = abs(x)
    v = log64(a + math.sqrt(fma(a, a, 1.0)))
    if x < 0.0:
        return -v
    return v


@formula
def ewma(old: float, x: float, tau: float, n: float) -> float:
    """Return the exponential mean with memory ``tau`` that is a plain mean for its first ``tau`` values.

    Args:
        n: number of values seen, ``x`` included.
    """
    return fma(larger(1.0 / tau, 1.0 / n), x - old, old)
