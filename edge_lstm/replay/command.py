"""``edge-lstm replay``: score a CSV file or a recording as if it were live."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_lstm.errors import ConfigError

if TYPE_CHECKING:
    from edge_lstm.bundle import Bundle
    from edge_lstm.replay.tracks import Track

EPILOG = """\
examples:
  edge-lstm replay --weights pump.safetensors --in day.csv --out scores.csv --plot day.png
  edge-lstm replay --in sensor.csv --out scores.csv           the universal bundle, no training
  edge-lstm replay --weights W --in a.csv b.csv --out DIR     one output file each
  edge-lstm replay --weights W --in live.jsonl --out s.csv    what 'edge-lstm record' wrote

A row without a score yet has 0 and says so in 'quality'. 'strength' is what alerts are decided on: the surprise, or
the strength of a rule (out_of_range, flat_line, gap), which never touches the score.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--weights", type=Path, metavar="BUNDLE", help="default: the universal bundle")
    parser.add_argument(
        "--in", dest="inputs", type=Path, nargs="+", required=True, metavar="FILE", help=".csv or .jsonl"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="a folder when there are several inputs"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help=".png, .svg or .pdf; needs edge-lstm[plot]")
    parser.add_argument(
        "--columns", default="", metavar="A,B,...", help="default: the bundle's channels, or all numbers"
    )
    parser.add_argument("--time", default="", metavar="COLUMN", help="default: found by its name")
    parser.add_argument("--warm", type=int, default=0, metavar="N", help="first N rows only warm the stream up")
    parser.add_argument("--warm-file", type=Path, metavar="FILE", help="rows to run before")
    parser.add_argument("--budget", default="1/week", help="alerts that chance may raise per stream (%(default)s)")
    parser.add_argument("--format", default="json", help="of a recording's payloads (%(default)s)")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from edge_lstm.bundle import read
    from edge_lstm.options import default_weights, parse_budget

    budget_s = parse_budget(args.budget)
    bundle = read(args.weights or default_weights())
    outputs = _outputs(args.inputs, args.out)
    for source, output in zip(args.inputs, outputs, strict=True):
        if source.suffix == ".jsonl":
            from edge_lstm.lane import Settings
            from edge_lstm.pipeline import Outputs, Pipeline, Route
            from edge_lstm.replay.recorded import replay_messages
            from edge_lstm.stages.decode import Source

            route = Route(Source("#", format=args.format), bundle, Settings(budget_s=budget_s), Outputs())
            replay_messages(source, Pipeline([route]), output)
            continue
        _replay_table(args, bundle, budget_s, source, output)
    return 0


def _replay_table(args: argparse.Namespace, bundle: Bundle, budget_s: float, source: Path, output: Path) -> None:
    from edge_lstm.replay.tracks import replay, rows_of, write_scores
    from edge_lstm.tables import read_table

    columns = tuple(name for name in args.columns.split(",") if name)
    if not columns and bundle.metadata.judge == "fitted":
        columns = bundle.metadata.channel_names
    table = read_table(source, columns, args.time)
    warm = read_table(args.warm_file, table.columns, args.time) if args.warm_file else None
    tracks = replay(bundle, table, warm, budget_s)
    write_scores(output, rows_of(table, tracks, args.warm))
    if args.plot:
        from edge_lstm.replay.plot import plot

        path = args.plot if len(args.inputs) == 1 else args.plot / f"{output.stem}.png"
        plot(table, tracks, path, title=source.stem, model=bundle.metadata.name)
    sys.stdout.write(f"{output}: {summary(tracks)}\n")


def summary(tracks: list[Track]) -> str:
    """Return how many rows and alerts there were, in words."""
    rows = len(tracks[0].x)
    alerts = sum(int(((track.results.phase == 1) | (track.results.phase == 4)).sum()) for track in tracks)
    return f"{rows} rows, {alerts} alert{'' if alerts == 1 else 's'}"


def _outputs(inputs: list[Path], out: Path) -> list[Path]:
    """Return an output file for each input; the folders that tell inputs apart are kept."""
    if len(inputs) == 1 and not out.is_dir():
        return [out]
    if out.suffix == ".csv" and not out.is_dir():
        raise ConfigError(f"--out {out}: {len(inputs)} inputs need a folder")
    folders = [path.resolve().parent for path in inputs]
    common = Path(os.path.commonpath(folders))
    return [out / folder.relative_to(common) / f"{path.stem}.csv" for folder, path in zip(folders, inputs, strict=True)]
