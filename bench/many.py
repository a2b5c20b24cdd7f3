"""Many samples in one call: a long recording of one stream, and a sample of each of many streams, by threads.

    scripts/bench many --json FILE

The roofline is that of the network's step alone; the judge's float64 formulas, which follow one another, are the rest.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.machine import ROOT, machine, target
from bench.ours import bundle_of
from bench.roofline import measure
from edge_lstm import Detector
from edge_lstm.core.engine import Engine

RECORDING = 1_000_000
CASES = ((8, 64), (8, 128))
ROWS = (1000, 10_000)
THREADS = [n for n in (1, 2, 4) if n <= max(2, os.cpu_count() or 1)]
ROUNDS = 60


def seconds(work: Callable[[], object]) -> float:
    """Return the time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def recording() -> dict[str, Any]:
    """Score a recording of one channel with the universal bundle."""
    detector = Detector.load(ROOT / "weights" / "universal.safetensors")
    network = detector.bundle.weights.network
    x = np.sin(np.arange(RECORDING) / 50) + np.random.default_rng(0).normal(0, 0.1, RECORDING)
    detector.score_many(x[:1000])
    us = 1e6 * float(np.median([seconds(lambda: detector.score_many(x)) for _ in range(7)])) / RECORDING
    floor = measure().step_us(network.input_size, network.weight_hh.shape[2], 1)
    return {"samples_per_s": 1e6 / us, "us": us, "network_roofline_us": floor, "over_roofline": floor and us / floor}


def streams(input_size: int, hidden_size: int, rows: int) -> dict[str, Any]:
    """Advance so many streams by a sample each, with one thread and with more, in turns."""
    weights = bundle_of(input_size, hidden_size, 16).weights
    engines = {n: Engine(weights, rows, threads=n) for n in THREADS}
    places, x = np.arange(rows), np.random.default_rng(0).normal(size=(rows, input_size))
    taken: dict[int, list[float]] = {n: [] for n in THREADS}
    for k in range(ROUNDS):
        t = np.full(rows, float(k))
        for n, engine in engines.items():
            taken[n].append(seconds(lambda engine=engine, t=t: engine.advance(places, t, x)))
    us = {n: 1e6 * float(np.median(times[5:])) for n, times in taken.items()}
    return {"case": f"{input_size}/{hidden_size}", "rows": rows, "us": us, "two_threads": us[1] / us[2]}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target, help="where the record goes")
    args = parser.parse_args()
    one = recording()
    print(f"a recording: {one['us']:.3f} us a sample, {one['samples_per_s'] / 1e6:.2f} million a second", end="")
    print(f"; {one['over_roofline']:.1f} times the roofline of its network" if one["over_roofline"] else "")
    many = []
    for case in CASES:
        for rows in ROWS:
            many.append(streams(*case, rows))
            found = ", ".join(f"{n} threads {us:.0f} us" for n, us in many[-1]["us"].items())
            print(f"{many[-1]['case']}, {rows} streams: {found}; two threads {many[-1]['two_threads']:.2f} of one")
    if args.json:
        args.json.write_text(json.dumps({"recording": one, "streams": many, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
