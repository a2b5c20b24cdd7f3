"""How long until the first score, and what a stream costs in memory.

    scripts/bench start --json FILE

Every start is a process of its own. Cold: with an empty cache, as the very first; warm: as every other.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.machine import ROOT, machine, target

BUNDLE = str(ROOT / "weights" / "universal.safetensors")
WARM, COLD = 15, 2
MIB = 2**20

FIRST_SCORE = """
import resource, sys, time
import edge_lstm
imported = time.time()
detector = edge_lstm.Detector.load(sys.argv[1])
detector.score_one(20.0)
scored = time.time()
pages = int(open("/proc/self/statm").read().split()[1])
print(imported, scored, pages * resource.getpagesize(), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

STREAMS = """
import resource, sys
import numpy as np
from edge_lstm.bundle import read
from edge_lstm.lane import Lane, Settings
from edge_lstm.messages import Sample

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

bundle = read(sys.argv[1])
lane = Lane(bundle, Settings())
channel = bundle.metadata.channel_names[0]

def hear(first, n):  # so long that every part of a row is in use
    for t in range(60):
        for k in range(first, first + n):
            lane.push(Sample(f"plant/sensor-{k:05}/temperature", 1.0 + t, {channel: 20.5 + t % 7}))
            if k % 256 == 255:
                lane.flush(1.0 + t)

hear(0, 1024)
before = rss()
hear(1024, 8192 - 1024)
print((rss() - before) / (8192 - 1024), sum(array[0].nbytes for array in lane.engine.state))
"""


def figures(code: str, **environment: str) -> list[float]:
    """Run code in a new process; return the numbers that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, BUNDLE],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [float(word) for word in done.stdout.split()]


def starts(times: int, *, cold: bool) -> dict[str, float]:
    """Return the medians of so many starts."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as empty:
            environment = {"NUMBA_CACHE_DIR": empty} if cold else {}
            began = time.time()
            imported, scored, rss, peak = figures(FIRST_SCORE, **environment)
        found.append((imported - began, scored - began, rss / MIB, peak / MIB))
    names = ("import_s", "first_score_s", "rss_mib", "peak_mib")
    return {
        name: round(statistics.median(values), 3) for name, values in zip(names, zip(*found, strict=True), strict=True)
    }


def measure() -> dict[str, Any]:
    """Return all figures."""
    starts(1, cold=False)  # fills the cache
    grown, state = figures(STREAMS)
    return {
        "warm": starts(WARM, cold=False),
        "cold": starts(COLD, cold=True),
        "stream_bytes": round(grown),
        "state_bytes": round(state),
        "machine": machine(),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target, help="where the record goes")
    args = parser.parse_args()
    record = measure()
    for kind in ("warm", "cold"):
        one = record[kind]
        print(
            f"{kind}: first score {one['first_score_s']:.2f} s after the process began "
            f"(import {one['import_s']:.2f} s), then {one['rss_mib']:.0f} MiB, peak {one['peak_mib']:.0f} MiB"
        )
    print(f"a stream: {record['stream_bytes']} bytes, {record['state_bytes']} of them its row")
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
