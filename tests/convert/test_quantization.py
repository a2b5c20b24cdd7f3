"""What quantization does to a forecaster: scores, drift, and the judge apart from the network."""

from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.compare.differences import difference
from edge_lstm.convert.arrival import run
from edge_lstm.convert.checks import check
from edge_lstm.convert.conversion import convert
from edge_lstm.convert.draft import ConvertOptions
from edge_lstm.convert.mathematics import run as run_float
from edge_lstm.convert.model import Dense, Lstm, Matrix, Model, Scaler
from edge_lstm.core.engine import Engine
from edge_lstm.core.judged import judged
from edge_lstm.core.table import SCORED, Results
from edge_lstm.fit.normal import Normal, normalize
from edge_lstm.fit.recordings import Sequence
from tests.bundles import hostile_stream, random_bundle, random_layers_bundle
from tests.reference import Reference

Floats = NDArray[np.float64]
COLUMNS = ("flow", "pressure", "current")
UNITS, ROWS, BUDGET_S = 24, 1000, 3600.0
FIRST = 100  # rows that a head is not fitted on


def system(seed: int, rows: int = ROWS) -> Floats:
    """Return a pump: pressure and current follow the flow."""
    rng = np.random.default_rng(seed)
    k = np.arange(rows)
    flow = 40.0 + 5.0 * np.sin(k / 9.0) + 2.0 * np.sin(k / 31.0) + 0.5 * rng.standard_normal(rows)
    pressure = 2.0 + 0.02 * flow + 0.02 * rng.standard_normal(rows)
    return np.stack([flow, pressure, 3.0 + 0.5 * np.sqrt(flow) + 0.05 * rng.standard_normal(rows)], axis=1)


def untrained() -> Model:
    """Return an LSTM of random weights whose head hands on its units."""
    rng = np.random.default_rng(0)
    limit = 2.0 / np.sqrt(UNITS)
    weights = [rng.uniform(-limit, limit, (4 * UNITS, width)) for width in (len(COLUMNS), UNITS)]
    lstm = Lstm("lstm", Matrix.of_floats(weights[0]), Matrix.of_floats(weights[1]), rng.uniform(-0.5, 0.5, 4 * UNITS))
    return Model("test", (lstm,))


def forecaster(normal: Normal) -> Model:
    """Return that LSTM with a head that forecasts, by least squares, as well as a linear one can."""
    model, z = untrained(), normal.z[0]
    units = np.column_stack([run_float(model, z), np.ones(len(z))])[FIRST:-1]
    square = units.T @ units + 1e-3 * len(units) * np.eye(UNITS + 1)
    weight = np.linalg.solve(square, units.T @ z[FIRST + 1 :]).T
    head = Dense("head", Matrix.of_floats(weight[:, :-1]), np.ascontiguousarray(weight[:, -1]))
    return check(Model("test", model.layers, (head,)))


@cache
def made(bits: Any) -> tuple[Bundle, Model, Normal]:
    """Return a bundle, and the network and normal rows that it is of."""
    sequences = [Sequence("normal", np.arange(float(ROWS)), system(0))]
    normal = normalize(sequences, 0.25)
    model = forecaster(normal)
    scaler = Scaler(normal.mean, normal.scale)
    options = ConvertOptions(scaler=scaler, activation_bits=bits, window=0)
    return convert(model, sequences, COLUMNS, options).bundle, model, normal


def float_outputs(model: Model, normal: Normal, x: Floats) -> Floats:
    """Return what the bundle's head gives without quantization: locations, and log spreads of no account."""
    located = run_float(model, (x - normal.mean) / normal.scale)
    return np.hstack([located, np.zeros_like(located)])


def test_the_forecaster_forecasts() -> None:
    _, model, normal = made(16)
    z = normal.z[0]
    error = np.square(z[1:] - run_float(model, z)[:-1]).mean(0)
    persistence = np.square(np.diff(z, axis=0)).mean(0)  # "the next sample is like this one"
    assert (error < persistence).all()
    assert error.sum() < 0.7 * persistence.sum()


