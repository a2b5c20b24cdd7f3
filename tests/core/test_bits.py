"""Every variant of the step equals the oracle, to the last bit."""

import msgspec
import numpy as np
import pytest

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import OUTCOMES, PHASES, QUALITIES, REASONS, Results
from tests.bundles import hostile_stream, random_bundle, random_stream
from tests.reference import Reference

HOUR_S = 3600.0


def assert_equal_to_oracle(bundle: Bundle, t: np.ndarray, x: np.ndarray) -> set[str]:
    """Run engine and oracle side by side; return the phases and reasons that were met."""
    engine = Engine(bundle.weights, 1, budget_s=HOUR_S)
    oracle = Reference(msgspec.to_builtins(bundle.metadata), bundle.tensors, budget_s=HOUR_S)
    results = engine.advance(np.zeros(len(t), np.int64), t, x)
    met = set()
    for k in range(len(t)):
        expected = oracle.advance(float(t[k]), [float(v) for v in x[k]])
        assert OUTCOMES[results.outcome[k]] == expected.outcome, f"sample {k}"
        met.add(expected.outcome)
        if expected.outcome != "scored":
            continue
        assert as_tuple(results, k) == (
            expected.surprise, expected.score, expected.quality,
            expected.reason, expected.alert,
        ), f"sample {k}"  # fmt: skip
        assert results.level[k] == expected.level, f"sample {k}"
        assert results.forecast[k].tolist() == [list(f) for f in expected.forecast], k
        met |= {expected.quality, expected.reason, expected.alert}
        if expected.event is not None:
            start, peak, end, strength, reason = expected.event
            got = results.event[k].tolist()
            assert got[0] == start
            assert got[1] == peak
            assert end is None or got[2] == end
            assert got[3] == strength
            assert REASONS[int(got[4])] == reason
            assert results.cause[k].tolist() == [list(c) for c in expected.causes], k
    for name, arrays in (("h", [state[0] for state in oracle.states]), ("c", [state[1] for state in oracle.states])):
        row = getattr(engine.state, name)[0]
        layers = [array for copy in arrays for array in copy]
        assert len(row) == len(layers)
        for found, expected in zip(row, layers, strict=True):
            assert np.array_equal(found[: len(expected)], expected)
            assert not found[len(expected) :].any()  # the padding stays as it was
    return met


def as_tuple(results: Results, k: int) -> tuple[float, float, str, str, str]:
    """Return sample ``k`` in the oracle's words."""
    return (
        float(results.surprise[k]), float(results.score[k]),
        QUALITIES[results.quality[k]], REASONS[results.reason[k]], PHASES[results.phase[k]],
    )  # fmt: skip


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("layers", [1, 3])
def test_random_weights(judge: str, bits: int, layers: int) -> None:
    bundle = random_bundle(judge, channels=3, hidden=5, layers=layers, bits=bits, seed=layers)
    t, x = random_stream(400, len(bundle.metadata.channels), seed=bits)
    assert_equal_to_oracle(bundle, t, x)


