"""A replayed stream as a picture: what was measured, what was expected, and where that parted."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from edge_lstm.core.table import ACTIVE, BLAME, END, GAP, SCORED, START, START_END
from edge_lstm.replay.files import writing
from edge_lstm.replay.tracks import Track
from edge_lstm.tables import Table

Floats = NDArray[np.float64]

MOST_CHANNELS = 8
INK, QUIET, BAND, ALERT, LOST = "#1b3a4b", "#8a9ba8", "#9ecae1", "#d1495b", "#d9d9d9"


def plot(table: Table, tracks: list[Track], path: Path, *, title: str, model: str) -> None:
    """Draw channels with their 95 % band, alerts shaded, and the surprise below.

    Args:
        path: its suffix names the format.
        title: of the picture, usually the recording's name.
    """
    shown = _most_blamed(tracks)
    height = 1.5 * len(shown) + 2.2
    figure, axes = plt.subplots(
        len(shown) + 1, 1, sharex=True, figsize=(12, height), layout="constrained",
        height_ratios=[1.0] * len(shown) + [1.3],
    )  # fmt: skip
    clock = _clock(table)
    for axis, (track, c) in zip(axes[:-1], shown, strict=True):
        _draw_channel(axis, clock, track, c)
    _draw_surprise(axes[-1], clock, tracks)
    hidden = sum(len(track.channels) for track in tracks) - len(shown)
    more = f"   ({hidden} more channels not shown)" if hidden else ""
    figure.suptitle(f"{title}   scored by {model}{more}", x=0.01, ha="left", fontsize=11, color=INK)
    handles, labels = axes[0].get_legend_handles_labels()
    meaning = dict(zip(labels, handles, strict=True)) | {"alert": Patch(color=ALERT, alpha=0.13)}
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": len(meaning)}
    axes[0].legend(meaning.values(), meaning.keys(), fontsize=8, frameon=False, **place)
    if table.clock:
        locator = mdates.AutoDateLocator()  # type: ignore[no-untyped-call]
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    else:
        axes[-1].set_xlabel("row")
    with writing(path):
        figure.savefig(path, dpi=110)
    plt.close(figure)


def _clock(table: Table) -> Floats:
    if not table.clock:
        return np.arange(len(table.t), dtype=np.float64)
    return table.t / 86_400.0  # days, as Matplotlib has dates; NaN where missing


def _most_blamed(tracks: list[Track]) -> list[tuple[Track, int]]:
    """Return the channels to show: those with the largest blame in any alert, in the file's order."""
    blame = {
        (i, c): float(track.results.cause[_speaks(track), c, BLAME].max(initial=0.0))
        for i, track in enumerate(tracks)
        for c in range(len(track.channels))
    }
    chosen = sorted(sorted(blame, key=lambda key: -blame[key])[:MOST_CHANNELS])
    return [(tracks[i], c) for i, c in chosen]


def _speaks(track: Track) -> NDArray[np.bool_]:
    """Return the rows whose event and cause mean something."""
    return np.isin(track.results.phase, (START, END, START_END))


def _spans(track: Track) -> list[tuple[int, int]]:
    """Return first and last row of each alert."""
    on = np.isin(track.results.phase, (START, ACTIVE, START_END)).astype(int)
    edges = np.diff(np.r_[0, on, 0])
    return list(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def _gaps(track: Track) -> list[tuple[int, int]]:
    """Return the last row before each gap and the first after it."""
    taken = np.flatnonzero(track.results.outcome == SCORED)
    after = np.flatnonzero(track.results.reason[taken] == GAP)
    return [(int(taken[k - 1]), int(taken[k])) for k in after.tolist() if k]


def _shade(axis: Axes, clock: Floats, track: Track) -> None:
    for first, last in _gaps(track):
        axis.axvspan(clock[first], clock[last], color=LOST, alpha=0.4, lw=0, zorder=0, label="gap")
    for first, last in _spans(track):
        axis.axvspan(clock[first], clock[last], color=ALERT, alpha=0.13, lw=0)


def _draw_channel(axis: Axes, clock: Floats, track: Track, c: int) -> None:
    x = track.x[:, c]
    location, spread = track.expected[:, c, 0], track.expected[:, c, 1]
    known = spread > 0
    band = np.where(known, 2.0 * spread, np.nan)
    location = np.where(known, location, np.nan)
    axis.fill_between(clock, location - band, location + band, color=BAND, alpha=0.55, lw=0, label="expected, 95 %")
    axis.plot(clock, x, color=INK, lw=0.8, label="measured")
    finite = x[np.isfinite(x)]
    if len(finite):  # the band of the first rows must not set the scale
        low, high = float(finite.min()), float(finite.max())
        margin = 0.12 * (high - low) or 0.5
        axis.set_ylim(low - margin, high + margin)
    _shade(axis, clock, track)
    axis.set_title(track.channels[c], loc="left", fontsize=9, color=INK, pad=3)
    _plain(axis)


def _draw_surprise(axis: Axes, clock: Floats, tracks: list[Track]) -> None:
    # a gap is an affair of the time before its row: shaded, and no surprise
    loud = [np.where(track.results.reason == GAP, 0.0, track.results.strength) for track in tracks]
    strength = np.max(loud, axis=0)
    level = np.max([track.results.level for track in tracks], axis=0)
    axis.fill_between(clock, 0, strength, color=INK, alpha=0.75, lw=0, step="pre")
    axis.plot(
        clock, np.where(level > 0, level, np.nan), color=ALERT, lw=1, ls="--", label="alert level (from the budget)"
    )
    for track in tracks:
        _shade(axis, clock, track)
    axis.set_title("surprise, powers of ten", loc="left", fontsize=9, color=INK, pad=3)
    axis.set_ylim(0, max(8.0, float(strength.max()) * 1.05))
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axis.legend(once.values(), once.keys(), loc="upper left", fontsize=8, frameon=False)
    _plain(axis)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(QUIET)
    axis.tick_params(colors=QUIET, labelsize=8)
    axis.margins(x=0.005)
