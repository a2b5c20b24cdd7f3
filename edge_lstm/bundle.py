"""The weights file: read, check, write. One safetensors file, described in weights/README.md."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from edge_lstm.core.engine import Engine
from edge_lstm.core.table import ADAPTIVE, FITTED, Weights
from edge_lstm.errors import WeightsError

FORMAT: Final = 1
KEY = "edge_lstm"
MAX_FILE_BYTES = 64 * 2**20
MAX_CHANNELS, MAX_HIDDEN, MAX_LAYERS = 1024, 2048, 16
ADAPTIVE_INPUTS = 2
LARGEST = 1e15
SMALLEST = 1e-15
MAX_HEADER_BYTES = 2**20
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


class Bundle(msgspec.Struct, frozen=True):
    """A checked bundle.

    Attributes:
        digest: first 8 hex digits of the SHA-256 of its content; names the model in every score.
    """

    metadata: Metadata
    tensors: Tensors
    weights: Weights
    digest: str


def _shapes(m: Metadata, golden: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
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


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


def _check_metadata(m: Metadata) -> None:
    names = m.channel_names
    _require(0 < len(names) <= MAX_CHANNELS, f"{len(names)} channels, expected 1 to {MAX_CHANNELS}")
    _require(len(set(names)) == len(names), f"channel names are not unique: {names}")
    _require(all(names), "a channel has no name")
    for field, value, most in (
        ("hidden_size", m.hidden_size, MAX_HIDDEN),
        ("num_layers", m.num_layers, MAX_LAYERS),
        ("input_size", m.input_size, MAX_CHANNELS),
    ):
        _require(0 < value <= most, f"{field} is {value}, expected 1 to {most}")
    inputs = len(names) if m.judge == "fitted" else ADAPTIVE_INPUTS
    _require(m.input_size == inputs, f"input_size is {m.input_size}, expected {inputs}")
    _require(
        m.judge == "fitted" or len(names) == 1,
        f"an adaptive bundle has one channel, this one has {len(names)}",
    )
    for field, memory, least in (
        ("input_clip", m.input_clip, 1e-3),
        ("tau_b", m.tau_b, 1.0),  # a memory below one sample would amplify
        ("tau_c", m.tau_c, 1.0),
    ):
        _require(least <= memory <= 1e6, f"{field} is {memory}, expected {least:g} to 1e6")
    _require(
        math.isfinite(m.period_s) and 0 <= m.period_s < 1e9,
        f"period_s is {m.period_s}, expected >= 0",
    )
    for field, count in (("warm_up", m.warm_up), ("settle", m.settle), ("fit_rows", m.fit_rows)):
        _require(0 <= count <= 10**9, f"{field} is {count}, expected 0 to 10^9")
    steps = 127 if m.activation_bits == 8 else 32767
    width = max(m.input_size, m.hidden_size)
    _require(
        width * 127 * steps < 2**31,
        f"{width} inputs of {m.activation_bits}-bit activations overflow an int32 sum; use 8 bits",
    )


def _check_tensors(m: Metadata, tensors: Tensors) -> None:
    golden = tensors.get("golden.t", np.zeros(0))
    _require(
        golden.ndim == 1 and len(golden) in GOLDEN_ROWS,
        f"golden.t has shape {golden.shape}, expected 8 to 4096 rows",
    )
    shapes = _shapes(m, len(golden))
    missing, extra = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    _require(not missing, f"tensors are missing: {', '.join(missing[:5])}")
    _require(not extra, f"tensors are not known: {', '.join(extra[:5])}")
    for name, (dtype, shape) in shapes.items():
        tensor = tensors[name]
        _require(
            tensor.dtype == dtype and tensor.shape == shape,
            f"{name} is {tensor.dtype} {tensor.shape}, expected {np.dtype(dtype)} {shape}",
        )
        if dtype is np.int8:
            _require(int(tensor.min()) > -128, f"{name} holds -128, expected -127 to 127")
        elif name == "golden.x":  # may hold NaN, a missing value
            _require(not np.isinf(tensor).any(), f"{name} holds an infinite value")
        else:
            _require(bool(np.isfinite(tensor).all()), f"{name} holds a value that is not finite")
        if name.endswith(".scale"):
            _require(bool((tensor > 0).all()), f"{name} holds a scale that is not positive")
        if dtype is not np.int8 and not name.startswith("golden."):
            # far beyond any honest value, and small enough that no product overflows
            _require(bool((abs(tensor) <= LARGEST).all()), f"{name} holds a value above {LARGEST:g}")


def _check_judge(tensors: Tensors) -> None:
    median, high = tensors["judge.evidence"].T
    _require(
        bool((high - median >= SMALLEST).all()),
        "judge.evidence: a 99 % quantile is not above its median",
    )
    origin, threshold, sigma, xi = tensors["judge.tail"]
    _require(
        origin < threshold and sigma >= SMALLEST and 0.1 <= xi <= 1,
        f"judge.tail is {tensors['judge.tail']}, expected origin < threshold, sigma > 0, xi in [0.1, 1]",
    )
    _require(not np.triu(tensors["judge.whiten"], 1).any(), "judge.whiten is not lower triangular")
    low, high = tensors["rules.range"].T
    _require(bool((low <= high).all()), "rules.range: low is above high")
    repeat, longest = tensors["rules.flat"].T
    _require(
        bool(((repeat > 0) & (repeat <= 1) & (longest >= 0)).all()),
        "rules.flat: expected a probability in (0, 1] and a run >= 0",
    )


def _weights(m: Metadata, tensors: Tensors) -> Weights:
    """Fold scales and lay the tensors out as the core wants them."""
    channels, hidden, layers = len(m.channels), m.hidden_size, m.num_layers
    width = max(m.input_size, hidden if layers > 1 else 0)
    steps = np.float32(127 if m.activation_bits == 8 else 32767)
    input_k = np.float32(float(steps) / m.input_clip)
    weight_ih = np.zeros((layers, 4 * hidden, width), np.int8)
    scale_ih = np.empty((layers, 4 * hidden), np.float32)
    for layer in range(layers):
        tensor = tensors[f"weight_ih_l{layer}"]
        weight_ih[layer, :, : tensor.shape[1]] = tensor
        scale_ih[layer] = tensors[f"weight_ih_l{layer}.scale"] / (input_k if layer == 0 else steps)

    def stack(name: str) -> NDArray[Any]:
        return np.ascontiguousarray(np.stack([tensors[name.format(k)] for k in range(layers)]))

    def fitted(name: str, *shape: int) -> NDArray[np.float64]:
        return np.ascontiguousarray(tensors.get(name, np.zeros(shape)))

    return Weights(
        judge=FITTED if m.judge == "fitted" else ADAPTIVE,
        weight_ih=weight_ih,
        weight_hh=stack("weight_hh_l{}"),
        scale_ih=scale_ih,
        scale_hh=(stack("weight_hh_l{}.scale") / steps).astype(np.float32),
        bias=stack("bias_l{}"),
        head_weight=np.ascontiguousarray(tensors["head.weight"]),
        head_scale=(tensors["head.weight.scale"] / steps).astype(np.float32),
        head_bias=np.ascontiguousarray(tensors["head.bias"]),
        input_size=m.input_size,
        input_clip=np.float32(m.input_clip),
        input_k=input_k,
        hidden_k=steps,
        mean=fitted("normalize.mean", channels),
        scale=fitted("normalize.scale", channels),
        center=fitted("judge.center", 2, channels),
        whiten=fitted("judge.whiten", 2, channels, channels),
        blame=fitted("judge.blame", 2, channels),
        evidence=fitted("judge.evidence", 3, 2),
        tail=fitted("judge.tail", 4),
        tau_b=float(m.tau_b),
        tau_c=float(m.tau_c),
        range=fitted("rules.range", channels, 2),
        flat=fitted("rules.flat", channels, 2),
        fit_rows=float(m.fit_rows),
        period_s=float(m.period_s),
        warm_up=float(m.warm_up),
        settle=float(m.settle),
    )


def _golden_run(weights: Weights, t: NDArray[np.float64], x: NDArray[np.float64]) -> Tensors:
    results = Engine(weights, 1).advance(np.zeros(len(t), np.int64), t, x)
    return {
        "golden.surprise": results.surprise.copy(),
        "golden.forecast": results.forecast.copy(),
    }


def _check_golden(weights: Weights, tensors: Tensors) -> None:
    again = _golden_run(weights, tensors["golden.t"], tensors["golden.x"])
    for name, tensor in again.items():
        if not np.array_equal(tensor, tensors[name]):
            first = int(np.argwhere((tensor != tensors[name]).reshape(len(tensor), -1).any(1))[0, 0])
            message = (
                f"{name}: this machine computes something else from row {first} on. "
                "The file is damaged, or this build of edge-lstm is not the one it was made for"
            )
            raise WeightsError(message)


def _sha256(m: Metadata, tensors: Tensors) -> str:
    """Return the hash of a bundle's content, but for ``Metadata.sha256`` itself."""
    document = msgspec.to_builtins(m)
    del document["sha256"]
    h = hashlib.sha256(msgspec.json.encode(document, order="sorted"))
    for name in sorted(tensors):
        h.update(name.encode())
        h.update(np.ascontiguousarray(tensors[name]).tobytes())
    return h.hexdigest()


