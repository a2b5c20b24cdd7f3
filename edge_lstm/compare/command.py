"""``edge-lstm compare``: how far apart two bundles are on a recording, in words of a user."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_lstm.errors import ConfigError
from edge_lstm.options import at_least
from edge_lstm.replay.files import PICTURES

if TYPE_CHECKING:
    from edge_lstm.bundle import Bundle
    from edge_lstm.compare.pairs import Pair
    from edge_lstm.tables import Table

EPILOG = """\
examples:
  edge-lstm compare old.safetensors new.safetensors --in week.csv --plot difference.png
  edge-lstm compare press.safetensors --in week.csv --window 60
        one bundle, run in other ways: one state for ever and copies that start anew in turn, each against running the
        exact window for every sample

Both bundles run the recording as 'edge-lstm replay' does.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="two, or one with a window")
    parser.add_argument("--in", dest="input", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=".png, .svg or .pdf; needs edge-lstm[plot]")
    parser.add_argument("--columns", default="", metavar="A,B,...", help="default: the bundle's channels")
    parser.add_argument("--time", default="", metavar="COLUMN", help="default: found by its name")
    parser.add_argument("--budget", default="1/week", help="alerts that chance may raise (%(default)s)")
    parser.add_argument(
        "--steps", type=at_least(0), default=1_000_000, metavar="N", help="of the long run (%(default)s)"
    )
    parser.add_argument("--window", type=at_least(0), default=0, metavar="N", help="of one bundle; default: its own")
    parser.add_argument("--json", action="store_true", help="for a program")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from edge_lstm.bundle import read
    from edge_lstm.compare.pairs import pair
    from edge_lstm.options import check_outputs, parse_budget

    budget_s = parse_budget(args.budget)
    if len(args.bundles) > 2:
        raise ConfigError(f"{len(args.bundles)} bundles, expected one or two")
    if args.plot and args.plot.suffix not in PICTURES:
        raise ConfigError(f"--plot {args.plot}: expected a name that ends in {', '.join(PICTURES)}")
    check_outputs([*args.bundles, args.input], [args.plot] if args.plot else [])
    bundles = [read(path) for path in args.bundles]
    table = _table(args, bundles[0])
    if len(bundles) == 1:
        pairs = _contexts(bundles[0], args.window, table, budget_s)
    else:
        if args.window:
            raise ConfigError("--window goes with one bundle")
        names = _told_apart(args.bundles)
        pairs = [pair((names[0], bundles[0]), (names[1], bundles[1]), table, budget_s, steps=args.steps)]
    _tell(pairs, table, args)
    return 0


def _told_apart(paths: list[Path]) -> tuple[str, str]:
    """Return what to call two files."""
    stems = (paths[0].stem, paths[1].stem)
    return stems if stems[0] != stems[1] else (str(paths[0]), str(paths[1]))


def _table(args: argparse.Namespace, bundle: Bundle) -> Table:
    from edge_lstm.tables import read_table

    columns = tuple(name for name in args.columns.split(",") if name)
    if not columns and bundle.metadata.judge == "fitted":
        columns = bundle.metadata.channel_names
    return read_table(args.input, columns, args.time, period_s=bundle.metadata.period_s or 1.0)


def _contexts(bundle: Bundle, window: int, table: Table, budget_s: float) -> list[Pair]:
    """Return the ways to run a bundle that was trained on windows, each beside running the exact window."""
    from edge_lstm.compare.pairs import pair
    from edge_lstm.compare.variants import exact, staggered, stateful

    m = bundle.metadata
    window = window or m.window
    if not window:
        raise ConfigError(f"{m.name} keeps one state for ever; --window says on how many samples it was trained")
    whole = (f"the exact window of {window}", exact(bundle, window))
    copies = m.copies if m.copies > 1 else 8
    ways = [("one state for ever", stateful(bundle))]
    ways += [
        (f"{k} cop{'ies' if k > 1 else 'y'} in turn", staggered(bundle, window, k)) for k in sorted({1, 2, 4, copies})
    ]
    return [pair(whole, way, table, budget_s, steps=0) for way in ways]


def _tell(pairs: list[Pair], table: Table, args: argparse.Namespace) -> None:
    from edge_lstm.compare.words import facts, words

    if args.json:
        found: list[dict[str, Any]] = [facts(each, table) for each in pairs]
        sys.stdout.write(json.dumps(found if len(found) > 1 else found[0], indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(words(each, table) for each in pairs))
    if args.plot:
        from edge_lstm.compare.plot import plot

        plot(pairs, table, args.plot)
        if not args.json:
            sys.stdout.write(f"{args.plot}: written\n")
