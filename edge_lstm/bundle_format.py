"""What a bundle must be: its document, its tensors, and the bounds of both (weights/README.md)."""

import math
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_lstm.errors import WeightsError

FORMAT: Final = 1
MAX_CHANNELS, MAX_HIDDEN, MAX_LAYERS = 1024, 2048, 16
ADAPTIVE_INPUTS = 2
LARGEST = 1e15
SMALLEST = 1e-15
GOLDEN_ROWS = range(8, 4097)

Tensors = dict[str, NDArray[Any]]


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
    provenance: dict[str, str | int | float | bool | list[str]] = {}
    sha256: str = ""

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return tuple(channel.name for channel in self.channels)


def shapes_of(m: Metadata, golden: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Return the exact dtype and shape of every tensor of a bundle."""
    channels, hidden = len(m.channels), m.hidden_size
    f4, f8, i1 = np.float32, np.float64, np.int8
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {}
    for layer in range(m.num_layers):
        width = m.input_size if layer == 0 else hidden
        shapes |= {
            f"weight_ih_l{layer}": (i1, (4 * hidden, width)),
            f"weight_ih_l{layer}.scale": (f4, (4 * hidden,)),
            f"weight_hh_l{layer}": (i1, (4 * hidden, hidden)),
            f"weight_hh_l{layer}.scale": (f4, (4 * hidden,)),
            f"bias_l{layer}": (f4, (4 * hidden,)),
        }
    shapes |= {
        "head.weight": (i1, (2 * channels, hidden)),
        "head.weight.scale": (f4, (2 * channels,)),
        "head.bias": (f4, (2 * channels,)),
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
    steps = 127 if m.activation_bits == 8 else 32767
    width = max(m.input_size, m.hidden_size)
    require(
        width * 127 * steps < 2**31,
        f"{width} inputs of {m.activation_bits}-bit activations overflow an int32 sum; use 8 bits",
    )


def check_tensors(m: Metadata, tensors: Tensors) -> None:
    """Refuse any but the exact set of tensors, with finite numbers in bounds; raises WeightsError."""
    golden = tensors.get("golden.t", np.zeros(0))
    require(
        golden.ndim == 1 and len(golden) in GOLDEN_ROWS,
        f"golden.t has shape {golden.shape}, expected 8 to 4096 rows",
    )
    shapes = shapes_of(m, len(golden))
    missing, extra = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    require(not missing, f"tensors are missing: {', '.join(missing[:5])}")
    require(not extra, f"tensors are not known: {', '.join(extra[:5])}")
    for name, (dtype, shape) in shapes.items():
        tensor = tensors[name]
        require(
            tensor.dtype == dtype and tensor.shape == shape,
            f"{name} is {tensor.dtype} {tensor.shape}, expected {np.dtype(dtype)} {shape}",
        )
        if dtype is np.int8:
            require(int(tensor.min()) > -128, f"{name} holds -128, expected -127 to 127")
        elif name == "golden.x":  # may hold NaN, a missing value
            require(not np.isinf(tensor).any(), f"{name} holds an infinite value")
        else:
            require(bool(np.isfinite(tensor).all()), f"{name} holds a value that is not finite")
        if name.endswith(".scale"):
            require(bool((tensor > 0).all()), f"{name} holds a scale that is not positive")
        if dtype is not np.int8 and not name.startswith("golden."):
            # far beyond any honest value, and small enough that no product overflows
            require(bool((abs(tensor) <= LARGEST).all()), f"{name} holds a value above {LARGEST:g}")


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