@pytest.mark.parametrize(
    ("channels", "hidden", "layers", "bits"), [(1, 16, 1, 16), (20, 40, 2, 16), (17, 33, 1, 8), (9, 64, 2, 8)]
)
def test_sizes_around_the_vectors(channels: int, hidden: int, layers: int, bits: int) -> None:
    """Units, inputs and outputs that fill sixteens, and that spill over."""
    bundle = random_bundle("fitted", channels=channels, hidden=hidden, layers=layers, bits=bits, seed=hidden)
    t, x = random_stream(60, channels, seed=bits)
    assert_equal_to_oracle(bundle, t, x)


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_rows_in_any_mixture(judge: str) -> None:
    """Rows that are stepped together, one after the other, or not at all: each like an oracle of its own."""
    bundle = random_bundle(judge, channels=2, hidden=20, seed=5)
    channels = len(bundle.metadata.channels)
    rows = np.array([0, 1, 2, 2, 1, 0, 0, 0, 1, 2, 0, 2, 2, 2, 1] * 12)
    t, x = hostile_stream(len(rows), channels, seed=2)
    engine = Engine(bundle.weights, 3, budget_s=HOUR_S)
    oracles = [Reference(msgspec.to_builtins(bundle.metadata), bundle.tensors, budget_s=HOUR_S) for _ in range(3)]
    results = engine.advance(rows, t, x)
    outcomes = set()
    for k, row in enumerate(rows):
        expected = oracles[row].advance(float(t[k]), [float(v) for v in x[k]])
        assert OUTCOMES[results.outcome[k]] == expected.outcome, k
        outcomes.add(expected.outcome)
        if expected.outcome == "scored":
            assert results.surprise[k] == expected.surprise, k
            assert results.forecast[k].tolist() == [list(f) for f in expected.forecast], k
    assert outcomes > {"scored"}
    for row, oracle in enumerate(oracles):
        assert np.array_equal(engine.state.h[row, :, :20], oracle.h)
        assert np.array_equal(engine.state.c[row, :, :20], oracle.c)


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
@pytest.mark.parametrize("cut", [30, 200])
def test_doubt_is_told_and_changes_nothing_else(judge: str, cut: int) -> None:
    """After we may have missed samples: each score says so until the state settled, and a gap is not the sensor's."""
    bundle = random_bundle(judge, channels=2, hidden=4, seed=7, warm_up=20, settle=10)
    t, x = random_stream(300, len(bundle.metadata.channels), seed=3)
    t[200:] += 1e5
    zeros = np.zeros(300, np.int64)
    plain = Engine(bundle.weights, 1, budget_s=HOUR_S)
    undoubted = plain.advance(zeros, t, x)
    engine = Engine(bundle.weights, 2, budget_s=HOUR_S)
    oracle = Reference(msgspec.to_builtins(bundle.metadata), bundle.tensors, budget_s=HOUR_S)
    engine.advance(zeros[:cut], t[:cut], x[:cut])
    for k in range(cut):
        oracle.advance(float(t[k]), x[k].tolist())
    engine.doubt(1)
    oracle.doubt()
    results = engine.advance(zeros[cut:], t[cut:], x[cut:])
    for k in range(cut, 300):
        expected = oracle.advance(float(t[k]), x[k].tolist())
        assert as_tuple(results, k - cut) == (
            expected.surprise, expected.score, expected.quality, expected.reason, expected.alert,
        ), f"sample {k}"  # fmt: skip
        assert results.surprise[k - cut] == undoubted.surprise[k]
        told, quality = QUALITIES[results.quality[k - cut]], QUALITIES[undoubted.quality[k]]
        assert told == ("recovering" if k < cut + 10 else quality)
    gap = REASONS.index("gap")
    assert undoubted.reason.tolist().count(gap) == 1
    assert results.reason.tolist().count(gap) == (0 if cut == 200 else 1)
    assert not engine.state.row[1].any()


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_hostile_stream(judge: str) -> None:
    bundle = random_bundle(judge, channels=2, hidden=4, seed=7)
    met: set[str] = set()
    for seed in range(3):
        t, x = hostile_stream(1200, len(bundle.metadata.channels), seed)
        met |= assert_equal_to_oracle(bundle, t, x)
    assert met >= {"duplicate", "out_of_order", "bad_time", "not_finite"}
    assert met >= {"warming_up", "recovering", "ok", "suspect"}
    assert met >= {"start", "active", "end"}


def test_one_sample() -> None:
    bundle = random_bundle("fitted", channels=1, hidden=1)
    assert_equal_to_oracle(bundle, np.array([1.0]), np.array([[0.5]]))


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_ten_thousand_steps(judge: str) -> None:
    bundle = random_bundle(judge, channels=2, hidden=6, layers=2, seed=3)
    t, x = hostile_stream(10_000, len(bundle.metadata.channels), 11)
    assert_equal_to_oracle(bundle, t, x)
