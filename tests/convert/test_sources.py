"""Which importer reads a file, and what is said before any does."""

from pathlib import Path

import pytest

from edge_lstm.convert import files
from edge_lstm.convert.sources import IMPORTERS, importer_of, read_model
from edge_lstm.errors import WeightsError


@pytest.mark.parametrize(
    ("name", "importer"),
    [
        ("a.pt", "pytorch"), ("a.pth", "pytorch"), ("a.safetensors", "pytorch"), ("a.onnx", "onnx"),
        ("a.keras", "keras"), ("a.h5", "keras"), ("a.hdf5", "keras"), ("a.weights.h5", "keras"),
        ("a.tflite", "litert"), ("a.json", "rtneural"), ("A.PT", "pytorch"), ("b.pt.onnx", "onnx"),
    ],
)  # fmt: skip
def test_suffixes(name: str, importer: str) -> None:
    assert importer_of(Path(name)) == importer


@pytest.mark.parametrize("name", ["a", "a.pkl", "a.joblib", "a.pb", "a.bin", "a.ckpt", "pt", ".pt"])
def test_no_importer(name: str) -> None:
    found = Path(name).suffix or "a file without a suffix"
    with pytest.raises(WeightsError) as caught:
        importer_of(Path(name))
    assert f"{name}: no importer for {found}; known are .pt, " in str(caught.value)
    assert str(caught.value).endswith(", ".join(IMPORTERS))


@pytest.mark.parametrize("suffix", IMPORTERS)
def test_files_that_are_none(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same words for all formats, and before anything is imported."""
    with pytest.raises(WeightsError, match=r"^no such file$"):
        read_model(tmp_path / f"gone{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(WeightsError, match=r"^not a regular file$"):
        read_model(tmp_path / f"folder{suffix}")
    (tmp_path / f"large{suffix}").write_bytes(bytes(101))
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    with pytest.raises(WeightsError, match=r"^101 bytes, expected at most 100$"):
        read_model(tmp_path / f"large{suffix}")


@pytest.mark.parametrize("suffix", [".onnx", ".keras", ".h5", ".tflite"])
def test_layers_are_of_a_state_dict(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"x")
    with pytest.raises(WeightsError, match="--layers is for a PyTorch state_dict; this format says itself"):
        read_model(tmp_path / f"model{suffix}", "fc1:relu")
