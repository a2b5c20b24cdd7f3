"""Models that Keras saved, against Keras itself (float32, on PyTorch): 1,000 rows each."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is imported
pytest.importorskip("h5py")
pytest.importorskip("torch")
pytest.importorskip("keras")

import h5py
import keras

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.keras.reader import read
from edge_lstm.convert.model import hard_sigmoid
from edge_lstm.convert.originals.keras import run
from tests.convert.keras_models import Draw, L, filled

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")]  # of Keras
ROWS = 1000
BOUND = 1e-5  # of the largest output: Keras computes in float32


def deviation(path: Path, x: Any) -> float:
    theirs, ours = run(path, read(path), x)
    assert theirs.shape == ours.shape
    assert len(theirs) > 0
    return float(np.abs(theirs - ours).max() / np.abs(theirs).max())


@pytest.mark.parametrize("seed", range(42))
def test_random_architecture(seed: int, tmp_path: Path) -> None:
    draw = Draw(seed)
    path = tmp_path / ("model.h5" if seed % 4 == 3 else "model.keras")
    draw.model.save(path)
    found = read(path)
    assert found.stateful == (draw.kind == "stateful")
    assert found.window == (draw.window if draw.kind == "window" else 0)
    x = draw.random.standard_normal((ROWS, draw.inputs)) * 2.0 + 1.0
    assert deviation(path, x) <= BOUND


@pytest.mark.parametrize("layers", [1, 3])
def test_weights_alone(layers: int, tmp_path: Path) -> None:
    """Keras itself loads the weights into the network that we assume they are of."""
    random = np.random.default_rng(layers)
    scaler = L.Normalization()
    scaler.adapt(random.normal(2.0, 3.0, (64, 3)))
    recurrent = [L.LSTM(5 + k, return_sequences=True) for k in range(layers)]
    model = filled(keras.Sequential([keras.Input((None, 3)), scaler, *recurrent, L.Dense(2)]), random)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    assert deviation(path, random.standard_normal((ROWS, 3))) <= BOUND


def test_trained_model_keeps_nothing_of_its_training(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    lstm = L.LSTM(4, dropout=0.2, recurrent_dropout=0.1)
    model = keras.Sequential([keras.Input((20, 3)), lstm, L.Dropout(0.2), L.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(random.standard_normal((8, 20, 3)), random.standard_normal((8, 2)), verbose=0)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        assert deviation(tmp_path / name, random.standard_normal((ROWS, 3))) <= BOUND


def test_hard_sigmoid_is_that_of_the_version(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((None, 2)), L.LSTM(3, recurrent_activation="hard_sigmoid")])
    path, older = tmp_path / "model.keras", tmp_path / "older.keras"
    model.save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(older, "w") as target:
        for name in source.namelist():
            old = json.dumps({"keras_version": "2.15.0"}).encode()
            target.writestr(name, old if name == "metadata.json" else source.read(name))
    assert read(path).layers[0].gate == hard_sigmoid(1 / 6, 0.5)
    assert read(older).layers[0].gate == hard_sigmoid(0.2, 0.5)


def quantized(path: Path) -> Any:
    random = np.random.default_rng(7)
    model = keras.Sequential(
        [keras.Input((None, 3)), L.LSTM(12, return_sequences=True), L.Dense(9, "relu"), L.Dense(4)]
    )
    filled(model, random)
    for layer in model.layers[1:]:  # LSTM layers have no quantization in Keras
        layer.quantize("int8")
    model.save(path)
    return random.standard_normal((ROWS, 3))


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_integers_stay(name: str, tmp_path: Path) -> None:
    quantized(tmp_path / name)
    found = read(tmp_path / name)
    assert found.is_integer
    by_units = {dense.weight.shape[0]: dense.weight for dense in found.head}
    kernels = int8_kernels(tmp_path / name)
    assert sorted(by_units) == sorted(kernel.shape[1] for kernel, _ in kernels) == [4, 9]
    for kernel, scale in kernels:
        matrix = by_units[kernel.shape[1]]
        assert matrix.values.dtype == np.int16
        assert np.array_equal(matrix.values, kernel.T)
        assert np.array_equal(matrix.scale, 1.0 / scale.astype(np.float64))  # Keras divides by it


def int8_kernels(path: Path) -> list[tuple[Any, Any]]:
    """Return the (I, O) kernels of a file and their scales, found by their types and shapes alone."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            path.with_suffix(".hdf5").write_bytes(archive.read("model.weights.h5"))
        path = path.with_suffix(".hdf5")
    arrays: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, at: arrays.update({name: at[()]}) if isinstance(at, h5py.Dataset) else None)
    pairs = []
    for name, kernel in arrays.items():
        if kernel.dtype == np.int8:
            scale = arrays.get(f"{name}_scale", arrays.get(f"{name.rpartition('/')[0]}/2"))
            pairs.append((kernel, scale))
    return pairs


def test_outputs_of_integers_within_what_keras_rounds(tmp_path: Path) -> None:
    """Keras rounds each row of a dense layer's inputs to 127 steps of its largest; we do not."""
    path = tmp_path / "model.keras"
    x = quantized(path)
    found = read(path)
    theirs, ours = run(path, found, x)
    error, at = np.zeros((ROWS, 12)), mathematics.run(replace_head(found), x)
    for dense in found.head:
        step = (np.abs(at).max(1) + error.max(1) + 1e-7) / 127  # of Keras' own inputs, at most
        error = (error + step[:, None] / 2) @ np.abs(dense.weight.real).T
        at = np.stack([mathematics.activate(dense.activation, dense.weight.real @ row + dense.bias) for row in at])
    slack = 1e-6 * np.abs(theirs).max()  # float32
    assert (np.abs(theirs - ours) <= error + slack).all()
    assert np.abs(theirs - ours).max() > 10 * slack  # Keras does round, so the bound is put to the test


def replace_head(model: Any) -> Any:
    return type(model)(model.source, model.layers)
