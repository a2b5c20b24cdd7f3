"""Draws what ``bench.step`` and ``bench.quantization`` measured.

    python -m bench.plots step.json cases.svg      # microseconds per step, ours and peers, case by case
    python -m bench.plots sweep.json sweep.svg     # against the hidden size; records of bench.step --sweep
    python -m bench.plots quantization.json drift.svg    # forecasts beside float64 ones, step by step

Colors and the transparent ground suit light pages and dark ones. Of each library the fastest variant is drawn; of
LiteRT that is a cell written for it by hand.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK = "#7d8590"
OURS, LOOP, ROOFLINE = "edge-lstm", "edge-lstm, no Python call", "roofline"
COLORS = {
    OURS: "#e5534b",
    LOOP: "#e5534b",
    "LiteRT": "#d29922",
    "ONNX Runtime": "#3f8fe0",
    "PyTorch": "#a371f7",
    "NumPy": "#3fa35b",
    ROOFLINE: INK,
}
DRIFTS = {  # as bench.quantization names them
    "int8, 8-bit activations": ("#d29922", 1.8),
    "int8, 16-bit activations": ("#e5534b", 3.6),
    "int8, 16-bit activations, noise": ("#3f8fe0", 1.2),
}
DOTS = (0, (1, 1.5))
STYLE = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "edge-lstm",  # the same figures give the same file
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.family": "sans-serif",
}


def figures(record: dict[str, Any]) -> dict[str, float]:
    """Return microseconds of a step by what is drawn; of each library the fastest variant."""
    found = {OURS: record["ours_us"]}
    if record["rows"] == 1:
        found[LOOP] = record["ours_loop_us"]
    for name, us in record["peers"].items():
        library = next(known for known in COLORS if name.startswith(known))
        found[library] = min(us, found.get(library, us))
    if record["roofline_us"] is not None:
        found[ROOFLINE] = record["roofline_us"]
    return found


def text(us: float) -> str:
    """Return a time with two figures and its unit."""
    value, unit = (us * 1e3, "ns") if us < 0.999 else (us, "µs") if us < 999 else (us / 1e3, "ms")
    return f"{value:.{0 if value >= 10 else 1}f}".removesuffix(".0") + f" {unit}"


def mark(name: str) -> dict[str, Any]:
    """Return how a figure's mark looks."""
    look: dict[str, Any] = {"ls": "", "marker": "o", "ms": 7, "mew": 1.5, "mec": COLORS[name], "mfc": COLORS[name]}
    if name == ROOFLINE:
        look |= {"marker": "|", "ms": 12}
    if name == LOOP:
        look["mfc"] = "none"
    return look


def dots(axis: Axes, records: list[dict[str, Any]]) -> None:
    """Draw a line of dots for each case."""
    for y, record in enumerate(records):
        found = figures(record)
        axis.plot([min(found.values()), max(found.values())], [y, y], color=INK, lw=0.6, alpha=0.5, zorder=1)
        for name, us in found.items():
            axis.plot(us, y, zorder=3 if name == OURS else 2, **mark(name))
        axis.annotate(
            text(found[OURS]), (found[OURS], y), (0, 8), textcoords="offset points",
            ha="center", color=COLORS[OURS], fontsize=8,
        )  # fmt: skip
    axis.set_yticks(range(len(records)), [record["case"].replace("/", " → ") for record in records])
    axis.set_ylim(len(records) - 0.5, -0.7)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda us, _: text(us))
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    rows = records[0]["rows"]
    axis.set_title(f"one step of {rows:,} row{'s' if rows > 1 else ''}: inputs → units", loc="left", fontsize=9)
    axis.set_xlabel("time, logarithmic; less is better", fontsize=8)


