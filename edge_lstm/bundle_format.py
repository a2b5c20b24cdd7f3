"""What a bundle must be: its document, its tensors, and the bounds of both (weights/README.md)."""

import math
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_lstm import bundle_layers
from edge_lstm.bundle_layers import LARGEST_INTEGER, Cell, Dense, Shapes, Tensors
from edge_lstm.errors import WeightsError

FORMAT: Final = 1
MAX_CHANNELS, MAX_HIDDEN, MAX_LAYERS = 1024, 2048, 16
MOST_WORK = 2e10  # multiplications of the golden run
MOST_STATE = 2**20  # numbers of a stream
MAX_HORIZON, MAX_WINDOW, MAX_COPIES = 1024, 100_000, 1024
ADAPTIVE_INPUTS = 2
LARGEST = 1e15
SMALLEST = 1e-15
GOLDEN_ROWS = range(8, 4097)


# fields that a bundle may lack, with what they are then
LATER = {
    "head": "forecast", "horizon": 1, "targets": (), "classes": (), "anomalous": (),
    "window": 0, "copies": 1, "layers": (), "dense": (),
}  # fmt: skip


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One quantity of a stream."""

    name: str
    unit: str = ""


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON document of a bundle.

    Attributes:
        period_s: seconds between samples; 0 if each stream learns its own.
        warm_up: samples of a fresh stream without a score.
        settle: samples after a gap whose scores are marked ``recovering``.
        tau_b: memory of the averaged log distance, samples.
        tau_c: memory of the averaged residual, samples.
        fit_rows: normal rows that the rules' ranges come from.
        head: what the network's outputs are: the next sample, this one, or classes.
        horizon: samples ahead that are forecast.
        targets: channels that the network has an output for; empty for all.
        classes: names of the outputs, where they are classes; one output is the logit of its class.
        anomalous: the classes that are not normal.
        window: samples after which the state starts anew; 0 for never.
        copies: of the state, that start anew in turn.
        layers: the LSTM layers, where they are not all plain; then ``dense`` has the others.
        sha256: of all else in the file, checked where it is present; ``seal`` puts it there.
    """

    format: Literal[1] = FORMAT
    name: str
    judge: Literal["fitted", "adaptive"]
    channels: tuple[Channel, ...]
    input_size: int
    hidden_size: int
    num_layers: int
    activation_bits: Literal[8, 16]
    input_clip: float
    period_s: float = 0.0
    warm_up: int
    settle: int
    tau_b: float = 1.0
    tau_c: float = 1.0
    fit_rows: int = 0
    head: Literal["forecast", "reconstruction", "classification"] = "forecast"
    horizon: int = 1
    targets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    anomalous: tuple[str, ...] = ()
    window: int = 0
    copies: int = 1
    layers: tuple[Cell, ...] = ()
    dense: tuple[Dense, ...] = ()
    provenance: dict[str, str | int | float | bool | list[str]] = {}
    sha256: str = ""

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def steps(self) -> int:
        """Quantization steps of an activation from 0 to its bound."""
        return 127 if self.activation_bits == 8 else 32767

    @property
    def outputs(self) -> int:
        """Outputs of the network: locations and log spreads of the channels, or classes."""
        return len(self.classes) if self.head == "classification" else 2 * len(self.channels)


def shapes_of(m: Metadata, golden: int) -> Shapes:
    """Return the exact dtype and shape of every tensor of a bundle."""
    channels, f8 = len(m.channels), np.float64
    plain = (Cell(hidden_size=m.hidden_size),) * m.num_layers, (Dense(output_size=m.outputs),)
    cells, dense = (m.layers, m.dense) if m.layers else plain
    shapes = bundle_layers.shapes(cells, dense, m.input_size)
    shapes |= {
        "golden.t": (f8, (golden,)),
        "golden.x": (f8, (golden, channels)),
        "golden.surprise": (f8, (golden,)),
        "golden.forecast": (f8, (golden, channels, 2)),
    }
    if m.judge == "fitted":
        shapes |= {
            "normalize.mean": (f8, (channels,)),
            "normalize.scale": (f8, (channels,)),
            "judge.center": (f8, (2, channels)),
            "judge.whiten": (f8, (2, channels, channels)),
            "judge.blame": (f8, (2, channels)),
            "judge.evidence": (f8, (3, 2)),
            "judge.tail": (f8, (4,)),
            "rules.range": (f8, (channels, 2)),
            "rules.flat": (f8, (channels, 2)),
        }
    return shapes


