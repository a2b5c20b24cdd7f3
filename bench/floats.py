"""A fitted network in float64, as ``edge_lstm.fit`` has it before it quantizes, and bundles made of it."""

from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
from numpy.typing import NDArray

from bench.detection.labelled import System
from edge_lstm.bundle import Bundle
from edge_lstm.convert.checks import check
from edge_lstm.convert.mathematics import run
from edge_lstm.convert.model import Dense, Lstm, Matrix, Model
from edge_lstm.core.admit import GAP_AFTER, GAP_PERIODS
from edge_lstm.core.table import Weights
from edge_lstm.fit import fitting
from edge_lstm.fit.calibrate import CLIP, calibrate, residuals
from edge_lstm.fit.fitting import FitOptions
from edge_lstm.fit.normal import Normal, normalize
from edge_lstm.fit.quantize import rows_to_int8

Floats = NDArray[np.float64]
SHIPPED, EIGHT, ONE_SCALE = "int8, 16-bit activations", "int8, 8-bit activations", "int8, one scale a tensor"


def model_of(tensors: dict[str, Floats]) -> Model:
    """Return a network of one layer as an importer would."""
    layer = Lstm(
        "lstm", Matrix.of_floats(tensors["weight_ih_l0"]), Matrix.of_floats(tensors["weight_hh_l0"]),
        tensors["bias_l0"],
    )  # fmt: skip
    head = Dense("head", Matrix.of_floats(tensors["head.weight"]), tensors["head.bias"])
    return check(Model("edge-lstm fit", (layer,), (head,)))


@numba.njit(error_model="numpy")
def _advance(w_x: Any, w_h: Any, bias: Any, w_out: Any, b_out: Any, z: Any, h: Any, c: Any) -> Any:
    units, outputs = len(h), len(b_out)
    out = np.empty((len(z), outputs))
    for k in range(len(z)):
        pre = bias.copy()
        for j in range(z.shape[1]):
            pre += w_x[j] * z[k, j]
        for j in range(units):
            pre += w_h[j] * h[j]
        for j in range(units):
            i, f, g, o = pre[j], pre[units + j], pre[2 * units + j], pre[3 * units + j]
            c[j] = (0.5 + 0.5 * np.tanh(0.5 * f)) * c[j] + (0.5 + 0.5 * np.tanh(0.5 * i)) * np.tanh(g)
            h[j] = (0.5 + 0.5 * np.tanh(0.5 * o)) * np.tanh(c[j])
        y = b_out.copy()
        for j in range(units):
            y += w_out[j] * h[j]
        out[k] = y
    return out


class Stream:
    """A state of a float64 network; ``edge_lstm.convert.mathematics``, compiled."""

    def __init__(self, model: Model) -> None:
        layer, head = model.layers[0], model.head[0]
        weights = (layer.weight_ih.real.T, layer.weight_hh.real.T, layer.bias, head.weight.real.T, head.bias)
        self._weights = tuple(np.ascontiguousarray(w) for w in weights)
        self._state = np.zeros(layer.hidden_size), np.zeros(layer.hidden_size)

    def advance(self, z: Floats) -> Floats:
        """Return the outputs after each of the rows (n, I): (n, O)."""
        return np.asarray(_advance(*self._weights, np.ascontiguousarray(z), *self._state))


def check_stream(model: Model, z: Floats) -> float:
    """Return how far the compiled loop is from the plain mathematics."""
    apart = float(np.abs(Stream(model).advance(z) - run(model, z)).max())
    if apart > 1e-9:
        raise SystemExit(f"the float64 loop differs from its reference by {apart}")
    return apart


@dataclass(frozen=True)
class Fitted:
    """One network of a system, in float64 and in bundles.

    Attributes:
        judge: the weights of the shipped default with a judge that is calibrated on the float network's residuals.
    """

    model: Model
    normal: Normal
    bundles: dict[str, Bundle]
    judge: Weights

    def inputs(self, x: Floats) -> Floats:
        """Return what the network takes of samples in data units."""
        return np.clip((x - self.normal.mean) / self.normal.scale, -CLIP, CLIP)

    def outputs(self, t: Floats, x: Floats) -> Floats:
        """Return the float network's outputs after each sample; it forgets at a gap, as the engine does."""
        gaps = np.diff(t) > GAP_PERIODS * self.normal.period_s
        cuts = [cut for cut in (np.flatnonzero(gaps) + 1).tolist() if cut >= GAP_AFTER]
        return np.concatenate([Stream(self.model).advance(z) for z in np.split(self.inputs(x), cuts)])


def fit_once(system: System, seed: int) -> Fitted:
    """Train as ``edge-lstm fit`` does, once, and let it make every bundle of that network."""
    options = FitOptions(seed=seed)
    normal = normalize(system.normal, options.held_back)
    trained = fitting._train_each(normal, options, lambda _stage, _share: None)

    def bundle(changed: FitOptions) -> Bundle:
        with patch.object(fitting, "_train_each", lambda *_: trained):
            return fitting.fit(system.normal, system.columns, changed, name=system.name)[0]

    eight = bundle(replace(options, activation_bits=8))
    shipped = bundle(options)
    with patch.object(fitting, "quantize", one_scale_a_tensor):
        coarse = bundle(options)
    net = trained[0][float(shipped.metadata.provenance["weight_decay"])]  # type: ignore[arg-type]
    model = model_of(fitting._without_constant(net.export(), normal))
    bundles = {SHIPPED: shipped, EIGHT: eight, ONE_SCALE: coarse}
    return Fitted(model, normal, bundles, _float_judge(model, normal, shipped))


def _float_judge(model: Model, normal: Normal, shipped: Bundle) -> Weights:
    m, channels = shipped.metadata, len(normal.mean)
    judged = [
        residuals(z, Stream(model).advance(z)[:, :channels], held)
        for z, held in zip(normal.z, normal.held, strict=True)
    ]
    found = calibrate(judged, normal.constant, m.tau_b, m.tau_c)
    norms = shipped.weights.norms._replace(
        center=found.center, whiten=found.whiten, blame=found.blame, evidence=found.evidence, tail=found.tail
    )
    return shipped.weights._replace(norms=norms)


def one_scale_a_tensor(tensors: dict[str, Floats]) -> dict[str, NDArray[Any]]:
    """Return a network's tensors as a bundle has them, but all rows of a tensor with the scale of its largest.

    The head's locations and spreads are two tensors.
    """
    bundle: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if "bias" in name:
            bundle[name] = tensor.astype(np.float32)
            continue
        parts = [_to_int8(part) for part in np.split(tensor, 2 if name == "head.weight" else 1)]
        bundle[name], bundle[f"{name}.scale"] = (np.concatenate(side) for side in zip(*parts, strict=True))
    return bundle


def _to_int8(part: Floats) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    values, scale = rows_to_int8(part.reshape(1, -1))
    return values.reshape(part.shape), np.repeat(scale, len(part))
