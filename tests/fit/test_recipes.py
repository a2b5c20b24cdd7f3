"""The recipes of the shipped bundles still run."""

import importlib.util
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent


def test_streams_can_be_drawn() -> None:
    spec = importlib.util.spec_from_file_location("streams", ROOT / "weights" / "recipes" / "streams.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    drawn = recipe.streams(np.random.default_rng(1), 20, 300)
    assert drawn.shape == (20, 300)
    assert np.isfinite(drawn).all()
    assert np.array_equal(drawn, recipe.streams(np.random.default_rng(1), 20, 300))


def test_the_kernels_compiler_is_the_cores_own() -> None:
    for folder in ("edge_lstm", "weights", "demo", "firmware_sim"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.parent != ROOT / "edge_lstm" / "core":
                assert "core.cache" not in path.read_text(), path
