"""A table through the same lane as a live stream, at the speed of the machine."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import WEEK_S
from edge_lstm.core.table import OUTCOMES, PHASES, QUALITIES, REASONS, SCORED, WARMING_UP, Results
from edge_lstm.errors import ConfigError
from edge_lstm.lane import Lane, Settings
from edge_lstm.messages import Sample
from edge_lstm.replay.files import writing
from edge_lstm.tables import Table

HEADER = ("timestamp", "score", "surprise", "quality", "alert", "reason", "strength")
BLOCK = 4096
DAY_S = 86_400.0


class Track(NamedTuple):
    """What one stream of a replayed table went through, a row of each array a row of the table.

    Attributes:
        channels: (C,) names.
        x: float64 (n, C) data units, as read.
        expected: float64 (n, C, 2) location and spread forecast for this row, or reconstructed; spread 0 where there is
            none.
        results: (n,) each.
    """

    name: str
    channels: tuple[str, ...]
    x: NDArray[np.float64]
    expected: NDArray[np.float64]
    results: Results


def replay(bundle: Bundle, table: Table, warm: Table | None = None, budget_s: float = WEEK_S) -> list[Track]:
    """Run a table's rows through fresh streams of a bundle.

    A bundle of several channels takes the columns of their names as one stream. A one-channel (adaptive) bundle takes
    each column as a stream of its own.

    Args:
        warm: rows to run first; their times are moved to just before the table's, by whole days where the bundle
            learns what an hour of the day is like.

    Raises:
        ConfigError: the table lacks a channel of the bundle.
    """
    lane = Lane(bundle, Settings(budget_s=budget_s, silence_s=0))
    tables = [table] if warm is None else [_before(warm, table, bundle), table]
    groups = _groups(bundle, table)
    return [_run(lane, bundle, name, tables, columns) for name, columns in groups.items()]


def _groups(bundle: Bundle, table: Table) -> dict[str, tuple[str, ...]]:
    """Return the streams of a table and the columns of each."""
    names = bundle.metadata.channel_names
    if bundle.metadata.judge == "adaptive":
        return {column: (column,) for column in table.columns}
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ConfigError(f"no column {missing[0]!r}, a channel of the bundle; the file has {', '.join(table.columns)}")
    return {"": names}


def _before(warm: Table, table: Table, bundle: Bundle) -> Table:
    """Move the clock of ``warm`` so that it ends one of its periods before ``table`` begins.

    Hours of the day are kept for an adaptive bundle, which has a profile of them, if days of rows are left then: the
    move is by whole days, and what then reaches into the table is left out.
    """
    known, later = warm.t[np.isfinite(warm.t)], table.t[np.isfinite(table.t)]
    if not len(known) or not len(later):
        return warm  # rows without a time are not taken
    period = float(np.median(np.diff(known))) if len(known) > 1 else 1.0
    begin, end = float(later[0]), float(known.max())
    if bundle.metadata.judge == "adaptive" and warm.clock and table.clock and end - known.min() >= 2.0 * DAY_S:
        t = warm.t + DAY_S * np.ceil((begin - period - end) / DAY_S)
        keep = ~(t > begin - period / 2.0)
        return warm._replace(clock=[], t=t[keep], x=warm.x[keep])
    return warm._replace(t=warm.t + (begin - period - end))


def _run(lane: Lane, bundle: Bundle, name: str, tables: list[Table], columns: tuple[str, ...]) -> Track:
    """Run the tables through one stream; the track is the last table's."""
    adaptive = bundle.metadata.judge == "adaptive"
    keys = ("value",) if adaptive else columns  # a stream of one value is called by its own name
    before = np.zeros((1, len(columns), 2))
    for table in tables:
        x = table.x[:, [table.columns.index(column) for column in columns]]
        blocks = []
        for start in range(0, len(x), BLOCK):
            block = slice(start, start + BLOCK)
            for t, values in zip(table.t[block].tolist(), x[block].tolist(), strict=True):
                lane.push(Sample(name, t, dict(zip(keys, values, strict=True))))
            blocks.append(Results._make(array.copy() for array in lane.flush().results._asdict().values()))
        results = Results._make(np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
        forecasts = _held(np.concatenate([before, results.forecast]), results)
        before = forecasts[-1:]
    foreseen = bundle.metadata.horizon > 0  # else each row has what was said of itself
    return Track(name, columns, x, forecasts[:-1] if foreseen else forecasts[1:], results)


def _held(forecasts: NDArray[np.float64], results: Results) -> NDArray[np.float64]:
    """Carry a forecast over rows that were not taken; ``forecasts[k]`` is the one for row ``k``."""
    for k in np.flatnonzero(results.outcome != SCORED).tolist():
        forecasts[k + 1] = forecasts[k]
    return forecasts


def rows_of(table: Table, tracks: list[Track], warm: int = 0) -> Iterator[tuple[Any, ...]]:
    """Yield one output row per table row, of the stream that is loudest in it.

    A row without a score (warming up, or not taken) has 0, and its ``quality`` says so.

    Args:
        warm: this many first rows only warm the stream up.
    """
    for k in range(len(table.t)):
        stamp = table.clock[k] if table.clock else k
        heard = [track for track in tracks if track.results.outcome[k] == SCORED]
        track = max(heard or tracks, key=lambda track: float(track.results.strength[k]))
        results = track.results
        if results.outcome[k] != SCORED:
            yield stamp, 0.0, 0.0, "dropped", 0, OUTCOMES[results.outcome[k]], 0.0
            continue
        if k < warm:
            yield stamp, 0.0, 0.0, QUALITIES[WARMING_UP], 0, "", 0.0
            continue
        on = any(PHASES[track.results.phase[k]] in ("start", "active", "start_end") for track in tracks)
        reason = REASONS[results.reason[k]]
        yield (
            stamp,
            max(float(track.results.score[k]) for track in tracks),
            max(float(track.results.surprise[k]) for track in tracks),
            QUALITIES[results.quality[k]],
            int(on),
            f"{track.name}: {reason}" if len(tracks) > 1 and reason else reason,
            float(results.strength[k]),
        )


def write_scores(path: Path, rows: Iterator[tuple[Any, ...]]) -> None:
    """Write output rows as CSV; numbers read back to the same bits."""
    with writing(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)
