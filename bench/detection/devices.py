"""How many faults of simulated devices the shipped bundles find, how late, and how often they cry wolf.

    python -m bench.detection.devices [--weights weights] [--devices 3] [--rows 20000]

For each device kind, fault kind and channel, ``--devices`` devices that no bundle has seen get the fault after 400
samples; an alert from its start to 40 samples after its end finds it. False alerts are counted on ``--rows``
normal samples of as many devices, from the current hour of the day on.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle, read
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import ACTIVE, START, START_END, Results
from firmware_sim import FAULT_KINDS, KINDS, Device, Fault
from firmware_sim.plan import draw_duration_s, draw_fault

BEFORE, AFTER = 400, 40  # samples
START_TIME = 1_763_640_000.0


def samples(device: Device, rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times (n,) and values (n, C) of a device; it may be silent for some of the rows."""
    t, x = [], []
    for _ in range(rows):
        elapsed = device.elapsed_s
        values = device.sample()
        if values is not None:
            t.append(START_TIME + elapsed)
            x.append(list(values.values()))
    return np.array(t), np.array(x)


def run(bundle: Bundle, t: NDArray[np.float64], x: NDArray[np.float64]) -> Results:
    """Return what a fresh row makes of a device's samples."""
    return Engine(bundle.weights, 1).advance(np.zeros(len(t), np.int64), t, np.ascontiguousarray(x))


def starts(results: Results) -> NDArray[np.int64]:
    """Return the samples at which an alert started."""
    return np.flatnonzero((results.phase == START) | (results.phase == START_END))


def delays(bundle: Bundle, kind: str, fault_kind: str, channel: str | None, devices: int) -> Iterator[float | None]:
    """Yield, for each device, how many samples after the fault's start the first alert came; None if it did not."""
    model = KINDS[kind]
    for seed in range(devices):
        rng = Random(f"{kind}{fault_kind}{channel}{seed}")
        duration = draw_duration_s(fault_kind, model, 1.0, rng)
        drawn = draw_fault(fault_kind, model, BEFORE * model.period_s, duration, rng)
        fault = Fault(drawn.kind, channel, drawn.start_s, drawn.duration_s, drawn.magnitude)
        device = Device(kind, f"bench-{seed}", [fault], START_TIME % 86_400)
        t, x = samples(device, BEFORE + int(duration / model.period_s) + AFTER)
        first = START_TIME + fault.start_s
        found = [float(t[k]) for k in starts(run(bundle, t, x)) if t[k] >= first]
        yield (found[0] - first) / model.period_s if found else None


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kind", nargs="*", default=list(KINDS))
    args = parser.parse_args()
    for kind in args.kind:
        bundle = read(args.weights / f"{kind}.safetensors")
        false = rows_on = 0
        for seed in range(args.devices):
            t, x = samples(Device(kind, f"normal-{seed}", [], START_TIME % 86_400), args.rows)
            results = run(bundle, t, x)
            false += len(starts(results))
            rows_on += int(((results.phase == START) | (results.phase == ACTIVE)).sum())
        days = args.devices * args.rows * KINDS[kind].period_s / 86_400
        total = args.devices * args.rows
        print(f"{kind}: {false} alerts, {100 * rows_on / total:.1f} % of {total} normal samples ({days:.1f} days)")
        for fault_kind in FAULT_KINDS:
            channels = [None] if fault_kind == "dropout" else [c.name for c in KINDS[kind].channels]
            for channel in channels:
                all_delays = list(delays(bundle, kind, fault_kind, channel, args.devices))
                found = [d for d in all_delays if d is not None]
                late = f"{statistics.median(found):5.0f}" if found else "    -"
                print(f"   {fault_kind:12s} {channel or '':14s} {len(found)}/{len(all_delays)}  {late} samples")


if __name__ == "__main__":
    main()
