"""Classes and their odds, faults under every head, and what is refused."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.convert.arrival import device_outputs
from edge_lstm.convert.mathematics import run
from edge_lstm.convert.model import RELU, SIGMOID, SOFTMAX, Activation, Dense, Lstm, Matrix, Model, Scaler
from edge_lstm.core.table import REASONS
from edge_lstm.errors import WeightsError
from tests.convert import handmade
from tests.convert.handmade import MEAN, SPREAD, made, plain, rows, scaler
from tests.reference import Reference

Floats = NDArray[np.float64]


def _logits(bundle: Bundle, x: Floats) -> Floats:
    """Return what the oracle's network says of each row."""
    oracle, found, s = Reference(msgspec.to_builtins(bundle.metadata), bundle.tensors), [], handmade.sequence(x)
    network = oracle.network
    oracle.network = lambda u: found.append(network(u)) or found[-1]  # type: ignore[method-assign,func-returns-value]
    for t, row in zip(s.t.tolist(), x.tolist(), strict=True):
        oracle.advance(t, row)
    return np.array(found, np.float64)


@pytest.mark.parametrize(
    ("outputs", "activation", "choice", "sign"),
    [
        (1, SIGMOID, {}, [1]),
        (1, SIGMOID, {"classes": ("fine",), "normal": ("fine",)}, [-1]),
        (1, handmade.LINEAR, {"head": "classification"}, [1]),
        (2, SOFTMAX, {"normal": ("0",)}, [-1, 1]),
        (4, SOFTMAX, {"classes": ("run", "idle", "leak", "jam"), "normal": ("run", "idle")}, [-1, -1, 1, 1]),
        (3, Activation("tanh"), {"classes": ("a", "b", "c"), "normal": ("c",)}, [1, 1, -1]),
    ],
)
def test_log_odds(outputs: int, activation: Activation, choice: dict[str, Any], sign: list[int]) -> None:
    """Recovered from the engine exactly, and near to those of the source."""
    rng, x = np.random.default_rng(4), rows(300)
    model = Model("by hand", (handmade.lstm(rng, 3, 8),), (handmade.dense(rng, 8, outputs, activation),))
    bundle = made(model, x, activation_bits=16, **choice).bundle

    def odds(z: Floats) -> Floats:
        if outputs == 1:
            return sign[0] * z[:, 0]
        sums = [np.log(np.exp(z[:, np.array(sign) == kind]).sum(1)) for kind in (1, -1)]
        return np.asarray(sums[0] - sums[1])

    found = device_outputs(bundle, handmade.sequence(x))[:, 0]
    np.testing.assert_allclose(found, odds(_logits(bundle, x)), rtol=0, atol=1e-11)
    last = model.head[0]
    logits = replace(model, head=(replace(last, activation=handmade.LINEAR if outputs != 3 else activation),))
    source = odds(run(logits, (x - scaler().mean) / scaler().scale))
    assert np.abs(found - source).max() < 0.05 * source.std()


@pytest.mark.parametrize("activation", [SIGMOID, SOFTMAX])
def test_probabilities_of_nothing_at_all(activation: Activation) -> None:
    """A classifier may be so sure that its probability is 0 or 1 in any float; its logits are what is compared."""
    rng, outputs = np.random.default_rng(1), 1 if activation == SIGMOID else 2
    last = Dense("fc", Matrix.of_floats(300.0 * rng.normal(size=(outputs, 8))), np.full(outputs, -200.0))
    model = Model("by hand", (handmade.lstm(rng, 3, 8),), (last,))
    u = (rows(300) - scaler().mean) / scaler().scale
    sure = run(replace(model, head=(replace(last, activation=activation),)), u)
    assert ((sure == 0.0) | (sure == 1.0)).any()
    found = made(replace(model, head=(replace(last, activation=activation),)), rows(300), normal=("0",)[: outputs - 1])
    assert found.arrival.difference_rms < 0.02 * found.arrival.deviation_rms


@pytest.mark.parametrize(
    ("choice", "lag"),
    [({}, 1), ({"ahead": 4}, 1), ({"head": "reconstruction"}, 0), ({"targets": ("power", "flow")}, 1)],
)
def test_the_judge_is_calibrated_on_what_the_bundle_says(choice: dict[str, Any], lag: int) -> None:
    """On the residuals of the samples that its outputs are of; 1 % of normal rows reach a surprise of 2."""
    x, picked = rows(1500), [2, 0] if "targets" in choice else [0, 1, 2]
    s = Scaler(scaler().mean[picked], scaler().scale[picked])
    bundle = made(plain(outputs=len(picked)), x, target_scaler=s, **choice).bundle
    found, t = handmade.run(bundle, x), bundle.tensors
    first = bundle.metadata.settle + bundle.metadata.horizon
    forecast = found.forecast[first - lag : len(x) - lag]
    e = ((x[first:] - forecast[..., 0]) / t["normalize.scale"])[:, picked]
    np.testing.assert_allclose(t["judge.center"][0, picked], e.mean(0), atol=0.01)
    np.testing.assert_allclose(t["judge.blame"][0, picked], 1.0 / np.sqrt(e.var(0) + 0.01), rtol=0.01)
    spread = np.sqrt(np.square(e).mean(0)) * t["normalize.scale"][picked]
    np.testing.assert_allclose(forecast[-1, picked, 1], spread, rtol=0.01)
    assert np.quantile(found.surprise[first:], 0.99) == pytest.approx(2.0, abs=0.05)
    others = [c for c in range(3) if c not in picked]
    assert not t["judge.blame"][:, others].any()


