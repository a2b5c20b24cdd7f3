"""``edge-lstm fit``: a bundle for one system from recordings of its normal operation."""

import argparse
import sys
from pathlib import Path

EPILOG = """\
examples:
  edge-lstm fit monday.csv tuesday.csv -o press.safetensors
  edge-lstm fit 'log.csv' --columns flow,pressure --rows 5000 -o pump.safetensors

Every file is a sequence of rows of normal operation, all of one system in one configuration; labels and clocks are not
taken for channels. The last quarter of each is kept from the weights, and the score is calibrated on it. Needs
PyTorch: pip install 'edge-lstm[train]'.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", type=Path, nargs="+", metavar="NORMAL.csv")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="BUNDLE", help="the bundle; a card beside it"
    )
    parser.add_argument(
        "--columns", default="", metavar="A,B,...", help="the channels; default: all columns of numbers"
    )
    parser.add_argument("--time", default="", metavar="COLUMN", help="default: found by its name")
    parser.add_argument("--rows", type=int, default=0, metavar="N", help="only the first N rows of each file")
    parser.add_argument("--name", default="", help="of the model; default: the output's")
    parser.add_argument("--hidden", type=int, default=64, metavar="N", help="units (%(default)s)")
    parser.add_argument("--layers", type=int, default=1, metavar="N", help="(%(default)s)")
    parser.add_argument("--activation-bits", type=int, choices=(8, 16), default=16, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bundle (%(default)s)")


def main(args: argparse.Namespace) -> int:
    """Fit, write the bundle and its card, and say what came of it; return the exit code."""
    import torch

    from edge_lstm.fit.card import card, figures
    from edge_lstm.fit.console import progress_bar
    from edge_lstm.fit.fitting import FitOptions, fit_files

    torch.set_num_threads(1)  # networks this small are slower on more
    options = FitOptions(
        name=args.name,
        columns=tuple(name for name in args.columns.split(",") if name),
        time_column=args.time,
        rows=args.rows,
        hidden_size=args.hidden,
        num_layers=args.layers,
        activation_bits=args.activation_bits,
        seed=args.seed,
    )
    with progress_bar() as tell:
        bundle, report = fit_files(args.files, args.output, options, tell)
    size = args.output.stat().st_size
    measured = figures(report)
    args.output.with_suffix(".md").write_text(card(bundle, size, measured, report.warnings))
    for name, value in measured.items():
        sys.stdout.write(f"{value:>12,.6g}  {name}\n")
    for warning in report.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    if report.dropped:
        sys.stdout.write(f"{report.dropped} rows left out: repeated, late, incomplete, or too few between gaps\n")
    sys.stdout.write(f"{args.output}: {len(bundle.metadata.channels)} channels, {size / 1024:.0f} KiB\n")
    return 0
