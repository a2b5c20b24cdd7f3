"""How far apart two runs are: alerts, ranks, windows, long runs; and the command."""

from typing import Any

import numpy as np
import pytest

from edge_lstm.bundle import Bundle
from edge_lstm.compare.differences import NEAR, difference, rank_correlation, spans
from edge_lstm.compare.long_run import BLOCK, long_run
from edge_lstm.compare.variants import exact, staggered, stateful, variant
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import (
    ACTIVE,
    DUPLICATE,
    END,
    OK,
    START,
    START_END,
    WARMING_UP,
    Results,
    new_results,
)
from edge_lstm.errors import WeightsError
from tests.bundles import random_bundle, random_layers_bundle, random_stream


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [1.0, 8.0, 27.0, 64.0], 1.0),  # the order alone
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),  # 1 - 6 * (1+1+1+1) / (5 * 24)
        ([1, 2, 3], [2, 3, 1], -0.5),  # 1 - 6 * (1+1+4) / (3 * 8)
        # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: deviations (-1.5, 0, 0, 1.5) . (-1.5, .5, -.5, 1.5) = 4.5; of 4.5 and 5
        ([0, 5, 5, 9], [1, 3, 2, 4], 4.5 / np.sqrt(4.5 * 5.0)),
        # ranks 2, 2, 2, 4 and 1, 2, 3, 4: (-.5, -.5, -.5, 1.5) . (-1.5, -.5, .5, 1.5) = 3; of 3 and 5
        ([0, 0, 0, 7], [1, 2, 3, 4], 3.0 / np.sqrt(3.0 * 5.0)),
        ([3, 3, 3], [1, 2, 3], 0.0),  # a judge that never speaks
        ([], [], 1.0),
        ([7], [9], 1.0),
    ],
)
def test_rank_correlation(a: list[float], b: list[float], expected: float) -> None:
    found = rank_correlation(np.array(a, np.float64), np.array(b, np.float64))
    assert found == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(np.array(b, np.float64), np.array(a, np.float64)) == found


def results(phases: dict[int, int], n: int = 200) -> Results:
    """Return scored samples with these phases."""
    made = new_results(n, 2)
    made.quality[:] = OK
    for k, phase in phases.items():
        made.phase[k] = phase
    made.surprise[:] = np.linspace(0.0, 3.0, n)
    made.forecast[..., 1] = 1.0
    return made


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ({}, []),
        ({5: START, 6: ACTIVE, 9: END}, [(5, 9)]),
        ({5: START_END}, [(5, 5)]),
        ({190: START, 191: ACTIVE}, [(190, 199)]),  # still on at the end
        ({5: START, 9: END, 20: START_END, 199: START}, [(5, 9), (20, 20), (199, 199)]),
        ({3: END, 5: START, 9: END}, [(5, 9)]),  # of an alert before the recording
    ],
)
def test_spans(phases: dict[int, int], expected: list[tuple[int, int]]) -> None:
    assert spans(results(phases)) == expected


@pytest.mark.parametrize(
    ("a", "b", "lost", "gained"),
    [
        ({50: START, 60: END}, {}, ((50, 60),), ()),
        ({}, {50: START, 60: END}, (), ((50, 60),)),
        ({50: START, 60: END}, {55: START_END}, (), ()),
        ({50: START, 60: END}, {60 + NEAR: START_END}, (), ()),
        ({50: START, 60: END}, {61 + NEAR: START_END}, ((50, 60),), ((61 + NEAR, 61 + NEAR),)),
        ({50: START, 60: END}, {50 - NEAR: START_END}, (), ()),
        ({50: START, 60: END}, {49 - NEAR: START_END}, ((50, 60),), ((49 - NEAR, 49 - NEAR),)),
        ({50: START_END, 150: START_END}, {52: START_END}, ((150, 150),), ()),
        ({50: START_END, 60: START_END}, {55: START_END}, (), ()),  # two that are one
    ],
)
def test_lost_and_gained(a: dict[int, int], b: dict[int, int], lost: Any, gained: Any) -> None:
    found = difference(results(a), results(b))
    assert (found.lost, found.gained) == (lost, gained)
    assert found.alerts == (len(spans(results(a))), len(spans(results(b))))