def _assemble(metadata: Metadata, tensors: Tensors) -> Bundle:
    _check_metadata(metadata)
    _check_tensors(metadata, tensors)
    if metadata.judge == "fitted":
        _check_judge(tensors)
    return Bundle(metadata, tensors, _weights(metadata, tensors), _sha256(metadata, tensors)[:8])


def seal(
    metadata: Metadata,
    tensors: Tensors,
    golden_t: NDArray[np.float64],
    golden_x: NDArray[np.float64],
) -> Bundle:
    """Return a bundle with its golden run added.

    Args:
        metadata: its document.
        tensors: everything but the ``golden.*`` ones.
        golden_t: (G,) Unix seconds, 8 to 4096 of them.
        golden_x: (G, C) data units.

    Raises:
        WeightsError: the parts are not a bundle.
    """
    room = {
        "golden.t": np.asarray(golden_t, np.float64),
        "golden.x": np.asarray(golden_x, np.float64),
        "golden.surprise": np.zeros(len(golden_t)),
        "golden.forecast": np.zeros((*golden_x.shape, 2)),
    }
    draft = _assemble(metadata, tensors | room)
    golden = _golden_run(draft.weights, room["golden.t"], room["golden.x"])
    tensors = draft.tensors | golden
    sealed = msgspec.structs.replace(metadata, sha256=_sha256(metadata, tensors))
    return _assemble(sealed, tensors)