def _scalers(channels: int) -> Shapes:
    """Return the tensors of a fitted bundle whose network was trained behind scalers of its own; both or none."""
    parts = ("input.mean", "input.scale", "output.mean", "output.scale")
    return dict.fromkeys(parts, (np.float64, (channels,)))


def require(condition: bool, message: str) -> None:
    """Raise WeightsError with the message where the condition does not hold."""
    if not condition:
        raise WeightsError(message)


def check_metadata(m: Metadata) -> None:
    """Refuse a document whose parts are out of bounds or contradict each other; raises WeightsError."""
    names = m.channel_names
    require(0 < len(names) <= MAX_CHANNELS, f"{len(names)} channels, expected 1 to {MAX_CHANNELS}")
    require(len(set(names)) == len(names), f"channel names are not unique: {names}")
    require(all(names), "a channel has no name")
    for field, value, most in (
        ("hidden_size", m.hidden_size, MAX_HIDDEN),
        ("num_layers", m.num_layers, MAX_LAYERS),
        ("input_size", m.input_size, MAX_CHANNELS),
    ):
        require(0 < value <= most, f"{field} is {value}, expected 1 to {most}")
    inputs = len(names) if m.judge == "fitted" else ADAPTIVE_INPUTS
    require(m.input_size == inputs, f"input_size is {m.input_size}, expected {inputs}")
    require(
        m.judge == "fitted" or len(names) == 1,
        f"an adaptive bundle has one channel, this one has {len(names)}",
    )
    for field, memory, least in (
        ("input_clip", m.input_clip, 1e-3),
        ("tau_b", m.tau_b, 1.0),  # a memory below one sample would amplify
        ("tau_c", m.tau_c, 1.0),
    ):
        require(least <= memory <= 1e6, f"{field} is {memory}, expected {least:g} to 1e6")
    require(
        math.isfinite(m.period_s) and 0 <= m.period_s < 1e9,
        f"period_s is {m.period_s}, expected >= 0",
    )
    for field, count in (("warm_up", m.warm_up), ("settle", m.settle), ("fit_rows", m.fit_rows)):
        require(0 <= count <= 10**9, f"{field} is {count}, expected 0 to 10^9")
    _check_head(m)
    require(bool(m.layers) == bool(m.dense), "layers and dense belong together: both are listed, or neither")
    if m.layers:
        bundle_layers.check(m.layers, m.dense)
        widest = max(cell.hidden_size for cell in m.layers)
        require(
            (len(m.layers), widest) == (m.num_layers, m.hidden_size),
            f"layers are {len(m.layers)} of up to {widest} units, expected {m.num_layers} of {m.hidden_size}",
        )
        require(m.dense[-1].output_size == m.outputs, f"{m.dense[-1].output_size} outputs, expected {m.outputs}")


def _check_head(m: Metadata) -> None:
    unknown = sorted(set(m.targets) - set(m.channel_names)) + sorted(set(m.anomalous) - set(m.classes))
    require(not unknown, f"targets or anomalous classes are not known: {', '.join(unknown)}")
    require(m.head == "forecast" or m.judge == "fitted", f"a {m.head} needs a fitted judge")
    require(
        (1 if m.head == "forecast" else 0) <= m.horizon <= MAX_HORIZON and (m.head == "forecast" or m.horizon == 0),
        f"horizon is {m.horizon}, expected 1 to {MAX_HORIZON} for a forecast, else 0",
    )
    require(m.judge == "fitted" or m.horizon == 1, f"horizon is {m.horizon}, expected 1 for an adaptive judge")
    require(len(set(m.classes)) == len(m.classes), f"class names are not unique: {m.classes}")
    if m.head == "classification":
        few = len(m.classes) == 1 or 0 < len(m.anomalous) < len(m.classes)
        require(0 < len(m.classes) <= MAX_CHANNELS and few, f"classes {m.classes}, of them anomalous {m.anomalous}")
    else:
        require(not m.classes and not m.anomalous, f"a {m.head} has no classes, this one has {m.classes}")
    require(
        0 <= m.window <= MAX_WINDOW and 1 <= m.copies <= MAX_COPIES and (m.window or m.copies) % m.copies == 0,
        f"window is {m.window}, copies {m.copies}: expected 0 to {MAX_WINDOW}, a multiple of 1 to {MAX_COPIES} copies",
    )
    require(m.window > 0 or m.copies == 1, f"{m.copies} copies of a state that never starts anew")


