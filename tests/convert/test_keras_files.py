"""Files that Keras 2 wrote, against what it computed itself; keras_files/README.md says how."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py")

import h5py

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.keras.reader import read
from edge_lstm.convert.model import hard_sigmoid

FILES = Path(__file__).parent / "keras_files"
BOUND = 1e-5  # of the largest output: Keras computes in float32
WINDOW = 12


@pytest.fixture(scope="module")
def outputs() -> Any:
    with np.load(FILES / "outputs.npz") as file:
        return dict(file)


def close(ours: Any, theirs: Any) -> bool:
    assert ours.shape == theirs.shape
    return bool(np.abs(ours - theirs).max() <= BOUND * np.abs(theirs).max())


@pytest.mark.parametrize("name", ["stateful.keras", "stacked.h5", "functional.h5", "cudnn.h5"])
def test_every_row(name: str, outputs: Any) -> None:
    found = read(FILES / name)
    assert close(mathematics.run(found, outputs["x"]), outputs[name.partition(".")[0]])
    assert found.stateful == name.startswith("sta")
    assert found.window == 0


@pytest.mark.parametrize("name", ["sequential.h5", "trained.h5", "trained.keras"])
def test_windows(name: str, outputs: Any) -> None:
    found = read(FILES / name)
    assert (found.window, found.stateful) == (WINDOW, False)
    assert found.layers[0].gate == hard_sigmoid(0.2, 0.5)  # as Keras 2 has it
    ours = [mathematics.run(found, x)[-1] for x in outputs["x"].reshape(-1, WINDOW, found.input_size)]
    assert close(np.stack(ours), outputs[name.partition(".")[0]])


@pytest.mark.parametrize("name", ["numbered.weights.h5", "named_weights.h5"])
def test_weights_alone(name: str, outputs: Any) -> None:
    found = read(FILES / name)
    assert any("assumed" in note for note in found.notes)
    assert close(mathematics.run(found, outputs["x"]), outputs["functional"])


def test_numbers_arrive_as_they_are() -> None:
    found = read(FILES / "functional.h5")
    with h5py.File(FILES / "functional.h5") as file:
        cell = file["model_weights/lstm_2/lstm_2/lstm_cell"]
        assert np.array_equal(found.layers[0].weight_ih.values, cell["kernel:0"][()].T.astype(np.float64))
        assert np.array_equal(found.layers[0].weight_hh.values, cell["recurrent_kernel:0"][()].T.astype(np.float64))
        assert np.array_equal(found.layers[0].bias, cell["bias:0"][()].astype(np.float64))


def test_what_was_folded_is_noted() -> None:
    assert any("batch_normalization" in note for note in read(FILES / "sequential.h5").notes)
