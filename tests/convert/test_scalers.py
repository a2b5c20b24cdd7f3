"""Scalers from JSON, by the names that scikit-learn gives their numbers; and files that are no scalers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_lstm.convert.scalers import read_scaler
from edge_lstm.errors import WeightsError

X = np.array([[70.0, 3.1], [74.0, 3.4], [81.0, 3.2], [90.0, 3.9], [110.0, 3.0]])
QUARTILES = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
SPAN = X.max(0) - X.min(0)
# what ``vars()`` of the scaler has after ``fit(X)``, where it is an array or a NumPy number; what ``transform`` does
SCIKIT: dict[str, tuple[dict[str, Any], Any]] = {
    "StandardScaler": (
        {"mean_": X.mean(0).tolist(), "var_": X.var(0).tolist(), "scale_": X.std(0).tolist(), "n_samples_seen_": 5},
        (X - X.mean(0)) / X.std(0),
    ),
    "MinMaxScaler": (
        {
            "min_": (-X.min(0) / SPAN).tolist(), "scale_": (1.0 / SPAN).tolist(), "data_min_": X.min(0).tolist(),
            "data_max_": X.max(0).tolist(), "data_range_": SPAN.tolist(),
        },
        (X - X.min(0)) / SPAN,
    ),
    "MinMaxScaler(feature_range=(-1, 1))": (
        {
            "min_": (-1.0 - X.min(0) * 2.0 / SPAN).tolist(), "scale_": (2.0 / SPAN).tolist(),
            "data_min_": X.min(0).tolist(), "data_max_": X.max(0).tolist(), "data_range_": SPAN.tolist(),
        },
        2.0 * (X - X.min(0)) / SPAN - 1.0,
    ),
    "RobustScaler": (
        {"center_": QUARTILES[1].tolist(), "scale_": (QUARTILES[2] - QUARTILES[0]).tolist()},
        (X - QUARTILES[1]) / (QUARTILES[2] - QUARTILES[0]),
    ),
    "RobustScaler(with_centering=False)": (
        {"scale_": (QUARTILES[2] - QUARTILES[0]).tolist()}, X / (QUARTILES[2] - QUARTILES[0]),
    ),
    "MaxAbsScaler": (
        {"max_abs_": [110.0, 3.9], "scale_": [110.0, 3.9], "n_samples_seen_": 5}, X / [110.0, 3.9],
    ),
    "feature names": (
        {"mean_": [80, 3], "scale_": [2, 4], "feature_names_in_": ["flow", "pressure"]}, (X - [80, 3]) / [2, 4],
    ),
    "by hand": ({"mean": [80, 3.0], "scale": [2, 4]}, (X - [80, 3]) / [2, 4]),
    "limits by hand": ({"data_min": [70, 3], "data_max": [110, 4]}, (X - [70, 3]) / [40, 1]),
    "largest by hand": ({"max_abs": [110, 4]}, X / [110, 4]),
}  # fmt: skip


@pytest.mark.parametrize("name", SCIKIT)
def test_what_scikit_learn_has(name: str, tmp_path: Path) -> None:
    document, transformed = SCIKIT[name]
    (tmp_path / "scaler.json").write_text(json.dumps(document))
    found = read_scaler(tmp_path / "scaler.json", 2)
    np.testing.assert_allclose((X - found.mean) / found.scale, transformed, rtol=1e-12, atol=1e-12)


def test_one_channel_needs_no_list(tmp_path: Path) -> None:
    (tmp_path / "scaler.json").write_text('{"mean": 80, "scale": 2.5}')
    found = read_scaler(tmp_path / "scaler.json", 1)
    assert (found.mean.tolist(), found.scale.tolist()) == ([80.0], [2.5])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON; expected the numbers of a scikit-learn scaler by their names: mean_ and scale_"),
        ("{", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ('{"mean": [' + "9" * 5000 + ', 1], "scale": [1, 1]}', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"\x80\x04\x95joblib", "not JSON"),
        ("[80, 3]", "not an object"),
        ("null", "not an object"),
        ("{}", "found nothing; expected"),
        ('{"mean_": [80, 3]}', "found mean; expected"),
        ('{"var_": [80, 3], "n_samples_seen_": 5}', "found n_samples_seen, var; expected"),
        ('{"mean": [80, 3], "scale": [2]}', "scale has 1 numbers, the model 2 channels"),
        ('{"mean": [80, 3, 4], "scale": [2, 4]}', "mean has 3 numbers"),
        ('{"mean": [], "scale": []}', "mean has 0 numbers"),
        ('{"mean": [80, "3"], "scale": [2, 4]}', "mean: expected a list of finite numbers"),
        ('{"mean": "80, 3", "scale": [2, 4]}', "mean: expected a list"),
        ('{"mean": [80, null], "scale": [2, 4]}', "mean: expected a list"),
        ('{"mean": [80, true], "scale": [2, 4]}', "mean: expected a list"),
        ('{"mean": [[80, 3]], "scale": [2, 4]}', "mean: expected a list"),
        ('{"mean": {"a": 80}, "scale": [2, 4]}', "mean: expected a list"),
        ('{"mean": [80, NaN], "scale": [2, 4]}', "mean: expected a list of finite numbers"),
        ('{"mean": [80, Infinity], "scale": [2, 4]}', "mean: expected a list of finite numbers"),
        ('{"mean": [80, 1e999], "scale": [2, 4]}', "mean: expected a list of finite numbers"),
        ('{"mean": [80, 1' + "0" * 400 + '], "scale": [2, 4]}', "mean: expected a list of finite numbers"),
        ('{"mean": [80, 1e300], "scale": [2, 4]}', "channel 1 has a mean of 1e+300"),
        ('{"mean": [80, 3], "scale": [2, 0]}', "channel 1 has a scale of 0, expected 1e-15 to 1e+15"),
        ('{"mean": [80, 3], "scale": [-2, 4]}', "channel 0 has a scale of -2"),
        ('{"mean": [80, 3], "scale": [2, 1e-300]}', "channel 1 has a scale of 1e-300"),
        ('{"mean": [80, 3], "scale": [1e300, 1]}', "channel 0 has a scale of 1e+300"),
        ('{"min_": [0, 0], "scale_": [0, 1]}', "channel 0 has a mean of nan"),
        ('{"min_": [1, 0], "scale_": [1e-320, 1]}', "channel 0 has a mean of -inf"),
        ('{"data_min_": [70, 3], "data_max_": [70, 4]}', "channel 0 has a scale of 0"),
        ('{"data_min_": [-1e308, 3], "data_max_": [1e308, 4]}', "channel 0 has a mean of -1e+308"),
    ],
)
def test_what_is_no_scaler(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "scaler.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WeightsError) as caught:
        read_scaler(path, 2)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.json", tmp_path / "gone" / "deep.json"):
        with pytest.raises(WeightsError, match=r"(not a regular file|no such file)$"):
            read_scaler(path, 2)
