"""Where values are clipped when they are quantized: never where normal operation takes them."""

from dataclasses import replace

import numpy as np
import pytest

from edge_lstm.convert.bounds import LARGEST, SMALLEST, bound_of, bounds
from edge_lstm.convert.mathematics import fresh, step
from edge_lstm.convert.model import (
    LINEAR,
    RELU,
    RELU6,
    SIGMOID,
    TANH,
    Activation,
    Matrix,
    Model,
    Scaler,
    hard_sigmoid,
)
from tests.convert.handmade import dense, lstm

X = np.random.default_rng(0).normal(size=(200, 3))


@pytest.mark.parametrize(
    ("function", "bound"),
    [
        (SIGMOID, 1.0),
        (TANH, 1.0),
        (Activation("tanh", 1.7, 0.6), 1.7),
        (Activation("tanh", -1.7), 1.7),
        (Activation("softsign"), 1.0),
        (hard_sigmoid(0.2, 0.5), 1.0),
        (RELU6, 6.0),
        (Activation("clipped", 1.0, 0.0, -2.0, 0.5), 2.0),
        (RELU, np.inf),
        (LINEAR, np.inf),
        (Activation("leaky_relu", 0.1), np.inf),
        (Activation("elu"), np.inf),
        (Activation("softplus"), np.inf),
        (Activation("swish"), np.inf),
    ],
)
def test_bounds_of_functions(function: Activation, bound: float) -> None:
    assert bound_of(function) == bound
    x = np.linspace(-50.0, 50.0, 1001)
    formulas = {
        "sigmoid": 1.0 / (1.0 + np.exp(-x)), "tanh": function.a * np.tanh(function.b * x),
        "softsign": x / (1.0 + np.abs(x)), "clipped": np.clip(function.a * x + function.b, function.low, function.high),
    }  # fmt: skip
    if function.kind in formulas:
        assert np.abs(formulas[function.kind]).max() <= bound


def seen(model: Model, x: np.ndarray) -> list[float]:
    """Return the largest output of each layer."""
    state, largest = fresh(model), np.zeros(len(model.layers))
    for row in x:
        step(model, state, row)
        largest = np.maximum(largest, [np.abs(r).max() for r in state.r])
    return largest.tolist()


def test_proven_bounds_are_taken_as_they_are() -> None:
    """Those of sigmoid and tanh need no rows, so they hold for any input."""
    rng = np.random.default_rng(1)
    model = Model("by hand", (lstm(rng, 3, 4), lstm(rng, 4, 5, gate=hard_sigmoid(0.2, 0.5))), (dense(rng, 5, 2),))
    assert bounds(model, 1e-6 * X) == ((1.0, 1.0), (1.0, 1.0), (1.0,))


def test_observed_bounds_are_twice_what_was_seen() -> None:
    rng = np.random.default_rng(2)
    loose = lstm(rng, 3, 6, candidate=RELU, output=RELU)
    model = Model(
        "by hand", (loose, lstm(rng, 6, 4)), (dense(rng, 4, 5, RELU), dense(rng, 5, 2, TANH), dense(rng, 2, 2))
    )
    found, (largest, _) = bounds(model, X), seen(model, X)
    assert found.outputs == (pytest.approx(2.0 * largest), 1.0)
    state, after = fresh(model), 0.0
    for row in X:
        step(model, state, row)
        first = model.head[0]
        after = max(after, float(np.maximum(first.weight.real @ state.r[1] + first.bias, 0.0).max()))
    assert found.dense == (1.0, pytest.approx(2.0 * after), 1.0)


def test_a_proven_bound_is_narrowed_where_less_is_needed() -> None:
    rng = np.random.default_rng(3)
    tanh = Activation("tanh", 50.0, 0.01)
    model = Model("by hand", (lstm(rng, 3, 4, output=tanh),), (dense(rng, 4, 2),))
    assert bounds(model, X).outputs == (pytest.approx(2.0 * seen(model, X)[0]),)
    assert bounds(model, X).outputs[0] < 50.0


def test_projections() -> None:
    """The clip of a projection proves its bound; without one it is observed; the units behind it have their own."""
    rng = np.random.default_rng(4)
    layer = lstm(rng, 3, 6, 4)
    free, clipped = Model("by hand", (layer,)), Model("by hand", (replace(layer, projection_clip=0.05),))
    assert bounds(free, X).outputs == (pytest.approx(2.0 * seen(free, X)[0]),)
    assert bounds(free, X).inner == (1.0,)
    assert bounds(clipped, X).outputs == (0.05,)
    relu = Model("by hand", (replace(layer, output=RELU),))
    hidden = replace(layer, output=RELU, weight_hr=None)
    state, units = fresh(relu), 0.0
    for row in X:
        before = [state.r[0].copy()], [state.c[0].copy()]
        step(relu, state, row)
        alone = Model("units", (hidden,))
        inside = fresh(relu)
        inside.r, inside.c = before
        units = max(units, float(np.abs(step(alone, inside, row)).max()))
    assert bounds(relu, X).inner == (pytest.approx(2.0 * units),)


def test_limits_and_the_scaler() -> None:
    rng = np.random.default_rng(5)
    still = lstm(rng, 3, 2, candidate=RELU, output=RELU, weight_ih=Matrix.of_floats(np.zeros((8, 3))))
    still = replace(still, bias=np.full(8, -30.0))
    assert bounds(Model("by hand", (still,)), X).outputs == (SMALLEST,)
    large = replace(still, bias=np.full(8, 1e5), weight_hh=Matrix.of_floats(np.zeros((8, 2))))
    assert bounds(Model("by hand", (large,)), X).outputs == (LARGEST,)
    loose = Model("by hand", (lstm(rng, 3, 6, candidate=RELU, output=RELU),))
    scaled = replace(loose, scaler=Scaler(np.array([5.0, 6.0, 7.0]), np.array([0.1, 2.0, 30.0])))
    behind = X * scaled.scaler.scale + scaled.scaler.mean
    np.testing.assert_allclose(bounds(scaled, behind).outputs, bounds(loose, X).outputs, rtol=1e-9)
