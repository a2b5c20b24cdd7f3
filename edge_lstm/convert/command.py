"""``edge-lstm convert``: a bundle from weights that were trained elsewhere."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_lstm.errors import ConfigError, WeightsError
from edge_lstm.options import at_least

if TYPE_CHECKING:
    from edge_lstm.convert.draft import ConvertOptions
    from edge_lstm.convert.model import Model, Scaler

EPILOG = """\
examples:
  edge-lstm convert model.pt -o press.safetensors --calibrate normal.csv --scaler scaler.json
  edge-lstm convert model.keras -o press.safetensors --calibrate monday.csv tuesday.csv --verify
  edge-lstm convert model.onnx -o press.safetensors --calibrate normal.csv --targets pressure --window 60

SOURCE is a PyTorch state_dict (.pt, .pth, .safetensors), an ONNX graph (.onnx), a Keras model (.keras, .h5), a LiteRT
model (.tflite) or an RTNeural one (.json). No training framework is needed, but for --verify. The rows of --calibrate
are normal operation: what a score means comes from them. Needs: pip install 'edge-lstm[convert]'.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="a card goes beside it")
    parser.add_argument("--name", default="", help="of the model; default: the output's")
    rows = parser.add_argument_group("normal rows")
    rows.add_argument("--calibrate", type=Path, nargs="+", required=True, metavar="NORMAL.csv")
    rows.add_argument("--channels", default="", metavar="A,B,...", help="columns in the order of the model's inputs")
    rows.add_argument("--time", default="", metavar="COLUMN", help="default: found by its name")
    rows.add_argument("--rows", type=at_least(0), default=0, metavar="N", help="only the first N rows of each file")
    meaning = parser.add_argument_group("what the model is")
    meaning.add_argument("--head", choices=("forecast", "reconstruction", "classification"), default="")
    meaning.add_argument("--targets", default="", metavar="A,B,...", help="channels that its outputs are of, in order")
    meaning.add_argument(
        "--horizon",
        type=at_least(1),
        default=1,
        metavar="K",
        help="of several steps, the one to judge by (1)",
    )
    meaning.add_argument("--ahead", type=at_least(1), default=1, metavar="N", help="samples to its first step (1)")
    meaning.add_argument("--classes", default="", metavar="A,B,...", help="names of its outputs")
    meaning.add_argument("--normal", default="", metavar="A,B,...", help="the classes that are normal")
    meaning.add_argument("--layers", default="", metavar="fc1:relu,fc2", help="PyTorch: the Linear layers in order")
    meaning.add_argument("--scaler", type=Path, metavar="JSON", help="that its inputs were scaled by (docs/convert)")
    meaning.add_argument(
        "--target-scaler", type=Path, metavar="JSON",
        help="of its outputs; 'none' for data units; default: none or as its inputs, whichever fits the normal rows",
    )  # fmt: skip
    run = parser.add_argument_group("how it is run")
    run.add_argument(
        "--window",
        type=at_least(0),
        metavar="N",
        help="samples that its state reaches back, 0 for ever; default: the file's",
    )
    run.add_argument(
        "--copies", type=at_least(1), default=8, metavar="K", help="of the state, that start anew in turn (%(default)s)"
    )
    run.add_argument("--activation-bits", choices=("auto", "8", "16"), default="auto")
    run.add_argument("--verify", action="store_true", help="also run the original, in the framework that made it")


def main(args: argparse.Namespace) -> int:
    """Convert, write the bundle and its card, and say what came of it; return the exit code."""
    from edge_lstm.bundle import write
    from edge_lstm.convert.conversion import convert
    from edge_lstm.convert.sources import read_model
    from edge_lstm.convert.told import figures, told, told_model
    from edge_lstm.convert.verify import verify
    from edge_lstm.fit.card import card
    from edge_lstm.fit.recordings import read_csv
    from edge_lstm.options import check_outputs

    if not args.output.name:
        raise ConfigError(f"{args.output}: can't be written")
    given = [args.source, *args.calibrate, *(path for path in (args.scaler, args.target_scaler) if path)]
    check_outputs(given, [args.output, args.output.with_suffix(".md")])
    try:
        model = read_model(args.source, args.layers)
    except WeightsError as error:
        message = str(error) if str(error).startswith(str(args.source)) else f"{args.source}: {error}"
        raise WeightsError(message) from None
    sys.stdout.write(told_model(model))
    sys.stdout.flush()  # what follows takes its time
    recordings = [read_csv(path, _names(args.channels), args.time, args.rows) for path in args.calibrate]
    columns = recordings[0].columns
    sequences = [sequence for recording in recordings for sequence in recording.ordered(columns).sequences]
    clocked = all(recording.has_clock for recording in recordings)
    options = _options(args, model)
    if sys.stderr.isatty():
        sys.stderr.write("calibrating; the first time, kernels are compiled, which takes about a minute\n")
    made = convert(model, sequences, columns, options, clocked=clocked)
    if args.verify:
        sys.stdout.write(verify(args.source, model, sequences[0].x, options.scaler))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write(made.bundle, args.output)
    size = args.output.stat().st_size
    args.output.with_suffix(".md").write_text(
        card(made.bundle, size, figures(made.arrival), (*made.warnings, *made.notes))
    )
    sys.stdout.write(told(made))
    for note in made.notes:
        sys.stderr.write(f"note: {note}\n")
    for warning in made.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(f"{args.output}: {len(columns)} channels, {size / 1024:.0f} KiB\n")
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _target_scaler(path: Path | None, targets: int) -> Scaler | None:
    from edge_lstm.convert.model import Scaler
    from edge_lstm.convert.scalers import read_scaler

    if path is None:
        return None
    return Scaler.identity(targets) if str(path) == "none" else read_scaler(path, targets)


def _options(args: argparse.Namespace, model: Model) -> ConvertOptions:
    from edge_lstm.convert.draft import ConvertOptions
    from edge_lstm.convert.meaning import Choice
    from edge_lstm.convert.scalers import read_scaler

    targets = _names(args.targets)
    return ConvertOptions(
        name=args.name or args.output.stem,
        choice=Choice(
            head=args.head,
            targets=targets,
            horizon=args.horizon,
            ahead=args.ahead,
            classes=_names(args.classes),
            normal=_names(args.normal),
        ),
        scaler=read_scaler(args.scaler, model.input_size) if args.scaler else None,
        target_scaler=_target_scaler(args.target_scaler, len(targets) or model.input_size),
        activation_bits=0 if args.activation_bits == "auto" else int(args.activation_bits),  # type: ignore[arg-type]
        window=args.window,
        copies=args.copies,
        provenance={
            "recipe": "edge-lstm convert",
            "source": model.source,
            "source_file": args.source.name,
            "source_sha256": hashlib.sha256(args.source.read_bytes()).hexdigest(),
            "weights": "the source's own integers" if model.is_integer else "float, rounded to int8 a row",
            "data": sorted(path.name for path in args.calibrate),
        },
    )
