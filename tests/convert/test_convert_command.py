"""``edge-lstm convert`` on files: what it says, what it writes, how it refuses."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edge_lstm.bundle import read
from edge_lstm.convert import sources
from edge_lstm.daemon.cli import main
from tests.convert import handmade
from tests.convert.handmade import MEAN, NAMES, SPREAD

Text = pytest.CaptureFixture[str]


def write_csv(path: Path, x: np.ndarray, names: tuple[str, ...] = NAMES) -> None:
    """Write rows one second apart."""
    lines = [f"{1.7e9 + k},{','.join(map(repr, row))}" for k, row in enumerate(x.tolist())]
    path.write_text("\n".join([f"time,{','.join(names)}", *lines]) + "\n")


def tensors(outputs: int = 3, units: int = 8) -> dict[str, np.ndarray]:
    """Return the state_dict of an LSTM with a linear layer."""
    rng = np.random.default_rng(0)
    shapes = {
        "lstm.weight_ih_l0": (4 * units, 3), "lstm.weight_hh_l0": (4 * units, units), "lstm.bias_ih_l0": (4 * units,),
        "lstm.bias_hh_l0": (4 * units,), "fc.weight": (outputs, units), "fc.bias": (outputs,),
    }  # fmt: skip
    return {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models, normal rows, and scalers of them."""
    save_file(tensors(), tmp_path / "model.safetensors")
    save_file(tensors(outputs=1), tmp_path / "one.safetensors")
    write_csv(tmp_path / "normal.csv", handmade.rows(300))
    write_csv(tmp_path / "turned.csv", handmade.rows(300, seed=1)[:, [2, 0, 1]], ("power", "flow", "pressure"))
    write_csv(tmp_path / "few.csv", handmade.rows(20))
    write_csv(tmp_path / "four.csv", np.c_[handmade.rows(300), np.arange(300.0)], (*NAMES, "count"))
    write_csv(tmp_path / "still.csv", np.tile(MEAN, (300, 1)))
    s = {"mean_": MEAN.tolist(), "scale_": SPREAD.tolist()}
    (tmp_path / "scaler.json").write_text(json.dumps(s))
    (tmp_path / "bad.json").write_text('{"mean_": [1], "scale_": [2]}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


GIVEN = ["--calibrate", "normal.csv", "--scaler", "scaler.json"]


def test_what_it_says_and_writes(folder: Path, capsys: Text) -> None:
    assert main(["convert", "model.safetensors", "-o", "out/press.safetensors", *GIVEN]) == 0
    told = capsys.readouterr()
    bundle = read("out/press.safetensors")
    m = bundle.metadata
    lines = dict(line.split(maxsplit=1) for line in told.out.splitlines()[:-1])
    assert list(lines) == ["source", "head", "state", "arrived", "activations", "fits", "scores"]
    assert lines["source"].endswith("3 inputs, LSTM 8, dense 3; weights are float")
    assert lines["head"] == "forecast, 1 sample ahead"
    assert lines["state"] == "one state for ever"
    assert lines["arrived"].startswith("outputs differ from the source's in float64 by 0.0")
    assert lines["activations"].startswith(f"{m.activation_bits} bits (8 bits: ")
    assert lines["scores"].startswith(("rank correlation 0.99", "rank correlation 1.0"))
    size = Path("out/press.safetensors").stat().st_size
    assert told.out.splitlines()[-1] == f"out/press.safetensors: 3 channels, {size / 1024:.0f} KiB"
    assert {line.split(": ")[0] for line in told.err.splitlines()} == {"note", "warning"}
    assert (m.name, m.channel_names, m.period_s) == ("press", NAMES, 1.0)
    assert m.provenance["source_sha256"] == hashlib.sha256(Path("model.safetensors").read_bytes()).hexdigest()
    assert (m.provenance["source_file"], m.provenance["data"]) == ("model.safetensors", ["normal.csv"])
    card = Path("out/press.md").read_text()
    for text in ("# press\n", f"`{bundle.digest}`", "flow, pressure, power", "model.safetensors", "Warnings:"):
        assert text in card
    assert all(line.split(": ", 1)[1] in card for line in told.err.splitlines())


def test_files_in_any_order_of_columns(folder: Path, capsys: Text) -> None:
    """The first file's order, or the one that is asked for, is that of the model's inputs."""
    arguments = ["convert", "model.safetensors", "-o", "o.safetensors", "--scaler", "scaler.json", "--name", "n"]
    assert main([*arguments, "--calibrate", "normal.csv", "turned.csv"]) == 0
    first = read("o.safetensors")
    assert first.metadata.channel_names == NAMES
    assert first.metadata.fit_rows == 600
    np.testing.assert_allclose(first.tensors["normalize.mean"], MEAN, rtol=0.05)
    assert main([*arguments, "--calibrate", "four.csv", "--channels", "flow,pressure, power", "--rows", "200"]) == 0
    assert (read("o.safetensors").metadata.channel_names, read("o.safetensors").metadata.fit_rows) == (NAMES, 200)


@pytest.mark.parametrize(
    ("source", "options", "fields", "head"),
    [
        ("one", ["--targets", "pressure", "--ahead", "3"], {"targets": ("pressure",), "horizon": 3}, "forecast of pre"),
        ("model", ["--head", "reconstruction"], {"head": "reconstruction", "horizon": 0}, "reconstruction"),
        ("model", ["--targets", "power", "--horizon", "2"], {"targets": ("power",), "horizon": 2}, "forecast of power"),
        (
            "model", ["--classes", "run,idle,leak", "--normal", "run,idle"],
            {"head": "classification", "anomalous": ("leak",)}, "classification: run, idle, leak; anomalous: leak",
        ),
        ("one", ["--head", "classification"], {"classes": ("anomaly",)}, "classification: anomaly; anomalous: anomaly"),
        ("model", ["--window", "20", "--copies", "3"], {"window": 21, "copies": 3}, "forecast"),
        ("model", ["--activation-bits", "8"], {"activation_bits": 8}, "forecast"),
        ("model", ["--target-scaler", "none"], {"head": "forecast"}, "forecast"),
        ("model", ["--target-scaler", "scaler.json", "--layers", "fc:tanh"], {"head": "forecast"}, "forecast"),
    ],
)  # fmt: skip
def test_options(
    folder: Path, capsys: Text, source: str, options: list[str], fields: dict[str, Any], head: str
) -> None:
    assert main(["convert", f"{source}.safetensors", "-o", "o.safetensors", *GIVEN, *options]) == 0
    text = capsys.readouterr().out
    m = read("o.safetensors").metadata
    assert {name: getattr(m, name) for name in fields} == fields
    assert f"head         {head}" in text
    if m.window:
        assert f"state        {m.copies} copies of the state over {m.window} samples\n" in text


REFUSED: list[tuple[list[str], str]] = [
    (["gone.safetensors", *GIVEN], "gone.safetensors: no such file"),
    (["model.pkl", *GIVEN], "model.pkl: no importer for .pkl; known are .pt, .pth"),
    ([".", *GIVEN], ".: no importer for a file without a suffix"),
    (["model.safetensors", "--calibrate", "gone.csv"], "gone.csv: can't be read:"),
    (["model.safetensors", "--calibrate", "few.csv"], "few.csv: no 40 usable rows in a row"),
    (["model.safetensors", "--calibrate", "still.csv"], "no channel ever changes in the normal rows"),
    (["model.safetensors", "--calibrate", "model.safetensors"], "model.safetensors: can't be read:"),
    (["model.safetensors", "--calibrate", "four.csv"], "the model takes 3 channels, the rows have 4: flow"),
    (["model.safetensors", "--calibrate", "normal.csv", "four.csv"], "four.csv: columns ('flow', 'pressure'"),
    (["model.safetensors", *GIVEN, "--channels", "flow,heat,power"], "normal.csv: no column 'heat'; it has time, flow"),
    (["model.safetensors", *GIVEN, "--channels", "flow,power"], "3 channels, the rows have 2: flow, power"),
    (["model.safetensors", *GIVEN, "--time", "clock"], "normal.csv: no column 'clock'"),
    (["model.safetensors", *GIVEN, "--targets", "heat"], "--targets heat: expected some of flow, pressure, power"),
    (["one.safetensors", *GIVEN], "the model has 1 outputs, which are not those of 3 channels"),
    (["model.safetensors", *GIVEN, "--horizon", "2"], "--horizon 2: the model forecasts 1 step"),
    (["model.safetensors", *GIVEN, "--ahead", "280"], "300 normal rows in a row, too few for a forecast of 280"),
    (["model.safetensors", *GIVEN, "--head", "classification"], "a classification into 0, 1, 2: --normal must say"),
    (["model.safetensors", *GIVEN, "--classes", "a,b"], "--classes a,b: expected 3 different names"),
    (["model.safetensors", *GIVEN, "--layers", "head:relu"], "model.safetensors: "),
    (["model.safetensors", "--calibrate", "normal.csv", "--scaler", "bad.json"], "bad.json: mean has 1 num"),
    (["model.safetensors", "--calibrate", "normal.csv", "--scaler", "no.json"], "no.json: no such file"),
    (["model.safetensors", *GIVEN, "--target-scaler", "bad.json"], "bad.json: mean has 1 numbers"),
    (
        ["one.safetensors", *GIVEN, "--head", "classification", "--target-scaler", "none"],
        "--target-scaler: the outputs are classes",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_is_refused(folder: Path, capsys: Text, arguments: list[str], message: str) -> None:
    """With one line, and before anything is written."""
    assert main(["convert", *arguments, "-o", "o.safetensors"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edge-lstm: ")
    assert message in error
    assert error.count("\n") == 1
    assert not Path("o.safetensors").exists()
    assert not Path("o.md").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("model.safetensors", "is an input, and would be overwritten"),
        ("normal.csv", "is an input"),
        ("scaler.json", "is an input"),
        ("o.md", "would be written twice"),
        (".", "can't be written"),
        ("normal.csv/o.safetensors", "can't be written"),
    ],
)
def test_outputs_that_can_not_be(folder: Path, capsys: Text, output: str, message: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["convert", "model.safetensors", *GIVEN, "-o", output]) == 2
    assert f"edge-lstm: {output}: {message}" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.torch
def test_a_state_dict_verified_by_pytorch(folder: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    torch.save({name: torch.from_numpy(value) for name, value in tensors().items()}, "model.pt")
    arguments = ["convert", "model.pt", "-o", "o.safetensors", *GIVEN, "--verify"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    verified = next(line for line in text.splitlines() if line.startswith("verified"))
    assert "300 outputs of the original: largest difference " in verified
    assert float(verified.split("difference ")[1].split(",")[0]) < 1e-5
    assert main(["convert", "model.safetensors", "-o", "same.safetensors", *GIVEN]) == 0
    ours, theirs = read("o.safetensors").tensors, read("same.safetensors").tensors
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)

    from edge_lstm.convert.originals import pytorch

    original = pytorch.run
    capsys.readouterr()
    Path("o.safetensors").unlink()
    for factor in (1.001, np.nan):
        monkeypatch.setattr(pytorch, "run", lambda *given, k=factor: (original(*given)[0] * k, original(*given)[1]))
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "--verify: the original's outputs differ from the import's by" in error
        assert error.count("\n") == 1
        assert not Path("o.safetensors").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_verify_without_what_it_needs(folder: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    values = {name: value.tolist() for name, value in tensors().items()}
    Path("model.json").write_text(json.dumps(values))
    for name in ("torch", "edge_lstm.convert.originals.pytorch"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert main(["convert", f"model{suffix}", "-o", "o.safetensors", *GIVEN, "--verify"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edge-lstm: --verify can't run the original: ")
    assert error.count("\n") == 1


FIXTURES = Path(__file__).parent
BROKEN = {
    "empty": b"", "text": b"not a model", "zeros": bytes(64), "ones": b"\xff" * 200, "zip": b"PK\x03\x04" + bytes(50),
    "object": b"{}", "layers": b'{"in_shape": [null, null, 3], "layers": [{"type": "gru"}]}',
    "hdf5": b"\x89HDF\r\n\x1a\n" + b"\xff" * 400, "tflite": b"\x1c\0\0\0TFL3" + bytes(40),
    "onnx": b"\x08\x07\x12\x04test",
    "pickle": b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00echoq\x01\x85q\x02Rq\x03.", "deep": b"[" * 100_000,
    "header": (2**62).to_bytes(8, "little") + b"{}", "noise": np.random.default_rng(0).bytes(5000),
    "half a .keras": (FIXTURES / "keras_files/trained.keras").read_bytes()[:9000],
    "half a .h5": (FIXTURES / "keras_files/trained.h5").read_bytes()[:9000],
    "half a .tflite": (FIXTURES / "tflite_fixtures/keras_float.tflite").read_bytes()[:9000],
}  # fmt: skip


@pytest.mark.parametrize("suffix", sources.IMPORTERS)
def test_broken_files(folder: Path, capsys: Text, suffix: str) -> None:
    """Whatever is in a file: exit code 2, one line that names it, no bundle."""
    for name, content in BROKEN.items():
        Path(f"m{suffix}").write_bytes(content)
        assert main(["convert", f"m{suffix}", "-o", "o.safetensors", *GIVEN]) == 2, name
        error = capsys.readouterr().err
        assert error.startswith((f"edge-lstm: m{suffix}: ", "edge-lstm: this needs ")), (name, error)
        assert error.count("\n") == 1, (name, error)
        assert not Path("o.safetensors").exists()


@pytest.mark.parametrize(("option", "least"), [("--window", 0), ("--rows", 0), ("--ahead", 1), ("--copies", 1)])
def test_numbers_that_are_too_small_are_refused(option: str, least: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["convert", "model.safetensors", "-o", "o.safetensors", "--calibrate", "n.csv", option, "-3"])
    assert f"argument {option}: -3, expected {least} or more" in capsys.readouterr().err