def cases(records: list[dict[str, Any]]) -> Figure:
    """Draw a panel for each number of rows, inputs → hidden units downward."""
    groups = [[r for r in records if r["rows"] == rows] for rows in sorted({r["rows"] for r in records})]
    figure, axes = plt.subplots(1, len(groups), figsize=(4.6 * len(groups), 3.6), squeeze=False, layout="constrained")
    for axis, group in zip(axes[0], groups, strict=True):
        dots(axis, group)
    shown = [name for name in COLORS if any(name in figures(record) for record in records)]
    marks = [Line2D([], [], **mark(name)) for name in shown]
    columns = len(shown) if len(groups) > 1 else 4
    figure.legend(marks, shown, loc="outside upper left", ncols=columns, frameon=False, fontsize=8, handletextpad=0)
    return figure


def sweep(records: list[dict[str, Any]]) -> Figure:
    """Draw time against hidden units, one line each, named at its right end."""
    figure, axis = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    hidden = [record["hidden"] for record in records]
    ends = {}
    for name in (name for name in COLORS if name in figures(records[0])):
        us = [figures(record)[name] for record in records]
        ends[name] = us[-1]
        dash = (0, (2, 2)) if name in (ROOFLINE, LOOP) else "-"
        axis.plot(hidden, us, color=COLORS[name], ls=dash, lw=2.2 if name == OURS else 1.4, marker="o", ms=3)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda us, _: text(us))
    axis.set_xticks(hidden, [str(size) for size in hidden])
    axis.set_xlabel(f"hidden units, {records[0]['input']} inputs")
    axis.set_title("one step of one row", loc="left", fontsize=9)
    label_ends(axis, hidden[-1], ends)
    return figure


def label_ends(axis: Axes, x: float, ends: dict[str, float], colors: dict[str, str] = COLORS) -> None:
    """Write the names beside the ends of their lines, moved down where they would meet."""
    highest = float("inf")
    for name, y in sorted(ends.items(), key=lambda item: -item[1]):
        highest = min(y, highest / 1.4)
        axis.annotate(
            name, (x, highest), (7, 0), textcoords="offset points", va="center", color=colors[name], fontsize=8
        )


def drifts(systems: list[dict[str, Any]]) -> Figure:
    """Draw how far a bundle's forecasts are from those of its float64 network, a panel for each system."""
    figure, axes = plt.subplots(
        1, len(systems), figsize=(4.6 * len(systems), 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, system in zip(axes[0], systems, strict=True):
        for name, (color, width) in DRIFTS.items():
            found = system["drift"][name]
            steps = found["window"] * (np.arange(len(found["rms"])) + 0.5) / 1e6
            axis.plot(steps, found["largest"], color=color, ls=DOTS, lw=0.7 * width)
            axis.plot(steps, found["rms"], color=color, lw=width)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda scales, _: f"{scales:g}")
        axis.set_xlim(0, found["steps"] / 1e6)
        axis.set_title(f"{system['system'].split()[0]}: its normal rows, again and again", loc="left", fontsize=9)
        axis.set_xlabel("million steps, the state never reset", fontsize=8)
    axes[0, 0].set_ylabel("forecast difference, scales")
    marks = [Line2D([], [], color=color, lw=width) for color, width in DRIFTS.values()]
    marks += [Line2D([], [], color=INK), Line2D([], [], color=INK, ls=DOTS)]
    shown = [*(name.removeprefix("int8, ") for name in DRIFTS), "root mean square", "largest of 10,000 steps"]
    figure.legend(marks, shown, loc="outside upper left", ncols=5, frameon=False, fontsize=8)
    return figure


def drawn(records: Any) -> Figure:
    """Draw records as suits them."""
    if isinstance(records, dict):
        return drifts([record for record in records["records"] if record["drift"]])
    swept = len({record["input"] for record in records}) == 1 and len({record["hidden"] for record in records}) > 1
    return sweep(records) if swept else cases(records)


def main() -> None:
    """Read records, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    records = json.loads(args.records.read_text())
    mpl.use("agg")
    with mpl.rc_context(STYLE):
        figure = drawn(records)
        meta = {"Date": None} if args.image.suffix == ".svg" else None
        figure.savefig(args.image, transparent=True, metadata=meta, dpi=150)


if __name__ == "__main__":
    main()
