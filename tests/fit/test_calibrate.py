import numpy as np
import pytest

from edge_lstm.fit.calibrate import Residuals, averaged, calibrate, rules
from edge_lstm.fit.quantize import quantize

CHANNELS, ROWS = 3, 4000


@pytest.fixture
def residuals() -> list[Residuals]:
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(CHANNELS, CHANNELS))
    e = rng.standard_normal((2, ROWS, CHANNELS)) @ mix
    e[..., 2] = 0.0
    return [Residuals(part, ROWS // 2) for part in e]


CONSTANT = np.array([False, False, True])


def test_one_in_a_hundred_held_back_rows_is_over_99(residuals: list[Residuals]) -> None:
    judge = calibrate(residuals, CONSTANT, 6.0, 10.0)
    surprise = np.concatenate([judge.surprise(e)[held:] for e, held in residuals])
    assert (surprise > 2.0).mean() == pytest.approx(0.01, abs=0.001)
    assert surprise[surprise <= 2.0].max() == pytest.approx(2.0, abs=0.02)


def test_surprise_rises_with_the_evidence(residuals: list[Residuals]) -> None:
    judge = calibrate(residuals, CONSTANT, 6.0, 10.0)
    shifts = [judge.surprise(residuals[0].e + np.array([shift, 0.0, 0.0]))[-1] for shift in (0.0, 2.0, 5.0, 10.0)]
    assert shifts == sorted(shifts)
    assert shifts[-1] > 4.0


def test_constant_channels_take_no_part(residuals: list[Residuals]) -> None:
    judge = calibrate(residuals, CONSTANT, 6.0, 10.0)
    assert not judge.whiten[:, 2].any()
    assert not judge.whiten[:, :, 2].any()
    assert not judge.blame[:, 2].any()
    moved = residuals[0].e + np.array([0.0, 0.0, 7.0])
    assert np.array_equal(judge.surprise(moved), judge.surprise(residuals[0].e))


def test_whitening_inverts_the_shrunk_covariance(residuals: list[Residuals]) -> None:
    judge = calibrate(residuals, CONSTANT, 6.0, 10.0)
    rows = np.concatenate([e[held:] for e, held in residuals])[:, :2]
    covariance = np.cov(rows.T, bias=True)
    shrunk = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance)) + 0.01 * np.eye(2)
    w = judge.whiten[0][:2, :2]
    assert not np.triu(w, 1).any()
    np.testing.assert_allclose(w.T @ w, np.linalg.inv(shrunk), rtol=1e-9)


def test_nothing_to_calibrate_on() -> None:
    still = [Residuals(np.zeros((100, CHANNELS)), 50)]
    with pytest.raises(ValueError, match="all alike"):
        calibrate(still, CONSTANT, 6.0, 10.0)


def test_averaged_starts_as_a_plain_mean() -> None:
    x = np.array([[4.0], [2.0], [0.0], [10.0]])
    assert averaged(x, 2.0)[:, 0].tolist() == [4.0, 3.0, 1.5, 5.75]


def test_rules_count_repeats_and_widen_still_channels() -> None:
    x = np.array([[1.0, 5.0], [1.0, 5.0], [1.0, 5.01], [2.0, 5.0], [2.0, 5.0]])
    found = rules([x], x.mean(0), np.array([1.0, 0.05]), np.array([False, True]))
    assert found["rules.range"][0].tolist() == [1.0, 2.0]
    assert found["rules.range"][1, 0] < 4.86
    assert found["rules.flat"].tolist() == [[4.0 / 7.0, 2.0], [1.0, 1.0]]


def test_quantized_rows_are_within_half_a_step() -> None:
    weight = np.random.default_rng(2).normal(size=(12, 5)) * np.logspace(-4, 2, 12)[:, None]
    weight[3] = 0.0
    bundle = quantize({"head.weight": weight, "head.bias": weight[:, 0]})
    scale = bundle["head.weight.scale"][:, None]
    assert bundle["head.weight"].dtype == np.int8
    assert np.abs(bundle["head.weight"]).max() == 127
    assert (np.abs(bundle["head.weight"] * scale - weight) <= 0.5001 * scale).all()
