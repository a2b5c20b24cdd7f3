from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch

from edge_lstm.bundle import read
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import FLAT_LINE, OUT_OF_RANGE
from edge_lstm.errors import ConfigError
from edge_lstm.fit.card import card, figures
from edge_lstm.fit.fitting import WIDEST_16, FitOptions, fit, fit_files
from edge_lstm.fit.network import Forecaster
from edge_lstm.fit.recordings import Sequence
from edge_lstm.fit.report import replay

pytestmark = pytest.mark.torch

COLUMNS = ("flow", "pressure", "valve")
OPTIONS = FitOptions(hidden_size=8, updates=120, decays=(0.0, 3.0), seed=3)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def system(seed: int, rows: int = 600) -> NDArray[np.float64]:
    """Return a pump: pressure follows the flow, a valve that nobody turns."""
    rng = np.random.default_rng(seed)
    flow = 40.0 + 5.0 * np.sin(np.arange(rows) / 9.0) + 0.5 * rng.standard_normal(rows)
    pressure = 2.0 + 0.02 * flow + 0.02 * rng.standard_normal(rows)
    return np.stack([flow, pressure, np.full(rows, 1.0)], axis=1)


def sequences(count: int = 3) -> list[Sequence]:
    return [Sequence(f"{k}.csv", np.arange(600.0), system(k)) for k in range(count)]


def write_csv(path: Path, x: NDArray[np.float64]) -> Path:
    rows = [f"{k}," + ",".join(f"{v:.4f}" for v in row) for k, row in enumerate(x)]
    path.write_text("\n".join(["time,flow,pressure,valve", *rows]) + "\n")
    return path


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{k}.csv", system(k)) for k in range(2)]
    outputs = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "c")]
    for output, seed in zip(outputs, (3, 3, 4), strict=True):
        fit_files(paths, output, FitOptions(name="pump", hidden_size=8, updates=60, decays=(0.0,), seed=seed))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert outputs[0].read_bytes() != outputs[2].read_bytes()
    assert read(outputs[0]).metadata.channel_names == COLUMNS


def test_finds_a_fault_and_names_the_channel() -> None:
    bundle, _ = fit(sequences(), COLUMNS, OPTIONS, name="pump")
    x = system(9)
    normal = replay(bundle, Sequence("", np.arange(600.0), x)).score
    x[400:, 1] += 0.15
    faulty = replay(bundle, Sequence("", np.arange(600.0), x)).score
    assert (normal[60:] > 0.99).mean() < 0.05
    assert (faulty[420:460] > 0.999).mean() > 0.8
    assert np.array_equal(normal[:400], faulty[:400])


def test_reports_what_quantization_cost() -> None:
    told: list[tuple[str, float]] = []
    bundle, report = fit(
        sequences(), COLUMNS, OPTIONS, name="pump", progress=lambda stage, share: told.append((stage, share))
    )
    assert report.constant == ("valve",)
    assert 0.0 < report.forecast_difference < 0.05
    assert report.forecast_difference_rms <= report.forecast_difference
    assert report.held_back_error < 0.5  # of the variance
    score = np.concatenate([replay(bundle, sequence).score[450:] for sequence in sequences()])
    assert (score > 0.99).mean() == pytest.approx(0.01, abs=0.005)
    assert report.held_back == 450
    assert report.warnings == ()
    assert told[-1] == ("calibrating", 1.0)
    assert [share for stage, share in told if stage == "training"][-1] == 1.0
    text = card(bundle, 12_345, figures(report))
    assert "12.1 KiB" in text
    assert bundle.digest in text
    assert "score over 0.99" not in text  # 1 % by construction


def test_expected_band_holds_held_back_residuals() -> None:
    data = sequences()
    bundle, _ = fit(data, COLUMNS, OPTIONS, name="pump")
    relative = []
    for sequence in data:
        forecast = replay(bundle, sequence).forecast
        relative.append(((sequence.x[1:] - forecast[:-1, :, 0]) / forecast[:-1, :, 1])[450:, :2])
    assert np.concatenate(relative).std(0) == pytest.approx([1.0, 1.0], abs=0.15)


