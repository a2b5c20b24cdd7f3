"""What this machine could do at best for one LSTM step: measured here and now, in one thread.

    python -m bench.roofline

Three rates: reading weights, by the size of what is read again and again; multiplying and adding integers in
registers; activations. What they mean for a step is in ``Machine.step_us``.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from bench import vector
from edge_lstm.core.maths import tanh32

SIZES_KIB = (8, 16, 32, 64, 128, 256, 512, 1024)
ACTIVATIONS = 5  # per hidden unit and step: three sigmoids, two tanh, though two of their divisions are merged
TRIES, SECONDS = 15, 2e-3
# Weights are int8, activations int16. VNNI multiplies bytes, so it takes two instructions for a vector of weights:
# low and high byte of the activations. The AVX2 form multiplies words and takes one pass.
PASSES = {vector.VNNI: 2, vector.AVX2: 1}


@numba.njit(error_model="numpy")
def _tanh(x: NDArray[np.float32], out: NDArray[np.float32], times: int) -> None:
    for _ in range(times):
        for k in range(x.size):
            out[k] = tanh32(x[k])


def _aligned(n: int) -> NDArray[np.int8]:
    """Return ``n`` random bytes that begin at a cache line, so that no load touches two."""
    room = np.random.default_rng(0).integers(-127, 128, n + vector.BYTES).astype(np.int8)
    start = -room.ctypes.data % vector.BYTES
    return room[start : start + n]


def _fastest_s(run: Callable[[int], object]) -> float:
    """Return the shortest time of one turn of ``run(turns)``, seconds.

    The shortest, since a bound is wanted: whatever else the machine did can only have added.
    """
    run(1)
    turns, taken = 1, 0.0
    while taken < SECONDS:
        turns *= 2
        began = time.perf_counter()
        run(turns)
        taken = time.perf_counter() - began
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        run(turns)
        times.append(time.perf_counter() - began)
    return min(times) / turns


class Machine(NamedTuple):
    """Rates of one core."""

    read_gb_s: dict[int, float]  # by working set in KiB, GB/s
    dot: str | None  # the instruction that is counted
    gmac_s: float | None  # int8 multiply-adds, 10**9 a second; None where the CPU has no such instruction
    activation_ns: float  # of one tanh32

    def words(self) -> str:
        """Return the rates for a person to read."""
        read = ", ".join(f"{kib} KiB {rate:.0f}" for kib, rate in self.read_gb_s.items())
        dot = f"{self.dot}: {self.gmac_s:.0f} billion multiply-adds a second" if self.gmac_s else "no known dot product"
        return f"reading, GB/s: {read}\n{dot}\nan activation: {self.activation_ns:.2f} ns"

    def weights_us(self, kib: float) -> float:
        """Return the time to read so many KiB that are read again and again."""
        sizes, rates = zip(*self.read_gb_s.items(), strict=True)
        return 1.024 * kib / float(np.interp(kib, sizes, rates))

    def step_us(self, input_size: int, hidden_size: int, rows: int) -> float | None:
        """Return the roofline of one step of ``rows`` rows, microseconds.

        ``max(weight bytes / bandwidth, passes * 4H (I + H) * rows / peak) + 5 H * rows * activation``

        I counts up to the next multiple of 4 and H to one of 16, as vectors have it. Weights are read once a step
        however many rows there are: with many rows they stay in registers or the first cache, and dots are what binds.
        The sum says that activations wait for dots; an implementation that overlaps them may come out below.
        """
        if self.dot is None or self.gmac_s is None:
            return None
        width, hidden = -(-input_size // 4) * 4, -(-hidden_size // 16) * 16
        macs = 4 * hidden * (width + hidden)
        dots_us = PASSES[self.dot] * macs * rows / self.gmac_s / 1e3
        activations_us = ACTIVATIONS * hidden * rows * self.activation_ns / 1e3
        return max(self.weights_us(macs / 1024), dots_us) + activations_us


def measure() -> Machine:
    """Measure; takes a few seconds."""
    out = np.zeros(vector.CHAINS * vector.BYTES, np.int8)
    rates = {}
    for kib in SIZES_KIB:
        data = _aligned(kib * 1024)
        rates[kib] = data.size / _fastest_s(lambda turns, data=data: vector.read(data, out, turns)) / 1e9
    dot, gmac_s = vector.dot_instruction(), None
    if dot is not None:
        macs = vector.CHAINS * (64 if dot == vector.VNNI else 32)
        gmac_s = macs / _fastest_s(lambda turns: vector.dots(data, out, turns)) / 1e9
    x = np.linspace(-4, 4, 2048, dtype=np.float32)  # 16 KiB with the results: within any first cache
    y = np.empty_like(x)
    return Machine(rates, dot, gmac_s, _fastest_s(lambda turns: _tanh(x, y, turns)) / x.size * 1e9)


if __name__ == "__main__":
    print(measure().words())
