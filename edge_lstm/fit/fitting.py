"""From recordings of a system's normal operation to its bundle."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_lstm.bundle import MAX_HIDDEN, MAX_LAYERS, Bundle, Channel, Metadata, seal, write
from edge_lstm.errors import ConfigError
from edge_lstm.fit.calibrate import Floats, Residuals, calibrate, residuals, rules
from edge_lstm.fit.draft import golden_input, no_judge
from edge_lstm.fit.network import LOG_SPREAD, Forecaster, Training, train
from edge_lstm.fit.normal import Normal, check_periods, normalize
from edge_lstm.fit.quantize import quantize
from edge_lstm.fit.recordings import Sequence, read_csv
from edge_lstm.fit.report import FitReport, replay, report
from edge_lstm.options import check_outputs

Progress = Callable[[str, float], None]

TOLERANCE = 1.1  # held-back error that a stronger decay may cost
WARM_UP = 30  # samples
WIDEST_16 = (2**31 - 1) // (127 * 32767)  # more products of int8 and int16 overflow an int32 sum


@dataclass(frozen=True)
class FitOptions:
    """What can be chosen; the defaults serve every system tried.

    Attributes:
        name: of the bundle; the output file's stem if empty.
        columns: channels by name; all numeric columns that are not labels if empty.
        rows: use this many rows from the start of each file; 0 for all.
        held_back: share at the end of each sequence that the weights never see and the score is calibrated on.
        decays: strengths of weight decay to try; see ``fit``.
        tau_b: memory of the averaged log distance, samples.
        tau_c: memory of the averaged residual, samples: about the shortest fault of interest.
    """

    name: str = ""
    columns: tuple[str, ...] = ()
    time_column: str = ""
    rows: int = 0
    hidden_size: int = 64
    num_layers: int = 1
    activation_bits: Literal[8, 16] = 16
    input_clip: float = 20.0
    held_back: float = 0.25
    updates: int = 1000
    decays: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0)
    tau_b: float = 6.0
    tau_c: float = 10.0
    seed: int = 0
    notes: dict[str, str] = field(default_factory=dict)


def fit_files(
    paths: list[Path], output: Path, options: FitOptions | None = None, progress: Progress | None = None
) -> tuple[Bundle, FitReport]:
    """Fit a bundle to CSV files of normal operation and write it.

    Raises:
        ConfigError: the files can't be read, disagree on their columns, or hold too little; or the bundle can't be
            written.
    """
    options = options or FitOptions()
    check_outputs(paths, [output, output.with_suffix(".md")])  # a card goes beside it
    if not output.parent.is_dir():
        message = f"{output}: there is no folder {output.parent}"
        raise ConfigError(message)
    recordings = [read_csv(path, options.columns, options.time_column, options.rows) for path in paths]
    columns = recordings[0].columns
    sequences = [sequence for recording in recordings for sequence in recording.ordered(columns).sequences]
    clocked = all(recording.has_clock for recording in recordings)
    name = options.name or output.stem
    bundle, found = fit(sequences, columns, options, name=name, clocked=clocked, progress=progress)
    write(bundle, output)
    return bundle, found._replace(dropped=sum(recording.dropped for recording in recordings))


def fit(
    sequences: list[Sequence],
    columns: tuple[str, ...],
    options: FitOptions,
    *,
    name: str,
    clocked: bool = True,
    progress: Progress | None = None,
) -> tuple[Bundle, FitReport]:
    """Fit a forecaster and its judge to normal sequences.

    A network is trained for each weight decay, and the strongest decay is kept whose held-back error is within 10 % of
    the best: a forecaster that follows the last samples no more than it has to keeps a slow fault visible. The judge is
    calibrated on the residuals that the quantized network, run by the engine, has on held-back rows.

    Raises:
        ConfigError: nothing ever changes, there is too little to calibrate on, or no bundle holds such a network.
    """
    _check_sizes(options, len(columns))
    tell = progress or (lambda _stage, _share: None)
    normal = normalize(sequences, options.held_back)
    if normal.constant.all():
        message = "no channel ever changes in the rows to fit"
        raise ConfigError(message)
    if clocked:
        check_periods(normal)
    nets, errors = _train_each(normal, options, tell)
    decay = max(decay for decay, error in errors.items() if error <= TOLERANCE * min(errors.values()))
    net = nets[decay]
    tell("calibrating", 0.0)
    network = quantize(_without_constant(net.export(), normal))
    metadata = _metadata(normal, columns, options, name, normal.period_s if clocked else 0.0)
    metadata.provenance["weight_decay"] = decay
    golden = golden_input(normal, metadata.period_s)
    fixed = {"normalize.mean": normal.mean, "normalize.scale": normal.scale}
    fixed |= rules([sequence.x for sequence in normal.sequences], normal.mean, normal.scale, normal.still)
    draft = seal(metadata, network | fixed | no_judge(len(columns)), *golden)
    forecasts = [replay(draft, sequence).forecast for sequence in normal.sequences]
    judged = [
        residuals(z, (f[..., 0] - normal.mean) / normal.scale, held)
        for z, f, held in zip(normal.z, forecasts, normal.held, strict=True)
    ]
    try:
        judge = calibrate(judged, normal.constant, options.tau_b, options.tau_c)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    network["head.bias"] = _honest_spread(network["head.bias"], judged, [f[..., 1] / normal.scale for f in forecasts])
    bundle = seal(metadata, network | fixed | judge.tensors(), *golden)
    tell("calibrating", 1.0)
    return bundle, report(bundle, normal, net.forecast, errors)


def _check_sizes(options: FitOptions, channels: int) -> None:
    """Raise ConfigError, before the training, for what a bundle can't hold."""
    sizes = [("layers", options.num_layers, MAX_LAYERS), ("units", options.hidden_size, MAX_HIDDEN)]
    if options.activation_bits == 16:
        sizes.append(("units or channels of 16 bits", max(options.hidden_size, channels), WIDEST_16))
    for what, value, most in sizes:
        if not 1 <= value <= most:
            message = f"{value} {what}, expected 1 to {most}"
            raise ConfigError(message)