def test_warns_when_one_recording_is_unlike_the_others() -> None:
    data = sequences()
    data[2] = Sequence("other.csv", data[2].t, data[2].x * np.array([1.0, 3.0, 1.0]) + np.array([30.0, 0.0, 0.0]))
    _, report = fit(data, COLUMNS, OPTIONS, name="pump")
    assert any("other.csv" in warning for warning in report.warnings)


def test_constant_recording_is_refused() -> None:
    data = [Sequence("a.csv", np.arange(100.0), np.ones((100, 3)))]
    with pytest.raises(ConfigError, match="no channel ever changes"):
        fit(data, COLUMNS, OPTIONS, name="pump")


def test_other_sampling_periods_are_refused() -> None:
    data = sequences()
    data[1] = data[1]._replace(t=data[1].t * 60.0)
    with pytest.raises(ConfigError, match=r"1\.csv: a sample every 60 s"):
        fit(data, COLUMNS, OPTIONS, name="pump")


def test_other_columns_are_refused(tmp_path: Path) -> None:
    a = write_csv(tmp_path / "a.csv", system(0))
    b = tmp_path / "b.csv"
    b.write_text(a.read_text().replace("pressure", "current", 1))
    with pytest.raises(ConfigError, match=r"b\.csv: columns"):
        fit_files([a, b], tmp_path / "x.safetensors", OPTIONS)


def test_what_can_not_be_written_is_said_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_lstm.fit.fitting.train", None)
    a = write_csv(tmp_path / "a.csv", system(0))
    for output, message in (
        (a, "is an input"),
        (tmp_path, "can't be written"),
        (a / "x.safetensors", "can't be written"),
        (tmp_path / "x.md", "would be written twice"),
        (tmp_path / "no" / "x.safetensors", "there is no folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit_files([a], output, OPTIONS)


@pytest.mark.parametrize(
    "sizes",
    [{"hidden_size": 0}, {"num_layers": 0}, {"num_layers": 17}, {"hidden_size": 517}, {"hidden_size": 10**9},
     {"hidden_size": 2049, "activation_bits": 8}],
)  # fmt: skip
def test_sizes_that_no_bundle_holds_are_refused_before_the_training(
    sizes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_lstm.fit.fitting.train", None)
    with pytest.raises(ConfigError, match="expected 1 to"):
        fit(sequences(), COLUMNS, replace(OPTIONS, **sizes), name="pump")


def test_the_largest_sizes_are_what_a_bundle_holds() -> None:
    assert WIDEST_16 * 127 * 32767 < 2**31 <= (WIDEST_16 + 1) * 127 * 32767


def test_says_how_many_rows_were_left_out(tmp_path: Path) -> None:
    a = write_csv(tmp_path / "a.csv", np.concatenate([system(0), system(1)]))
    a.write_text(a.read_text() + "3,40,2.8,1\n" * 7)
    options = replace(OPTIONS, updates=2, decays=(0.0,))
    assert fit_files([a], tmp_path / "x.safetensors", options)[1].dropped == 7


def test_a_channel_that_was_always_zero_is_not_flat() -> None:
    data = [Sequence(s.source, s.t, s.x * [1.0, 1.0, 0.0]) for s in sequences()]
    bundle, _ = fit(data, COLUMNS, replace(OPTIONS, updates=2, decays=(0.0,)), name="pump")
    x = data[0].x.copy()
    run = Engine(bundle.weights, 1).advance(np.zeros(600, np.int64), data[0].t, x)
    assert FLAT_LINE not in run.reason
    x[500:, 2] = 1.0
    run = Engine(bundle.weights, 1).advance(np.zeros(600, np.int64), data[0].t, x)
    assert run.reason[500] == OUT_OF_RANGE


def test_spread_does_not_disturb_the_features() -> None:
    net = Forecaster(2, 4, 2, 2)
    location, log_spread, _ = net(torch.randn(1, 5, 2), None)
    log_spread.sum().backward()
    assert all(p.grad is None for p in net.lstm.parameters())
    location.sum().backward()
    assert all(p.grad is not None for p in net.lstm.parameters())