def test_differences_of_numbers() -> None:
    a, b = results({}), results({})
    b.forecast[:, 0, 0] = 0.5
    b.forecast[10, 0, 0] = -2.0
    b.forecast[:, 1, 0], b.forecast[:, 1, 1] = 9.0, 0.0  # no forecast of the second channel
    b.surprise[20] += 0.25
    b.surprise[0], b.quality[0] = 100.0, WARMING_UP
    a.surprise[1], a.outcome[1] = 100.0, DUPLICATE
    found = difference(a, b)
    assert found.rows == 198
    assert found.surprise_max == 0.25
    assert found.forecast_max.tolist() == [2.0, 0.0]
    assert found.forecast_rms.tolist() == [pytest.approx(np.sqrt((198 * 0.25 + 4.0) / 199)), 0.0]
    same = difference(a, a)
    assert (same.surprise_max, same.rank_correlation, same.forecast_max.any()) == (0.0, 1.0, False)


def forecasts(bundle: Bundle, n: int = 40) -> np.ndarray:
    t, x = random_stream(n, 3)
    return Engine(bundle.weights, 1).advance(np.zeros(n, np.int64), t, x).forecast.copy()


def test_ways_to_run_a_window() -> None:
    bundle = random_bundle(window=12, copies=3)
    assert [(b.metadata.window, b.metadata.copies) for b in (stateful(bundle), exact(bundle, 7))] == [(0, 1), (7, 7)]
    found = [staggered(bundle, window, copies).metadata for window, copies in [(10, 4), (10, 1), (3, 8), (5, 0)]]
    assert [(m.window, m.copies) for m in found] == [(12, 4), (10, 1), (3, 3), (5, 1)]
    with pytest.raises(WeightsError, match="a window of 1025 samples, expected at most 1024 to run every one"):
        exact(bundle, 1025)
    # the exact window, run by hand: a fresh stream over the last 7 samples
    t, x = random_stream(40, 3)
    plain = stateful(bundle)
    for k in (10, 25, 39):
        fresh = Engine(plain.weights, 1).advance(np.zeros(7, np.int64), t[k - 6 : k + 1], x[k - 6 : k + 1])
        assert forecasts(exact(bundle, 7))[k].tobytes() == fresh.forecast[-1].tobytes()
    assert (forecasts(plain)[30:] != forecasts(exact(bundle, 7))[30:]).any()


def test_a_variant_is_sealed_anew() -> None:
    bundle = random_bundle()
    tail = np.array([-1.0, 0.5, 0.2, 0.15])
    other = variant(bundle, {"judge.tail": tail}, name="other", warm_up=3)
    assert (other.metadata.name, other.metadata.warm_up) == ("other", 3)
    assert other.tensors["judge.tail"].tolist() == tail.tolist()
    assert other.digest != bundle.digest
    assert variant(bundle).digest == bundle.digest
    assert (other.tensors["golden.surprise"] != bundle.tensors["golden.surprise"]).any()


def test_a_long_run_repeats_the_recording() -> None:
    a, (_, x) = random_bundle(seed=1), random_stream(300, 3)
    same = long_run(a, a, x, 2 * BLOCK + 5)
    assert same.steps == 2 * BLOCK + 5
    assert same.rms.tolist() == [0.0, 0.0, 0.0]
    assert min(same.us) > 0.0
    bias = a.tensors["head.bias"].copy()
    bias[:3] += 0.5  # every forecast moves by half a scale of the data
    b = variant(a, {"head.bias": bias})
    moved = 0.5 * a.tensors["normalize.scale"] / x.std(0)
    np.testing.assert_allclose(long_run(a, b, x, BLOCK + 5).rms, np.sqrt(np.square(moved).mean()), rtol=1e-5)
    other, twice = random_bundle(seed=2), np.concatenate([x, x])
    runs = [
        Engine(bundle.weights, 1).advance(np.zeros(600, np.int64), np.arange(600.0), twice).forecast[..., 0].copy()
        for bundle in (a, other)
    ]
    away = (runs[0] - runs[1]) / x.std(0)
    assert long_run(a, other, x, 600).rms.tolist() == [pytest.approx(np.sqrt(np.square(away).mean()))]
    classes = random_layers_bundle(0, "classification")
    assert not len(long_run(classes, classes, x, 50).rms)
