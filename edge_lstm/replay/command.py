"""``edge-lstm replay``: score a CSV file or a recording as if it were live."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edge_lstm.errors import ConfigError
from edge_lstm.replay.files import PICTURES

if TYPE_CHECKING:
    from edge_lstm.bundle import Bundle
    from edge_lstm.replay.tracks import Track

EPILOG = """\
examples:
  edge-lstm replay --weights pump.safetensors --in day.csv --out scores.csv --plot day.png
  edge-lstm replay --in sensor.csv --out scores.csv           the universal bundle, no training
  edge-lstm replay --weights W --in a.csv b.csv --out DIR     one output file each
  edge-lstm replay --weights W --in live.jsonl --out s.csv    what 'edge-lstm record' wrote

A row without a score yet has 0 and says so in 'quality'. 'strength' is what alerts are decided on: the surprise, more
of it if it lasts, or the strength of a rule (out_of_range, flat_line, gap), which never touches the score.
"""
OF_TABLES = ("plot", "columns", "time", "warm", "warm_file")  # options that say nothing about a recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from edge_lstm.stages.formats.source import Format

    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--weights", type=Path, metavar="BUNDLE", help="default: the universal bundle")
    parser.add_argument(
        "--in", dest="inputs", type=Path, nargs="+", required=True, metavar="FILE", help=".csv or .jsonl"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="a folder when there are several inputs"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help=".png, .svg or .pdf, a folder when there are several inputs; "
        "needs edge-lstm[plot]",
    )  # fmt: skip
    parser.add_argument(
        "--columns", default="", metavar="A,B,...", help="default: the bundle's channels, or all numbers"
    )
    parser.add_argument("--time", default="", metavar="COLUMN", help="default: found by its name")
    parser.add_argument("--warm", type=int, default=0, metavar="N", help="first N rows only warm the stream up")
    parser.add_argument("--warm-file", type=Path, metavar="FILE", help="rows to run before")
    parser.add_argument("--budget", default="1/week", help="alerts that chance may raise per stream (%(default)s)")
    parser.add_argument("--format", choices=get_args(Format), help="of a recording's payloads (json)")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from edge_lstm.bundle import read
    from edge_lstm.options import check_outputs, default_weights, parse_budget

    budget_s = parse_budget(args.budget)
    weights = args.weights or default_weights()
    outputs = _targets("--out", args.inputs, args.out, ".csv")
    plots = _targets("--plot", args.inputs, args.plot, ".png") if args.plot else []
    _check_options(args, plots)
    check_outputs([*args.inputs, weights, *([args.warm_file] if args.warm_file else [])], [*outputs, *plots])
    bundle = read(weights)
    for k, (source, output) in enumerate(zip(args.inputs, outputs, strict=True)):
        if _is_recording(source):
            told = _replay_recording(args, bundle, budget_s, source, output)
        else:
            told = _replay_table(args, bundle, budget_s, source, output, plots[k] if plots else None)
        sys.stdout.write(f"{output}: {told}\n")
    return 0


def _is_recording(source: Path) -> bool:
    return source.suffix == ".jsonl"


def _check_options(args: argparse.Namespace, plots: list[Path]) -> None:
    """Refuse what would be ignored."""
    for source in args.inputs:
        for name in OF_TABLES if _is_recording(source) else ("format",):
            if getattr(args, name):
                raise ConfigError(f"{source}: --{name.replace('_', '-')} does not apply to it")
    for plot in plots:
        if plot.suffix not in PICTURES:
            raise ConfigError(f"--plot {plot}: expected a name that ends in {', '.join(PICTURES)}")


def _targets(option: str, inputs: list[Path], place: Path, suffix: str) -> list[Path]:
    """Return a file to write for each input; the folders that tell inputs apart are kept."""
    if len(inputs) == 1 and not place.is_dir():
        return [place]
    if place.suffix in (".csv", *PICTURES) and not place.is_dir():
        raise ConfigError(f"{option} {place}: {len(inputs)} inputs need a folder")
    folders = [path.resolve().parent for path in inputs]
    common = Path(os.path.commonpath(folders))
    names = [f"{path.stem}{suffix}" for path in inputs]
    return [place / folder.relative_to(common) / name for folder, name in zip(folders, names, strict=True)]


def _replay_recording(args: argparse.Namespace, bundle: Bundle, budget_s: float, source: Path, output: Path) -> str:
    from edge_lstm.lane import Settings
    from edge_lstm.pipeline import Outputs, Pipeline, Route
    from edge_lstm.replay.recorded import replay_messages
    from edge_lstm.stages.decode import Source

    route = Route(Source("#", format=args.format or "json"), bundle, Settings(budget_s=budget_s), Outputs())
    pipeline = Pipeline([route])
    replay_messages(source, pipeline, output)
    lost = pipeline.dropped + pipeline.refused
    return f"{pipeline.received} messages, {pipeline.scored} rows, {_news(pipeline.alerts, lost)}"


def _replay_table(
    args: argparse.Namespace, bundle: Bundle, budget_s: float, source: Path, output: Path, picture: Path | None
) -> str:
    from edge_lstm.replay.tracks import replay, rows_of, write_scores
    from edge_lstm.tables import read_table

    columns = tuple(name for name in args.columns.split(",") if name)
    if not columns and bundle.metadata.judge == "fitted":
        columns = bundle.metadata.channel_names
    period_s = bundle.metadata.period_s or 1.0
    table = read_table(source, columns, args.time, period_s=period_s)
    warm = read_table(args.warm_file, table.columns, args.time, period_s=period_s) if args.warm_file else None
    tracks = replay(bundle, table, warm, budget_s)
    write_scores(output, rows_of(table, tracks, args.warm))
    if picture:
        from edge_lstm.replay.plot import plot

        plot(table, tracks, picture, title=source.stem, model=bundle.metadata.name)
    return summary(tracks)


def summary(tracks: list[Track]) -> str:
    """Return how many rows and alerts there were, and what was not taken, in words."""
    from edge_lstm.core.table import OUTCOMES, SCORED, START, START_END

    alerts = sum(int(((track.results.phase == START) | (track.results.phase == START_END)).sum()) for track in tracks)
    outcomes = zip(*(track.results.outcome.tolist() for track in tracks), strict=True)
    dropped = Counter(OUTCOMES[row[0]] for row in outcomes if SCORED not in row)  # by any stream, as in the output
    return f"{len(tracks[0].x)} rows, {_news(alerts, dropped)}"


def _news(alerts: int, dropped: Counter[str]) -> str:
    """Return alerts and drops by reason, in words."""
    found = f"{alerts} alert{'' if alerts == 1 else 's'}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    return f"{found}; dropped: {reasons}" if reasons else found
