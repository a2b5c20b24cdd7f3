"""Draws what ``bench.memory`` measured, the last line of its records.

python -m bench.memory_plot bench/results/memory.jsonl docs/memory.svg
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.plots import INK, STYLE, label_ends

SHOWN = {
    "float64 import": ("float64", INK, (0, (2, 2))),
    "bundle, 16 bits": ("16 bits", "#e5534b", "-"),
    "bundle, 8 bits": ("8 bits", "#d29922", "-"),
    "imported qint8, 16 bits": ("qint8, imported", "#3fa35b", "-"),
    "PyTorch qint8": ("qint8, PyTorch", "#a371f7", "-"),
}  # fmt: skip
COLORS = {label: color for label, color, _ in SHOWN.values()}


def together(rows: list[list[float]]) -> Any:
    """Return root mean squares over all networks."""
    return np.sqrt(np.square(np.array(rows)).mean(0))


def lines(axis: Axes, at: list[float], found: dict[str, Any]) -> None:
    """Draw a line each, named at its right end."""
    ends = {}
    for name, (label, color, dash) in SHOWN.items():
        if name not in found:
            continue
        ends[label] = float(found[name][-1])
        axis.plot(at, found[name], color=color, ls=dash, lw=2.0 if label == "16 bits" else 1.4, marker="o", ms=3)
    axis.set_xscale("log")
    axis.set_yscale("log")
    label_ends(axis, at[-1], ends, COLORS)


def draw(record: dict[str, Any], image: Path) -> None:
    """Draw error against lag, and what becomes of the hidden state along one stream."""
    networks = [network for network in record["networks"] if "rms_by_lag" in network]
    blocks = [0, *record["blocks"]]
    middles = [(a + b) / 2 for a, b in pairwise(blocks)]
    lag = {name: together([n["rms_by_lag"][name] for n in networks]) for name in SHOWN}
    drift = {name: together([n["stream"][name]["hidden_rms"] for n in networks]) for name in SHOWN if "64" not in name}
    mpl.use("agg")
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.6), layout="constrained")
        lines(axes[0], record["lags"], lag)
        axes[0].set_title("error of a recalled value in [-1, 1] (rms)", loc="left", fontsize=9)
        axes[0].set_xlabel("samples since it was shown", fontsize=8)
        lines(axes[1], middles, drift)
        axes[1].set_title("hidden state, distance from float64 (rms)", loc="left", fontsize=9)
        axes[1].set_xlabel("samples since the stream began", fontsize=8)
        figure.savefig(image, transparent=True, metadata={"Date": None} if image.suffix == ".svg" else None, dpi=150)


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    draw(json.loads(args.records.read_text().splitlines()[-1]), args.image)


if __name__ == "__main__":
    main()