def write(bundle: Bundle, path: str | Path) -> None:
    """Write a bundle; the same bundle gives the same bytes."""
    document = msgspec.json.encode(bundle.metadata).decode()
    Path(path).write_bytes(save(dict(sorted(bundle.tensors.items())), {KEY: document}))


def read(path: str | Path, *, replay_golden: bool = True) -> Bundle:
    """Read a bundle, check everything about it and replay its golden run.

    Args:
        path: a ``.safetensors`` file.
        replay_golden: off for a look at the file alone, without the compiler.

    Raises:
        WeightsError: it is not a bundle, or not one that this build computes exactly.
    """
    try:
        bundle = _read(Path(path))
        if replay_golden:
            _check_golden(bundle.weights, bundle.tensors)
    except WeightsError as error:
        message = f"{path}: {error}"
        raise WeightsError(message) from None
    return bundle


def _read(path: Path) -> Bundle:
    try:
        size = path.stat().st_size
        _require(path.is_file(), "not a regular file")
        _require(size <= MAX_FILE_BYTES, f"{size} bytes, expected at most {MAX_FILE_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        message = f"can't be read: {error.strerror}"
        raise WeightsError(message) from None
    header = _header(content)
    text = header.get("__metadata__", {})
    _require(
        isinstance(text, dict) and set(text) == {KEY},
        f"not an edge-lstm bundle: no {KEY!r} in the metadata; make one with 'edge-lstm fit'",
    )
    try:
        metadata = msgspec.json.decode(text[KEY], type=Metadata)
        tensors = load(content)
    except Exception as error:  # safetensors raises several types of its own
        message = f"damaged: {error}"
        raise WeightsError(message) from None
    bundle = _assemble(metadata, tensors)
    _require(metadata.sha256 in ("", _sha256(metadata, tensors)), "damaged: its content is not what its sha256 says")
    return bundle


def _header(content: bytes) -> dict[str, Any]:
    """Return the JSON header of a safetensors file, its size checked before it is parsed."""
    length = int.from_bytes(content[:8], "little")
    _require(len(content) > 8 and 2 <= length <= MAX_HEADER_BYTES, "not a safetensors file")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        message = "not a safetensors file: its header is not JSON"
        raise WeightsError(message) from None
    _require(isinstance(header, dict), "not a safetensors file: its header is not an object")
    return dict(header)
