"""Random architectures beside ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edge_lstm.convert.formats.onnx.reader import read
from edge_lstm.convert.originals.onnx import run
from tests.convert.onnx_files import random_model

STEPS = 1000


@pytest.mark.parametrize("seed", range(48))
def test_random_architecture(seed: int, tmp_path: Path) -> None:
    """ONNX Runtime computes in single precision, of 6e-8 relative per operation; both see the same float32 rows."""
    path = tmp_path / "model.onnx"
    path.write_bytes(random_model(seed).SerializeToString())
    model = read(path)
    x = np.random.default_rng(seed).normal(size=(STEPS, model.input_size)).astype(np.float32).astype(np.float64)
    theirs, ours = run(path, model, x)
    assert np.ptp(theirs) > 1e-3  # an output that never changes would prove nothing
    error = np.abs(theirs - ours).max() / np.abs(theirs).max()
    assert error <= 1e-5
