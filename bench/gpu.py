"""The CUDA table against the CPU, PyTorch's LSTM and what the memory allows.

    python -m bench.gpu --json gpu.json

Says first whether the device gives the CPU's bits. Then, for 8 inputs and 64 units by default: the network's step
alone, 100,000 rows in one launch, beside the time that moving its state takes and beside ``torch.nn.LSTM`` (if PyTorch
is there); all of ``advance``, samples up and results down, beside one core of the CPU; and long blocks of samples of
few rows. Without a device it says so.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numba
import numba.cuda
import numpy as np

from bench.machine import machine, target
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import F64, I64, Weights
from tests.bundles import random_bundle, random_stream

cuda: Any = numba.cuda
Figures = dict[str, Any]
DAY_S = 86_400.0
SIZES = (1, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)


# ---- Time ----------------------------------------------------------------------------------------


@cuda.jit
def _busy(sink: Any, turns: int) -> None:
    """Keep the device busy: what is launched meanwhile waits, and then runs without the launching between."""
    x = np.uint32(sink[0])
    for _ in range(turns):
        x = np.uint32(x * np.uint32(1664525) + np.uint32(1013904223))
    sink[0] = x


def gpu_us(work: Callable[[], object], options: argparse.Namespace) -> float:
    """Return the device's time for ``work``, microseconds: the median of means of ten."""
    sink, times = cuda.to_device(np.ones(1, np.uint32)), []
    work()
    for _ in range(options.repeat):
        start, stop = cuda.event(), cuda.event()
        _busy[1, 1](sink, options.busy)
        start.record()
        for _ in range(10):
            work()
        stop.record()
        stop.synchronize()
        times.append(1e3 * start.elapsed_time(stop) / 10)
    return float(np.median(times))


def wall_us(work: Callable[[], object], options: argparse.Namespace) -> float:
    """Return the median time of ``work`` on the clock, microseconds."""
    times = []
    for _ in range(options.repeat + 1):
        start = time.perf_counter()
        work()
        times.append(1e6 * (time.perf_counter() - start))
    return float(np.median(times[1:]))


# ---- Step ----------------------------------------------------------------------------------------


def bandwidth(options: argparse.Namespace) -> float:
    """Return what copying reaches, bytes a second, read and written."""
    source = cuda.device_array(options.copy_mib << 17, np.float64)
    target = cuda.device_array_like(source)
    return 1e6 * 2 * source.nbytes / gpu_us(lambda: target.copy_to_device(source), options)


