"""LiteRT files in floats: what the importer reads gives what LiteRT's interpreter gives."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.litert.reader import read, recognizes
from edge_lstm.convert.model import SIGMOID, Model
from edge_lstm.errors import WeightsError

FIXTURES = Path(__file__).parent / "tflite_fixtures"
ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-5  # of the largest output: LiteRT computes in float32, whose steps are 6e-8
WRITTEN = ("keras_float", "keras_float16", "keras_scaled", "keras_stream")


def outputs(model: Model, x: Any) -> Any:
    """Return what a model gives for windows (w, T, I), as the fixtures have it."""
    if model.stateful:
        return mathematics.run(model, x.reshape(-1, x.shape[-1]))
    return np.stack([mathematics.run(model, window) for window in x])


@pytest.mark.parametrize("name", WRITTEN)
def test_a_model_by_tensorflow_arrives(name: str) -> None:
    model = read(FIXTURES / f"{name}.tflite")
    with np.load(FIXTURES / f"{name}.npz") as saved:
        x, y = saved["x"], saved["y"]
    ours = outputs(model, x)
    if y.shape != ours.shape:  # the file picks the last step
        ours = ours[:, -1]
    assert np.abs(ours - y).max() <= TOLERANCE * np.abs(y).max()


def test_what_tensorflow_wrote_is_understood() -> None:
    window, stream, scaled = (read(FIXTURES / f"keras_{name}.tflite") for name in ("float", "stream", "scaled"))
    assert (window.window, window.stateful, window.scaler) == (12, False, None)
    assert (stream.window, stream.stateful) == (0, True)
    assert scaled.scaler is not None
    np.testing.assert_allclose(scaled.scaler.mean, [20.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(scaled.scaler.scale, [5.0, 0.3], rtol=1e-6)
    assert [dense.weight.shape for dense in scaled.head] == [(6, 12), (1, 6)]
    assert scaled.head[-1].activation == SIGMOID


def test_a_loop_by_keras_3_is_refused_with_the_way_out() -> None:
    with pytest.raises(WeightsError, match=r"operator \d+ \(WHILE\).*TF_USE_LEGACY_KERAS=1.*batch of 1"):
        read(FIXTURES / "keras3_loop.tflite")


def test_the_format_is_recognized() -> None:
    assert recognizes((FIXTURES / "keras_float.tflite").read_bytes()[:64])
    assert not recognizes(b"PK\x03\x04" + bytes(60))
    assert not recognizes(b"TFL3")


@pytest.mark.parametrize("case", ["transpose", "rows alone", "one row"])
def test_axes_that_move_are_followed(case: str, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edge_lstm.convert.originals.litert import run
    from tests.convert.litert_chains import MOVED

    path = tmp_path / "model.tflite"
    path.write_bytes(MOVED[case]().content())
    model = read(path)
    assert (model.window, model.stateful) == ((0, True) if case == "one row" else (12, False))
    original, ours = run(path, model, np.random.default_rng(2).normal(size=(120, 3)).astype(np.float32))
    assert len(ours) == (10 if case == "rows alone" else 120)
    assert np.abs(original - ours).max() <= TOLERANCE * np.abs(original).max()


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("one channel", "mixes channels and time"),
        ("flattened", "mixes channels and time"),
        ("channels moved", "moves the channels"),
        ("first step", "only the last time step"),
        ("after the last step", "after the last time step was picked"),
        ("squeezed at will", "name axes"),
        ("dense before", "a dense layer before the LSTM"),
        ("dense between", "only LSTM layers may come before"),
        ("negative scaler", "not positive"),
        ("turned scaler", "does not go on"),
    ],
)
def test_what_cannot_be_streamed_is_refused(case: str, words: str, tmp_path: Path) -> None:
    chains = pytest.importorskip("tests.convert.litert_chains")
    path = tmp_path / "model.tflite"
    path.write_bytes(chains.REFUSED[case]().content())
    with pytest.raises(WeightsError, match=words):
        read(path)


def test_reading_takes_no_runtime() -> None:
    code = "import sys, edge_lstm.convert.formats.litert.reader as m; print(m.__file__, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(ROOT) in done.stdout
    assert not {"flatbuffers", "tflite", "tensorflow", "ai_edge_litert"} & set(done.stdout.split())


@pytest.mark.parametrize("seed", range(48))
def test_random_architectures_agree_with_litert(seed: int, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edge_lstm.convert.originals.litert import run
    from tests.convert.litert_chains import STEPS, random_chain

    path = tmp_path / "model.tflite"
    path.write_bytes(random_chain(seed).content())
    model = read(path)
    x = np.random.default_rng(seed).normal(size=(STEPS, model.input_size))
    original, ours = run(path, model, x.astype(np.float32).astype(np.float64))
    assert len(original) >= STEPS / 25
    assert np.abs(original).max() > 0.01
    assert np.abs(original - ours).max() <= TOLERANCE * np.abs(original).max()