@pytest.mark.parametrize(("bits", "least"), [(16, 0.99), (8, 0.95)])
def test_scores_keep_their_order(bits: int, least: float) -> None:
    bundle, model, normal = made(bits)
    x = system(1, 3000)
    x[1500:1600, 1] += 0.15  # a pressure that is a little off
    x[2200:2230] *= 1.1
    t = np.arange(3000.0)
    exact = judged(bundle.weights, t, x, float_outputs(model, normal, x))
    found = difference(exact, run(bundle, Sequence("", t, x)))
    assert found.rows > 2900
    assert found.rank_correlation > least
    assert found.alerts[0] >= 2
    assert found.lost == found.gained == ()


@pytest.mark.parametrize(("bits", "most"), [(16, 0.01), (8, 0.1)])
def test_the_difference_does_not_grow(bits: int, most: float) -> None:
    """20,000 steps of the normal rows, again and again, the state never reset."""
    bundle, model, normal = made(bits)
    x = np.tile(normal.sequences[0].x, (20, 1))
    ours = run(bundle, Sequence("", np.arange(float(len(x))), x)).forecast[..., 0]
    theirs = float_outputs(model, normal, x)[:, : len(COLUMNS)]
    apart = np.abs((ours - normal.mean) / normal.scale - theirs).reshape(20, -1)
    rms = np.sqrt(np.square(apart).mean(1))
    assert 0.0 < rms[0] < most
    assert rms.max() < 1.1 * rms[0]
    assert rms[-1] < 1.01 * rms[1]
    assert apart[-1].max() < 1.01 * apart[1].max()


class Recorder(Reference):
    """The oracle, which also tells what its network said last."""

    said: list[Any]

    def network(self, u: list[np.float32]) -> list[np.float32]:
        self.said = super().network(u)
        return self.said


def oracle_outputs(bundle: Bundle, t: Floats, x: Floats) -> Floats:
    """Return the network's outputs after each sample, NaN where it did not see one."""
    oracle = Recorder(msgspec.to_builtins(bundle.metadata), bundle.tensors, budget_s=BUDGET_S)
    rows = []
    for time, sample in zip(t.tolist(), x.tolist(), strict=True):
        oracle.said = []
        oracle.advance(time, sample)
        rows.append(oracle.said)
    width = max(map(len, rows))
    return np.array([row or [np.nan] * width for row in rows], np.float64)


BUNDLES = {
    "fitted": lambda: random_bundle("fitted", channels=3, hidden=6),
    "adaptive": lambda: random_bundle("adaptive", hidden=6, bits=8),
    "windows": lambda: random_bundle("fitted", channels=3, hidden=6, window=12, copies=3, horizon=4),
    "forecast": lambda: random_layers_bundle(1, "forecast"),
    "reconstruction": lambda: random_layers_bundle(2, "reconstruction"),
    "classification": lambda: random_layers_bundle(3, "classification", bits=8),
}


@pytest.mark.parametrize("kind", list(BUNDLES))
def test_judged_by_its_own_outputs_a_stream_gives_what_the_engine_gives(kind: str) -> None:
    bundle = BUNDLES[kind]()
    t, x = hostile_stream(600, len(bundle.metadata.channels), 7)
    outputs = oracle_outputs(bundle, t, x)
    engine = Engine(bundle.weights, 1, budget_s=BUDGET_S).advance(np.zeros(len(t), np.int64), t, x)
    found = judged(bundle.weights, t, x, outputs, BUDGET_S)
    for name in Results._fields:
        assert getattr(found, name).tobytes() == getattr(engine, name).tobytes(), name
    assert np.isnan(outputs).any()
    assert (np.isnan(outputs[:, 0]) == (engine.outcome != SCORED)).all()
    assert len(set(engine.phase.tolist())) > 2