def _watcher() -> Model:
    """Return a classifier by hand: its only logit follows the first channel's distance above its mean."""
    weights, recurrent = np.zeros((4, 3)), np.zeros((4, 1))
    weights[2, 0] = 1.0
    bias = np.array([6.0, -6.0, 0.0, 6.0])  # open, forgetful, -, open
    layer = Lstm("lstm", Matrix.of_floats(weights), Matrix.of_floats(recurrent), bias)
    return Model("by hand", (layer,), (Dense("fc", Matrix.of_floats(np.array([[8.0]])), np.zeros(1), SIGMOID),))


FAULTS = {"spike": (slice(500, 501), 12.0, 3.0), "drift": (slice(400, 700), np.linspace(0.0, 6.0, 300)[:, None], 3.0)}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("head", ["forecast", "reconstruction", "classification"])
def test_a_fault_raises_the_score(head: str, fault: str) -> None:
    where, size, least = FAULTS[fault]
    model = _watcher() if head == "classification" else plain()
    options: dict[str, Any] = {} if head == "classification" else {"target_scaler": scaler(), "head": head}
    bundle, x = made(model, rows(), **options).bundle, rows(seed=1)
    calm = handmade.run(bundle, x)
    assert np.quantile(calm.surprise[60:], 0.9) < 2.0
    x[where, :1] += size * SPREAD[0]
    found = handmade.run(bundle, x)
    assert found.surprise[where].max() > max(least, calm.surprise.max())
    loudest = where.start + int(found.surprise[where].argmax())
    assert REASONS[found.reason[loudest]] in {head, "bias", "sustained", "out_of_range"}


@pytest.mark.parametrize(
    ("model", "x", "choice", "message"),
    [
        (plain(), rows(channels=2), {}, "the model takes 3 channels, the rows have 2: flow, pressure"),
        (plain(), np.tile(MEAN, (100, 1)), {}, "no channel ever changes in the normal rows"),
        (plain(), rows(100), {"ahead": 80}, "100 normal rows in a row, too few for a forecast of 80 samples ahead"),
        (plain(), rows(100), {"window": -5}, "window is -5"),
        (plain(), rows(100), {"window": 200_000}, "0 normal rows to calibrate"),
        (plain(), rows(100), {"ahead": 2000}, "too few for a forecast of 2000"),
        (plain(outputs=1), rows(100), {"head": "classification", "target_scaler": scaler(1)}, "outputs are classes"),
    ],
)  # fmt: skip
def test_what_can_not_be_converted(model: Model, x: Floats, choice: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        made(model, x, **choice)


def test_a_model_that_explodes_is_refused() -> None:
    rng = np.random.default_rng(0)
    grows = handmade.lstm(rng, 3, 8, candidate=RELU, output=RELU, weight_hh=Matrix.of_floats(np.full((32, 8), 90.0)))
    model = Model("by hand", (grows,), (handmade.dense(rng, 8, 3),))
    with pytest.raises(WeightsError):
        made(model, target_scaler=scaler())


def test_classes_are_calibrated_on_their_odds() -> None:
    """Median and 99 % quantile of the odds, and of their average over tau_b samples; 1 % reach a surprise of 2."""
    x = rows(1500)
    bundle = made(_watcher(), x).bundle
    odds, settle = _logits(bundle, x)[:, 0], bundle.metadata.settle
    mean, averages = 0.0, []
    for k, value in enumerate(odds.tolist()):
        mean += max(1.0 / bundle.metadata.tau_b, 1.0 / (k + 1)) * (value - mean)
        averages.append(mean)
    for row, values in zip(bundle.tensors["judge.evidence"], (odds, np.array(averages)), strict=False):
        expected = np.median(values[settle:]), np.quantile(values[settle:], 0.99)
        np.testing.assert_allclose(row, expected, atol=1e-9)
    assert np.quantile(handmade.run(bundle, x).surprise[settle:], 0.99) == pytest.approx(2.0, abs=0.05)
