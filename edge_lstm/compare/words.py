"""A comparison, for a person and for a program."""

from typing import Any

import numpy as np

from edge_lstm.compare.differences import Difference
from edge_lstm.compare.long_run import BLOCK
from edge_lstm.compare.pairs import Pair
from edge_lstm.tables import Table

NAMED = 10  # alerts that are told one by one


def words(pair: Pair, table: Table) -> str:
    """Return the comparison as lines of text."""
    lines = [f"{pair.a.name} -> {pair.b.name}, {len(table.t)} rows"]
    for track, d in zip(pair.a.tracks, pair.differences, strict=True):
        lines += [f"  {line}" for line in _stream(track.name, track.channels, track.x, d, table)]
    if pair.long is not None and len(pair.long.rms):
        rms = pair.long.rms
        lines.append(
            f"  drift               over {pair.long.steps:,} samples forecasts stay apart by {rms[0]:.2g} (rms) in the "
            f"first {BLOCK:,}, {rms[-1]:.2g} in the last, {rms.max():.2g} at most, in standard deviations"
        )
    lines.append(f"  size                {pair.a.file_bytes:,} -> {pair.b.file_bytes:,} bytes")
    lines.append(f"  a stream's state    {pair.a.row_bytes:,} -> {pair.b.row_bytes:,} bytes")
    if pair.long is not None:
        lines.append(f"  a sample takes      {pair.long.us[0]:.2f} -> {pair.long.us[1]:.2f} us on this machine")
    return "\n".join(lines) + "\n"


def _stream(name: str, channels: tuple[str, ...], x: Any, d: Difference, table: Table) -> list[str]:
    prefix = f"{name}: " if name else ""
    lines = [
        f"{prefix}alerts              {d.alerts[0]} -> {d.alerts[1]}: {len(d.lost)} lost, {len(d.gained)} gained",
        *(f"    lost    {_when(span, table)}" for span in d.lost[:NAMED]),
        *(f"    gained  {_when(span, table)}" for span in d.gained[:NAMED]),
        f"{prefix}scores              rank correlation {d.rank_correlation:.4f}, "
        f"surprise apart by {d.surprise_max:.2f} at most, {d.rows} rows",
    ]
    if d.forecast_max.any():
        deviation = np.nanstd(x, axis=0)
        relative = d.forecast_max / np.where(deviation > 0.0, deviation, np.inf)
        worst = int(relative.argmax())
        lines.append(
            f"{prefix}forecasts           apart by {d.forecast_max[worst]:.3g} at most in {channels[worst]} "
            f"({relative[worst]:.2g} of its standard deviation; rms {d.forecast_rms[worst]:.2g})"
        )
    return lines


def _when(span: tuple[int, int], table: Table) -> str:
    first, last = span
    if table.clock:
        return f"{table.clock[first]} to {table.clock[last]}"
    return f"rows {first} to {last}"


def facts(pair: Pair, table: Table) -> dict[str, Any]:
    """Return the comparison as a document."""
    found: dict[str, Any] = {"a": pair.a.name, "b": pair.b.name, "rows": len(table.t), "streams": []}
    for track, d in zip(pair.a.tracks, pair.differences, strict=True):
        found["streams"].append(
            {
                "name": track.name,
                "alerts": list(d.alerts),
                "lost": [_when(span, table) for span in d.lost],
                "gained": [_when(span, table) for span in d.gained],
                "rank_correlation": d.rank_correlation,
                "surprise_max": d.surprise_max,
                "forecast_max": dict(zip(track.channels, d.forecast_max.tolist(), strict=True)),
                "forecast_rms": dict(zip(track.channels, d.forecast_rms.tolist(), strict=True)),
            }
        )
    for side, key in ((pair.a, "a"), (pair.b, "b")):
        found[f"bytes_{key}"], found[f"row_bytes_{key}"] = side.file_bytes, side.row_bytes
    if pair.long is not None:
        found |= {"steps": pair.long.steps, "us": list(pair.long.us), "drift_rms": pair.long.rms.tolist()}
    return found