def _train_each(
    normal: Normal, options: FitOptions, tell: Progress
) -> tuple[dict[float, Forecaster], dict[float, float]]:
    """Return a network for each weight decay, and its held-back error."""
    seen = [z[:held] for z, held in zip(normal.z, normal.held, strict=True)]
    nets: dict[float, Forecaster] = {}
    errors: dict[float, float] = {}
    for k, decay in enumerate(options.decays):
        training = Training(options.hidden_size, options.num_layers, options.updates, decay=decay, seed=options.seed)
        nets[decay] = train(seen, training, partial(_tell_part, tell, k, len(options.decays)))
        errors[decay] = normal.held_back_error(nets[decay].forecast)
    return nets, errors


def _tell_part(tell: Progress, part: int, parts: int, share: float) -> None:
    tell("training", (part + share) / parts)


def _without_constant(tensors: dict[str, Floats], normal: Normal) -> dict[str, Floats]:
    """Cut channels that never changed off the network: nothing was learnt about what their changes mean."""
    channels = len(normal.constant)
    tensors["weight_ih_l0"][:, normal.constant] = 0.0
    rows = np.flatnonzero(normal.constant)
    tensors["head.weight"][np.r_[rows, channels + rows]] = 0.0
    tensors["head.bias"][rows] = 0.0
    tensors["head.bias"][channels + rows] = -LOG_SPREAD
    return tensors


def _honest_spread(bias: Any, judged: list[Residuals], spreads: list[Floats]) -> Any:
    """Return the head's biases with the spreads widened to what held-back residuals are.

    Weights know their own rows too well: there the residual is smaller than later.
    """
    relative = [(e / spread[:-1])[held:] for (e, held), spread in zip(judged, spreads, strict=True)]
    mean_square = np.square(np.concatenate(relative)).mean(0)
    channels = len(mean_square)
    widen = 0.5 * np.log(np.clip(mean_square, 1e-4, 1e4))
    log_spread = np.where(mean_square > 0.0, bias[channels:] + widen, bias[channels:])
    return np.concatenate([bias[:channels], log_spread]).astype(np.float32)


def _metadata(normal: Normal, columns: tuple[str, ...], options: FitOptions, name: str, period_s: float) -> Metadata:
    provenance: dict[str, str | int | float | bool | list[str]] = {
        "recipe": "edge-lstm fit",
        "data": sorted({Path(sequence.source).name for sequence in normal.sequences}),
        "rows": normal.rows,
        "held_back": options.held_back,
        "updates": options.updates,
        "seed": options.seed,
        "created_with": created_with(),
    }
    return Metadata(
        name=name,
        judge="fitted",
        channels=tuple(Channel(column) for column in columns),
        input_size=len(columns),
        hidden_size=options.hidden_size,
        num_layers=options.num_layers,
        activation_bits=options.activation_bits,
        input_clip=options.input_clip,
        period_s=period_s,
        warm_up=WARM_UP,
        settle=WARM_UP,
        tau_b=options.tau_b,
        tau_c=options.tau_c,
        fit_rows=normal.rows,
        provenance=provenance | options.notes,
    )


def created_with() -> str:
    """Return the versions that decide the bytes of a bundle."""
    return ", ".join(f"{package} {version(package)}" for package in ("numpy", "torch"))