def check_tensors(m: Metadata, tensors: Tensors) -> None:
    """Refuse any but the exact set of tensors, with finite numbers in bounds; raises WeightsError."""
    golden = tensors.get("golden.t", np.zeros(0))
    require(
        golden.ndim == 1 and len(golden) in GOLDEN_ROWS,
        f"golden.t has shape {golden.shape}, expected 8 to 4096 rows",
    )
    shapes = shapes_of(m, len(golden))
    weights = sum(math.prod(shape) for _, shape in shapes.values())
    require(
        m.copies * weights * len(golden) <= MOST_WORK and m.copies * m.num_layers * m.hidden_size <= MOST_STATE,
        f"{m.copies} copies of the state of {weights} weights are too much",
    )
    if "input.mean" in tensors and m.judge == "fitted":
        shapes |= _scalers(len(m.channels))
    missing, extra = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    require(not missing, f"tensors are missing: {', '.join(missing[:5])}")
    require(not extra, f"tensors are not known: {', '.join(extra[:5])}")
    for name, (dtype, shape) in shapes.items():
        tensor = tensors[name]
        wide = dtype is np.int8 and bool(m.layers) and tensor.dtype == np.int16
        require(
            (tensor.dtype == dtype or wide) and tensor.shape == shape,
            f"{name} is {tensor.dtype} {tensor.shape}, expected {np.dtype(dtype)} {shape}",
        )
        if dtype is np.int8:
            _check_integers(m, name, tensor)
        elif name == "golden.x":  # may hold NaN, a missing value
            require(not np.isinf(tensor).any(), f"{name} holds an infinite value")
        else:
            require(bool(np.isfinite(tensor).all()), f"{name} holds a value that is not finite")
        if name.endswith(".scale"):
            require(bool((tensor > 0).all()), f"{name} holds a scale that is not positive")
        if dtype is not np.int8 and not name.startswith("golden."):
            # far beyond any honest value, and small enough that no product overflows
            require(bool((abs(tensor) <= LARGEST).all()), f"{name} holds a value above {LARGEST:g}")


def _check_integers(m: Metadata, name: str, tensor: NDArray[Any]) -> None:
    """Refuse integers beyond any difference of two bytes, and rows whose sum could leave an int32."""
    largest = max(-int(tensor.min()), int(tensor.max()))
    require(largest <= LARGEST_INTEGER, f"{name} holds {largest}, expected at most {LARGEST_INTEGER}")
    sums = np.abs(tensor, dtype=np.int16).sum(axis=1, dtype=np.int64)
    require(
        int(sums.max()) * m.steps < 2**31,
        f"{name}: {tensor.shape[1]} inputs of {m.activation_bits}-bit activations overflow an int32 sum; use 8 bits",
    )


def check_judge(tensors: Tensors) -> None:
    """Refuse a fitted judge that could not judge; raises WeightsError."""
    median, high = tensors["judge.evidence"].T
    require(
        bool((high - median >= SMALLEST).all()),
        "judge.evidence: a 99 % quantile is not above its median",
    )
    origin, threshold, sigma, xi = tensors["judge.tail"]
    require(
        origin < threshold and sigma >= SMALLEST and 0.1 <= xi <= 1,
        f"judge.tail is {tensors['judge.tail']}, expected origin < threshold, sigma > 0, xi in [0.1, 1]",
    )
    require(not np.triu(tensors["judge.whiten"], 1).any(), "judge.whiten is not lower triangular")
    low, high = tensors["rules.range"].T
    require(bool((low <= high).all()), "rules.range: low is above high")
    repeat, longest = tensors["rules.flat"].T
    require(
        bool(((repeat > 0) & (repeat <= 1) & (longest >= 0)).all()),
        "rules.flat: expected a probability in (0, 1] and a run >= 0",
    )
