"""The pages in docs/convert: their Python runs, what it wrote converts as they say, and the daemon would take it."""

import importlib.util
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edge_lstm.bundle import read
from edge_lstm.convert.mathematics import run
from edge_lstm.convert.model import Model
from edge_lstm.convert.sources import read_model
from edge_lstm.daemon import cli
from edge_lstm.daemon.cli import main

PAGES = Path(__file__).resolve().parents[2] / "docs" / "convert"
SAVE_ROWS = """
import numpy as _np
_rows = _np.asarray({rows}, _np.float64).reshape(-1, {channels})
_np.savetxt("rows.txt", _rows)
"""
SAVE_OUTPUTS = """
with torch.no_grad():
    _np.savetxt("outputs.txt", model.eval()({rows}).reshape(-1, {channels}).double().numpy())
"""


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        needs: modules of its Python.
        source: the file that it writes.
        rows: the expression that has its normal rows.
        outputs: whether the snippet's model gives an output for each row.
        scaler: (mean, scale) that the file has, and how near, relatively.
        units: of each LSTM layer.
        verify: modules of ``--verify``, which comes ``near`` to the original's largest output.
    """

    needs: tuple[str, ...]
    source: str
    rows: str
    channels: int
    units: tuple[int, ...]
    outputs: bool = False
    window: int = 0
    scaler: tuple[list[float], list[float], float] | None = None
    integers: bool = False
    verify: tuple[str, ...] = ()
    near: float = 1e-5
    environment: dict[str, str] = field(default_factory=dict)


CASES = {
    "pytorch": Page(("torch",), "press.pt", "rows", 3, (16,), outputs=True, verify=("torch",)),
    "rtneural": Page(("torch",), "press.json", "rows", 3, (16,), outputs=True, verify=("torch",)),
    "onnx": Page(
        ("torch", "onnx", "onnxscript"), "model.onnx", "rows[0]", 3, (16, 16), outputs=True,
        scaler=([70.0, 3.5, 20.0], [2.0, 0.3, 9.0], 0.15), verify=("onnxruntime",),
    ),
    "keras": Page(
        ("keras", "h5py", "torch"), "press.keras", "rows", 3, (16,), window=32,
        scaler=([4.2, 60.0, 1.7], [0.3, 5.0, 0.1], 0.1), verify=("keras",), environment={"KERAS_BACKEND": "torch"},
    ),
    "litert": Page(
        ("tensorflow", "tf_keras"), "press.tflite", "data", 2, (32, 32), window=24, integers=True,
        scaler=([80.0, 2.4], [7.1, 0.21], 0.1), verify=("ai_edge_litert",), near=0.02,
    ),
}  # fmt: skip
SLOW = ("onnx", "keras", "litert")
MARKED = [
    pytest.param(name, marks=[pytest.mark.torch] * ("torch" in CASES[name].needs) + [pytest.mark.slow] * (name in SLOW))
    for name in CASES
]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / f"{name}.md").read_text(), re.DOTALL)


def commands(name: str, command: str) -> list[list[str]]:
    """Return the words of each such line of a page."""
    lines = [line for block in blocks(name, "sh") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"edge-lstm {command} ")]


def execute(name: str, page: Page) -> np.ndarray:
    """Run the page's Python in a process of its own; return its normal rows."""
    code = ["import torch; torch.manual_seed(0)"] * ("torch" in page.needs) + blocks(name, "python")
    code.append(SAVE_ROWS.format(rows=page.rows, channels=page.channels))
    if page.outputs:
        given = "rows[:, :50]" if name == "onnx" else "rows[None, :200]"
        code.append(SAVE_OUTPUTS.format(rows=given, channels=page.channels))
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.loadtxt("rows.txt")


def check_model(model: Model, page: Page, rows: np.ndarray) -> None:
    assert tuple(layer.hidden_size for layer in model.layers) == page.units
    assert (model.window, model.input_size, model.output_size) == (page.window, page.channels, page.channels)
    assert model.is_integer == page.integers
    if page.scaler:
        assert model.scaler is not None
        mean, scale, near = page.scaler
        np.testing.assert_allclose(model.scaler.mean, mean, rtol=near)
        np.testing.assert_allclose(model.scaler.scale, scale, rtol=near)
    if page.outputs:
        theirs = np.loadtxt("outputs.txt")
        assert np.ptp(theirs) > 0.01
        np.testing.assert_allclose(run(model, rows[: len(theirs)]), theirs, atol=1e-4 * np.abs(theirs).max())


def check_integers(rows: np.ndarray) -> None:
    """The page on PyTorch also shows how other tools' integers are given."""
    integers = read_model(Path("press-int8.safetensors"))
    weights = load_file("press-int8.safetensors")["lstm.weight_hh_l0"]
    assert weights.dtype == np.int8
    np.testing.assert_array_equal(integers.layers[0].weight_hh.values, weights)
    theirs = np.loadtxt("outputs.txt")
    assert np.abs(run(integers, rows[: len(theirs)]) - theirs).max() < 0.1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' and TensorFlow's own
@pytest.mark.parametrize("name", MARKED)
def test_the_page(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = CASES[name]
    for module in page.needs:
        if not importlib.util.find_spec(module):
            pytest.skip(f"needs {module}")
    for key, value in page.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    rows = execute(name, page)
    check_model(read_model(tmp_path / page.source), page, rows)
    if name == "pytorch":
        check_integers(rows)
    names = [f"channel{c}" for c in range(page.channels)]
    table = np.c_[1.7e9 + np.arange(len(rows)), rows][:600]
    np.savetxt("normal.csv", table, "%.15g", ",", header=",".join(["time", *names]), comments="")
    converts, runs = commands(name, "convert"), commands(name, "run")
    assert converts
    assert runs
    for words in converts:
        assert main(words) == 0, capsys.readouterr().err
        assert "\narrived " in capsys.readouterr().out
        if all(importlib.util.find_spec(module) for module in page.verify):
            assert main([*words, "--verify"]) == 0, capsys.readouterr().err
            found = re.search(r"\nverified .*largest difference (\S+), of (\S+)\n", capsys.readouterr().out)
            assert found
            assert float(found[1]) <= page.near * float(found[2])
    for words in runs:
        args = cli._parser(words).parse_args(words)
        assert args.broker
        assert args.topic
        assert read(args.weights).metadata.channel_names == tuple(names)


def test_every_page_is_here() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*CASES, "README"}
