"""The weights file: read, check, write. One safetensors file, described in weights/README.md."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from edge_lstm.bundle_format import (
    ADAPTIVE_INPUTS,
    LATER,
    MAX_HIDDEN,
    MAX_LAYERS,
    Channel,
    Metadata,
    check_judge,
    check_metadata,
    check_tensors,
    require,
)
from edge_lstm.bundle_header import KEY, document_of
from edge_lstm.bundle_layers import Tensors, build
from edge_lstm.core.engine import Engine
from edge_lstm.core.layers import Layers
from edge_lstm.core.table import (
    ADAPTIVE,
    CLASSIFIES,
    FITTED,
    FORECASTS,
    RECONSTRUCTS,
    Network,
    Norms,
    Weights,
)
from edge_lstm.errors import WeightsError

__all__ = [
    "ADAPTIVE_INPUTS", "KEY", "MAX_HIDDEN", "MAX_LAYERS", "Bundle", "Channel", "Metadata", "Tensors",
    "read", "seal", "write",
]  # fmt: skip

MAX_FILE_BYTES = 64 * 2**20
HEADS = {"forecast": FORECASTS, "reconstruction": RECONSTRUCTS, "classification": CLASSIFIES}


class Bundle(msgspec.Struct, frozen=True):
    """A checked bundle.

    Attributes:
        digest: first 8 hex digits of the SHA-256 of its content; names the model in every score.
    """

    metadata: Metadata
    tensors: Tensors
    weights: Weights
    digest: str


def _weights(m: Metadata, tensors: Tensors) -> Weights:
    """Fold scales and lay the tensors out as the core wants them."""
    return Weights(_network(m, tensors), _norms(m, tensors))


def _network(m: Metadata, tensors: Tensors) -> Network | Layers:
    steps = np.float32(m.steps)
    if m.layers:
        active = m.outputs if m.head == "classification" else len(m.channels)
        return build(m.layers, m.dense, tensors, m.input_clip, steps, active)
    hidden, layers = m.hidden_size, m.num_layers
    width = max(m.input_size, hidden if layers > 1 else 0)
    input_k = np.float32(float(steps) / m.input_clip)
    weight_ih = np.zeros((layers, 4 * hidden, width), np.int8)
    scale_ih = np.empty((layers, 4 * hidden), np.float32)
    for layer in range(layers):
        tensor = tensors[f"weight_ih_l{layer}"]
        weight_ih[layer, :, : tensor.shape[1]] = tensor
        scale_ih[layer] = tensors[f"weight_ih_l{layer}.scale"] / (input_k if layer == 0 else steps)

    def stack(name: str) -> NDArray[Any]:
        return np.ascontiguousarray(np.stack([tensors[name.format(k)] for k in range(layers)]))

    return Network(
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
    )


def _norms(m: Metadata, tensors: Tensors) -> Norms:
    channels = len(m.channels)

    def fitted(name: str, *shape: int) -> NDArray[np.float64]:
        return np.ascontiguousarray(tensors.get(name, np.zeros(shape)))

    mean, scale = fitted("normalize.mean", channels), fitted("normalize.scale", channels)
    return Norms(
        kind=FITTED if m.judge == "fitted" else ADAPTIVE,
        head=HEADS[m.head],
        mean=mean,
        scale=scale,
        input_mean=tensors.get("input.mean", mean),
        input_scale=tensors.get("input.scale", scale),
        output_mean=tensors.get("output.mean", mean),
        output_scale=tensors.get("output.scale", scale),
        target=np.array([float(not m.targets or name in m.targets) for name in m.channel_names]),
        anomalous=np.array([float(name in m.anomalous) for name in m.classes]),
        horizon=m.horizon,
        window=m.window,
        copies=m.copies,
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


def _document(m: Metadata) -> dict[str, Any]:
    """Return the document without fields that say what was so before there were such fields."""
    return {
        name: value
        for name, value in msgspec.to_builtins(m).items()
        if name not in LATER or getattr(m, name) != LATER[name]
    }


def _sha256(m: Metadata, tensors: Tensors) -> str:
    """Return the hash of a bundle's content, but for ``Metadata.sha256`` itself."""
    document = _document(m)
    del document["sha256"]
    h = hashlib.sha256(msgspec.json.encode(document, order="sorted"))
    for name in sorted(tensors):
        h.update(name.encode())
        h.update(np.ascontiguousarray(tensors[name]).tobytes())
    return h.hexdigest()


def _assemble(metadata: Metadata, tensors: Tensors) -> Bundle:
    check_metadata(metadata)
    check_tensors(metadata, tensors)
    if metadata.judge == "fitted":
        check_judge(tensors)
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
        "golden.x": np.ascontiguousarray(golden_x, np.float64),
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
    document = msgspec.json.encode(_document(bundle.metadata)).decode()
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
        require(path.is_file(), "not a regular file")
        require(size <= MAX_FILE_BYTES, f"{size} bytes, expected at most {MAX_FILE_BYTES}")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        message = f"can't be read: {getattr(error, 'strerror', None) or error}"
        raise WeightsError(message) from None
    document = document_of(content)
    try:
        metadata = msgspec.json.decode(document, type=Metadata)
        tensors = load(content)
    except Exception as error:  # safetensors raises several types of its own
        message = f"damaged: {error}"
        raise WeightsError(message) from None
    bundle = _assemble(metadata, tensors)
    require(metadata.sha256 in ("", _sha256(metadata, tensors)), "damaged: its content is not what its sha256 says")
    return bundle
