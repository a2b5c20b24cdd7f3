"""A comparison as a picture: strengths and alerts of both, and how far their forecasts are apart."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from edge_lstm.compare.differences import spans
from edge_lstm.compare.pairs import Pair, Side
from edge_lstm.replay.files import writing
from edge_lstm.tables import Table

INK, QUIET, A, B = "#1b3a4b", "#8a9ba8", "#2a78b5", "#d1495b"


def plot(pairs: list[Pair], table: Table, path: Path) -> None:
    """Draw each pair in a row of two panels.

    Args:
        path: its suffix names the format.
    """
    figure, axes = plt.subplots(
        len(pairs), 2, figsize=(13, 2.6 * len(pairs) + 0.5), layout="constrained", squeeze=False, width_ratios=[2, 1]
    )
    for (left, right), pair in zip(axes, pairs, strict=True):
        _strengths(left, pair)
        _forecasts(right, pair)
    axes[-1][0].set_xlabel("row")
    with writing(path):
        figure.savefig(path, dpi=110)
    plt.close(figure)


def _loudest(side: Side) -> NDArray[np.float64]:
    return np.asarray(np.max([track.results.strength for track in side.tracks], axis=0))


def _strengths(axis: Axes, pair: Pair) -> None:
    """A upwards, B downwards, their alerts shaded."""
    rows = np.arange(len(_loudest(pair.a)))
    for side, sign, color in ((pair.a, 1.0, A), (pair.b, -1.0, B)):
        axis.fill_between(rows, 0, sign * _loudest(side), color=color, alpha=0.8, lw=0, step="mid", label=side.name)
        ends = (0.5, 1.0) if sign > 0 else (0.0, 0.5)
        for track in side.tracks:
            for first, last in spans(track.results):
                axis.axvspan(first, max(last, first + 1), *ends, color=color, alpha=0.15, lw=0)
    most = max(4.0, *(float(_loudest(side).max()) for side in (pair.a, pair.b)))
    axis.set_ylim(-1.05 * most, 1.05 * most)
    axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axis.set_title("strength, powers of ten; alerts shaded", loc="left", fontsize=9, color=INK)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)
    _plain(axis)


def _forecasts(axis: Axes, pair: Pair) -> None:
    """The largest forecast difference over the channels, in standard deviations of the recording."""
    apart = []
    for ours, theirs in zip(pair.a.tracks, pair.b.tracks, strict=True):
        deviation = np.nanstd(ours.x, axis=0)
        known = (ours.expected[..., 1] > 0.0) & (theirs.expected[..., 1] > 0.0)
        away = np.abs(ours.expected[..., 0] - theirs.expected[..., 0]) / np.where(deviation > 0, deviation, np.inf)
        apart.append(np.where(known, away, 0.0).max(1))
    sizes = np.sort(np.max(apart, axis=0))[::-1]
    axis.plot(np.arange(1, len(sizes) + 1) / len(sizes), np.maximum(sizes, 1e-9), color=INK, lw=1.4)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(max(1e-6, float(sizes[len(sizes) // 2]) / 30.0), max(1e-4, 3.0 * float(sizes[0])))
    axis.set_xlabel("share of rows", fontsize=8, color=QUIET)
    axis.set_title("forecasts apart by more, standard deviations", loc="left", fontsize=9, color=INK)
    _plain(axis)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(QUIET)
    axis.tick_params(colors=QUIET, labelsize=8)
