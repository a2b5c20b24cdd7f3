"""Networks of any layers, other heads, windows and horizons: equal to the oracle, and to the plain kernel."""

import numpy as np
import pytest

from edge_lstm.core.engine import Engine
from edge_lstm.core.network import as_layers
from tests.bundles import hostile_stream, random_bundle, random_layers_bundle, random_stream
from tests.core.test_bits import assert_equal_to_oracle

HEADS = ["forecast", "reconstruction", "classification"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("seed", range(8))
def test_random_layers(head: str, seed: int) -> None:
    bundle = random_layers_bundle(seed, head, bits=16 if seed % 3 else 8)
    t, x = random_stream(120, 3, seed)
    met = assert_equal_to_oracle(bundle, t, x)
    assert "ok" in met


@pytest.mark.parametrize("head", HEADS)
def test_hostile_streams_of_layers(head: str) -> None:
    met: set[str] = set()
    for seed in range(2):
        bundle = random_layers_bundle(20 + seed, head)
        t, x = hostile_stream(700, 3, seed)
        met |= assert_equal_to_oracle(bundle, t, x)
    assert met >= {"duplicate", "warming_up", "recovering", "ok", "suspect", "start", "end"}
    assert met & {"forecast", "reconstruction", "classification"} <= {head}


@pytest.mark.parametrize(("window", "copies"), [(6, 1), (12, 3), (5, 5), (8, 4)])
@pytest.mark.parametrize("horizon", [1, 4])
def test_windows_and_horizons(window: int, copies: int, horizon: int) -> None:
    """Copies of the state that start anew in turn; forecasts of samples further ahead."""
    t, x = hostile_stream(200, 2, window)
    plain = random_bundle("fitted", channels=2, hidden=5, window=window, copies=copies, horizon=horizon)
    assert_equal_to_oracle(plain, t, x)
    layers = random_layers_bundle(window, "forecast", 2, window=window, copies=copies, horizon=horizon)
    assert_equal_to_oracle(layers, t, x)


@pytest.mark.parametrize("changes", [{}, {"bits": 8, "layers": 3}, {"window": 6, "copies": 2}, {"horizon": 3}])
@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_a_plain_network_as_layers(judge: str, changes: dict[str, int]) -> None:
    """The fast kernel and the one for any layers: the same bits."""
    if judge == "adaptive" and "horizon" in changes:
        changes = {"layers": 2}
    bundle = random_bundle(judge, channels=3, hidden=20, **changes)
    t, x = hostile_stream(500, len(bundle.metadata.channels))
    rows = np.random.default_rng(0).integers(0, 3, 500)
    plain = Engine(bundle.weights, 3)
    layers = Engine(bundle.weights._replace(network=as_layers(bundle.weights.network)), 3)
    expected, found = (engine.advance(rows, t, x) for engine in (plain, layers))
    assert expected.surprise.tobytes() == found.surprise.tobytes()
    assert expected.surprise.max() > 1.0
    for name, array in layers.state._asdict().items():
        assert array.tobytes() == getattr(plain.state, name).tobytes(), name


def test_a_full_set_of_copies_sees_the_exact_window() -> None:
    """With as many copies as the window has samples, each sample is judged as by a run over the window from zero."""
    window = 7
    bundle = random_bundle("fitted", channels=2, hidden=6, window=window, copies=window)
    fresh = random_bundle("fitted", channels=2, hidden=6)
    t, x = random_stream(40, 2)
    found = Engine(bundle.weights, 1).advance(np.zeros(40, np.int64), t, x).forecast
    for k in range(40):
        past = slice(max(0, k + 1 - window), k + 1)
        n = k + 1 - past.start
        expected = Engine(fresh.weights, 1).advance(np.zeros(n, np.int64), t[past], x[past]).forecast[-1]
        assert found[k].tobytes() == expected.tobytes(), k


def test_a_forecast_of_four_ahead_is_judged_four_later() -> None:
    near = random_bundle("fitted", channels=2, hidden=6)
    far = random_bundle("fitted", channels=2, hidden=6, horizon=4)
    t, x = random_stream(40, 2)
    rows = np.zeros(40, np.int64)
    made = Engine(near.weights, 1).advance(rows, t, x).forecast.copy()
    due = Engine(far.weights, 1).advance(rows, t, x).forecast
    assert not due[:3].any()
    assert due[3:].tobytes() == made[:-3].tobytes()


def test_an_odd_input_clip() -> None:
    """One that is no float32: the steps per unit are those of the exact number, in both kernels."""
    for seed, clip in enumerate((0.1 + 0.2, 3.3, 120.0000561, 7.7)):
        t, x = random_stream(60, 3, seed)
        for bits in (8, 16):
            bundle = random_layers_bundle(seed, "forecast", bits=bits, input_clip=clip)
            assert_equal_to_oracle(bundle, t, x)
            plain = random_bundle("fitted", channels=3, hidden=6, bits=bits, seed=seed, input_clip=clip)
            assert_equal_to_oracle(plain, t, x)
            layers = plain.weights._replace(network=as_layers(plain.weights.network))
            rows = np.zeros(60, np.int64)
            found = Engine(layers, 1).advance(rows, t, x).surprise.tobytes()
            assert found == Engine(plain.weights, 1).advance(rows, t, x).surprise.tobytes()