def step_alone(weights: Weights, options: argparse.Namespace) -> Figures:
    """Measure one step of all rows in one launch, for some sizes of a block."""
    from edge_lstm.core.cuda import BLOCKS, _up
    from edge_lstm.core.cuda_kernels import config, step_kernel
    from edge_lstm.core.cuda_pack import pack, plan

    rng, n, inputs = np.random.default_rng(0), options.rows, weights.network.input_size
    h = rng.uniform(-1, 1, (n, *weights.network.weight_hh.shape[::2])).astype(np.float32)
    u = rng.normal(0, 1, (n, inputs)).astype(np.float32)
    out = np.zeros((n, len(weights.network.head_bias)), np.float32)
    network = pack(weights.network)
    moved = 4 * h.nbytes + u.nbytes + out.nbytes + sum(a.nbytes for a in network if isinstance(a, np.ndarray))
    copied = bandwidth(options)
    there, arrays = _up(network), [cuda.to_device(a) for a in (h, h, u, out)]
    units = 1 if config.ENABLE_CUDASIM else cuda.get_current_device().MULTIPROCESSOR_COUNT
    taken = {}
    for threads in options.threads:
        how = plan(network, threads)
        for blocks in (BLOCKS, 2 * BLOCKS):
            grid = min(blocks * units, -(-n // how.tile))
            launch = partial(step_kernel(how.resident)[grid, threads, 0, how.shared_bytes], there, *arrays, how.tile)
            taken[f"{threads} threads, {blocks} blocks"] = gpu_us(launch, options)
    return {"rows": n, "us": min(taken.values()), "us_by_launch": taken, "bytes_moved": moved,
            "copied_bytes_per_s": copied, "floor_us": 1e6 * moved / copied}  # fmt: skip


def torch_lstm(weights: Weights, options: argparse.Namespace) -> Figures:
    """Measure a step of ``torch.nn.LSTM`` with its head, all rows in one batch."""
    if find_spec("torch") is None:
        return {"missing": "PyTorch is not installed"}
    import torch

    n, inputs, outs = options.rows, weights.network.input_size, len(weights.network.head_bias)
    hidden = weights.network.bias.shape[1] // 4
    taken = {}
    for name, kind in (("fp32", "float32"), ("tf32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16")):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        own = {"device": "cuda", "dtype": getattr(torch, kind)}
        lstm, head = torch.nn.LSTM(inputs, hidden, **own), torch.nn.Linear(hidden, outs, **own)
        u, state = torch.randn(1, n, inputs, **own), (torch.zeros(1, n, hidden, **own),) * 2

        def step(lstm: Any = lstm, head: Any = head, u: Any = u, state: Any = state) -> None:
            head(lstm(u, state)[0])

        with torch.inference_mode():
            taken[name] = gpu_us(step, options)
    return {"version": torch.__version__, "us": min(taken.values()), "us_by_type": taken}


# ---- All of advance ------------------------------------------------------------------------------


class Stream:
    """Rows that get their next samples with every call."""

    def __init__(self, table: Any, rows: int, samples: int, channels: int) -> None:
        self.table = table
        self.rows: I64 = np.repeat(np.arange(rows), samples)
        self.t: F64 = np.tile(np.arange(float(samples)), rows)
        _, pool = random_stream(8 * samples, channels)
        self._pool = [np.tile(x, (rows, 1)) for x in np.split(pool, 8)]
        self._samples, self._calls = samples, 0

    def _next(self) -> F64:
        self.t += self._samples
        self._calls += 1
        return self._pool[self._calls % 8]

    def advance(self) -> None:
        """Take one call's samples."""
        self.table.advance(self.rows, self.t, self._next(), 1.0)
        if not isinstance(self.table, Engine):
            self.table.results(len(self.rows))

    def parts(self) -> list[float]:
        """Take one call's samples on a device; return the microseconds up, there, and down."""
        from edge_lstm.core.cuda import Batch, schedule

        x = self._next()
        clock = [time.perf_counter()]
        groups = self.table._bring(Batch(*schedule(self.rows), self.t, x))
        clock.append(time.perf_counter())
        self.table._launch(groups, 1.0)
        cuda.synchronize()
        clock.append(time.perf_counter())
        self.table.results(len(self.rows))
        clock.append(time.perf_counter())
        return [1e6 * part for part in np.diff(clock)]


def whole(weights: Weights, rows: int, samples: int, threads: int, options: argparse.Namespace) -> Figures:
    """Measure a call on the device and on one core."""
    from edge_lstm.core.cuda import CudaTable

    channels, n = len(weights.norms.mean), rows * samples
    gpu = Stream(CudaTable(weights, rows, DAY_S, threads), rows, samples, channels)
    cpu = Stream(Engine(weights, rows, DAY_S), rows, samples, channels)
    gpu_us, cpu_us = wall_us(gpu.advance, options), wall_us(cpu.advance, options)
    up, there, down = np.median([gpu.parts() for _ in range(options.repeat)], axis=0).tolist()
    return {"rows": rows, "samples_per_row": samples, "threads": threads, "gpu_us": gpu_us, "up_us": up,
            "kernel_us": there, "down_us": down, "cpu_us": cpu_us, "gpu_samples_per_s": 1e6 * n / gpu_us,
            "cpu_samples_per_s": 1e6 * n / cpu_us}  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--inputs", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--busy", type=int, default=20_000_000, help="turns of the loop that the queue waits for")
    parser.add_argument("--copy-mib", type=int, default=2048)
    parser.add_argument("--bit-rows", type=int, default=150)
    parser.add_argument("--bit-samples", type=int, default=1200)
    options = parser.parse_args()
    if not cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
    figures: Figures = {"machine": machine(), "numba_cuda": cuda.__file__, "bits": []}

    def note(name: str, value: Any) -> None:
        figures[name] = value
        print(f"{name}: {json.dumps(value)}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1))

    note("device", str(getattr(cuda.get_current_device(), "name", "")))
    from bench.gpu_bits import bits

    note("bits", list(bits(options.bit_rows, options.bit_samples)))
    weights = random_bundle("fitted", options.inputs, options.hidden).weights
    note("step", step_alone(weights, options))
    note("torch", torch_lstm(weights, options))
    sweep = [whole(weights, rows, 1, 64, options) for rows in SIZES if rows <= options.rows]
    note("advance", sweep)
    note("advance_by_threads", [whole(weights, options.rows, 1, threads, options) for threads in (16, 32)])
    note("even_at_rows", next((one["rows"] for one in sweep if one["gpu_us"] < one["cpu_us"]), None))
    note("blocks", [whole(weights, rows, 100, 64, options) for rows in (1, 100, 1000) if rows <= options.rows])


if __name__ == "__main__":
    main()
