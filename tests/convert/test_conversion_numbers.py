"""What becomes of the numbers: integers that stay, a bound on what rounding may do, the width of activations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_lstm.convert.frame import frame
from edge_lstm.convert.mathematics import run
from edge_lstm.convert.meaning import Choice, meaning
from edge_lstm.convert.model import RELU, Dense, Lstm, Matrix, Model, Scaler
from edge_lstm.errors import WeightsError
from tests.convert import handmade
from tests.convert.handmade import MEAN, NAMES, SPREAD, made, plain, rows, scaler

Floats = NDArray[np.float64]


@pytest.mark.parametrize("kind", ["int8", "uint8", "tensor"])
def test_integers_arrive_as_they_are(kind: str) -> None:
    """Element by element, beside their scales; zero points are subtracted, and -128 is not squeezed to -127."""
    model = handmade.of_integers(kind)
    tensors = made(model).bundle.tensors
    named = {"head.weight": model.head[0].weight}
    for k, layer in enumerate(model.layers):
        named |= {f"weight_ih_l{k}": layer.weight_ih, f"weight_hh_l{k}": layer.weight_hh}
    for name, matrix in named.items():
        n = len(matrix.values)  # the head has rows for spreads behind its own
        assert tensors[name].dtype == (np.int16 if kind == "uint8" else np.int8), name
        assert tensors[name][:n].tolist() == matrix.values.tolist(), name
        assert not tensors[name][n:].any()
        if name != "head.weight":
            assert tensors[f"{name}.scale"].tolist() == matrix.scale.astype(np.float32).tolist()
    ratio = scaler().scale / tensors["normalize.scale"]  # a scale of the head is in scales of the data
    found = tensors["head.weight.scale"][:3]
    assert found.tolist() == (model.head[0].weight.scale * ratio).astype(np.float32).tolist()
    extremes = {"int8": -128, "tensor": -128, "uint8": -255}
    assert tensors["weight_ih_l0"].min() == extremes[kind]
    assert tensors["input.mean"].tolist() == scaler().mean.tolist()


def sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


class Allowance:
    """How far a device may be from the numbers of a source, at most: rounding, carried through one step after another.

    From a bound on what is off in h and c before a step follow those on sums, products and rising functions of them.
    """

    F32 = 5e-6  # a sum of float32 numbers of about 10
    FUNCTION = 1e-6  # docs/numerics.md: 6.3e-7 at most

    def __init__(self, layer: Lstm, head: Dense, clip: float, steps: int) -> None:
        self.w, self.u, self.b = layer.weight_ih.real, layer.weight_hh.real, layer.bias
        self.head, self.head_bias = head.weight.real, head.bias
        self.input_off, self.h_off = 0.5 * clip / steps, 0.5 / steps
        self.off = [self._off(matrix) for matrix in (layer.weight_ih, layer.weight_hh, head.weight)]
        units = layer.hidden_size
        self.h, self.c, self.dh, self.dc = (np.zeros(units) for _ in range(4))

    @staticmethod
    def _off(matrix: Matrix) -> Floats:
        """Return how far a row's weights may be off: half a step of 1/127 of its largest; float32 scales."""
        rounding = 0.0 if matrix.is_integer else 0.5 / 127.0
        return np.abs(matrix.real).max(1) * (rounding + 1e-6)

    def _through(self, function: Any, x: Floats, dx: Floats) -> tuple[Floats, Floats]:
        """Return a rising function of x, and how far off it is at most where x is off by dx."""
        y = function(x)
        return y, np.maximum(function(x + dx) - y, y - function(x - dx)) + self.FUNCTION

    def step(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the outputs after x, and how far the device's may be from them."""
        in_h = self.dh + self.h_off
        pre = self.w @ x + self.u @ self.h + self.b
        d = np.abs(self.w).sum(1) * self.input_off + np.abs(self.u) @ in_h + self.F32
        d += self.off[0] * (np.abs(x) + self.input_off).sum() + self.off[1] * (np.abs(self.h) + in_h).sum()
        (i, di), (f, df), (g, dg), (o, do) = (
            self._through(np.tanh if k == 2 else sigmoid, np.split(pre, 4)[k], np.split(d, 4)[k]) for k in range(4)
        )
        dc = (f + df) * self.dc + df * np.abs(self.c) + (i + di) * dg + di * np.abs(g)
        self.c = f * self.c + i * g
        m, dm = self._through(np.tanh, self.c, dc)
        dh = (o + do) * dm + do * np.abs(m)
        self.h, self.dh, self.dc = o * m, dh, dc
        dy = np.abs(self.head) @ (dh + self.h_off) + self.off[2] * (np.abs(self.h) + dh + self.h_off).sum()
        return self.head @ self.h + self.head_bias, dy + self.F32


@pytest.mark.parametrize(
    ("weights", "bits", "useful"), [("float", 16, 0.5), ("integer", 16, 0.05), ("integer", 8, 9.0)]
)
def test_the_bundle_is_within_what_rounding_allows(weights: str, bits: int, useful: float) -> None:
    """Sample by sample, on normal rows; and the allowance is small beside what the forecasts move by."""
    rng, s, x = np.random.default_rng(8), scaler(), rows(300)
    parts = {"weight_hh": Matrix.of_floats(rng.normal(0, 0.06, (32, 8)))}
    if weights == "integer":
        recurrent = handmade.integers(rng, 32, 8, "int8")  # weak enough for errors to fade
        parts = {
            "weight_ih": handmade.integers(rng, 32, 3, "int8"),
            "weight_hh": Matrix(recurrent.values, 0.2 * recurrent.scale),
        }
    last = Dense("fc", handmade.integers(rng, 3, 8, "int8"), rng.normal(0, 0.2, 3))
    model = Model("by hand", (handmade.lstm(rng, 3, 8, **parts),), (last,))
    bundle = made(model, x, target_scaler=s, activation_bits=bits).bundle
    m, t = bundle.metadata, bundle.tensors
    layer, given = model.layers[0], s
    if weights == "float":  # the bundle takes inputs in its own scale, so what is rounded are those weights
        given = Scaler(t["normalize.mean"], t["normalize.scale"])
        moved = layer.bias + layer.weight_ih.real @ ((given.mean - s.mean) / s.scale)
        layer = replace(
            layer, weight_ih=Matrix.of_floats(layer.weight_ih.real * (given.scale / s.scale)), bias=moved
        )  # fmt: skip
    allowance = Allowance(layer, last, m.input_clip, 127 if bits == 8 else 32767)
    steps = [allowance.step((row - given.mean) / given.scale) for row in x]
    wanted, allowed = (np.array(part) * s.scale for part in zip(*steps, strict=True))
    wanted += s.mean
    np.testing.assert_allclose(run(model, (x - s.mean) / s.scale) * s.scale + s.mean, wanted, rtol=1e-10)
    assert (np.abs(handmade.run(bundle, x).forecast[..., 0] - wanted) <= allowed).all()
    assert (allowed.max(0) < useful * wanted.std(0)).all()


def test_folding_the_scaler_gives_the_same_function() -> None:
    """Float weights take the ratio of the two scales, biases the shift; the source's own numbers do the rest."""
    model, x = plain(), rows(200)
    data, behind = Scaler(x.mean(0), x.std(0)), Scaler(MEAN - SPREAD, 2.0 * SPREAD)
    what = meaning(model, NAMES, Choice(targets=("power", "flow", "pressure")))
    folded = frame(model, what, data, scaler(), behind)
    assert folded.tensors() == {}
    source = run(model, (x - scaler().mean) / scaler().scale) * behind.scale[[2, 0, 1]] + behind.mean[[2, 0, 1]]
    made_of = run(folded.model, (x - data.mean) / data.scale)
    assert made_of.shape == (200, 6)
    np.testing.assert_allclose(made_of[:, [2, 0, 1]] * data.scale[[2, 0, 1]] + data.mean[[2, 0, 1]], source, rtol=1e-9)
    assert not made_of[:, 3:].any()  # log spreads, not known yet
    np.testing.assert_allclose(folded.float_outputs(x), made_of, rtol=1e-7, atol=1e-9)


def _wide(seed: int = 2) -> Model:
    """Return a model with 300 inputs of up to 255 to its last layer: too many for 16 bits and sums of 32."""
    rng = np.random.default_rng(seed)
    wide = handmade.dense(rng, 8, 300, RELU)
    values = np.where(rng.random((3, 300)) < 0.5, 0, 255).astype(np.uint8)
    last = Dense("fc", Matrix.of_integers(values, 1e-4, [0, 255, 0]), np.zeros(3))
    last = replace(last, weight=Matrix(np.where(last.weight.values == 0, 250, last.weight.values), last.weight.scale))
    return Model("by hand", (handmade.lstm(rng, 3, 8),), (wide, last))


def test_activations_are_as_narrow_as_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, x = np.random.default_rng(0), rows(400)
    x[:, 1] = scaler().mean[1]  # a channel that stands still: its weight only takes the steps from the others
    weights = np.zeros((4, 3))
    weights[2, :2] = 1.0, 500.0
    bias = np.array([-3.0, 3.0, 0.0, 3.0])  # slow, so that the rounding of inputs is averaged out
    slow = Lstm("lstm", Matrix.of_floats(weights), Matrix.of_floats(np.zeros((4, 1))), bias)
    model = Model("by hand", (slow,), (handmade.dense(rng, 1, 3),))
    found = made(model, x, target_scaler=scaler())
    assert 1.25 < found.arrival.widths[8] / found.arrival.widths[16] < 2.0
    assert found.bundle.metadata.activation_bits == 16
    monkeypatch.setattr("edge_lstm.convert.conversion.WORTH_16", 2.0)
    assert made(model, x, target_scaler=scaler()).bundle.metadata.activation_bits == 8
    sharp = made(handmade.of_integers("int8"))
    assert sharp.arrival.widths[8] > 1.25 * sharp.arrival.widths[16]
    assert sharp.bundle.metadata.activation_bits == 16
    assert made(handmade.of_integers("int8"), activation_bits=8).bundle.metadata.activation_bits == 8


def test_too_wide_for_16_bits_is_8() -> None:
    found = made(_wide(), rows(200), target_scaler=scaler())
    assert found.bundle.metadata.activation_bits == 8
    assert list(found.arrival.widths) == [8]
    with pytest.raises(WeightsError, match="300 inputs of 16-bit activations overflow an int32 sum; use 8 bits"):
        made(_wide(), rows(200), target_scaler=scaler(), activation_bits=16)
