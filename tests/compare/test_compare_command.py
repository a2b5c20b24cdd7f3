"""``edge-lstm compare`` on files."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_lstm.bundle import write
from edge_lstm.compare.variants import variant
from edge_lstm.daemon.cli import main
from tests.bundles import random_bundle, random_layers_bundle, random_stream

Text = pytest.CaptureFixture[str]


def csv(path: Path, header: str, columns: np.ndarray, t: np.ndarray | None = None) -> None:
    lines = [",".join(f"{v}" for v in row) for row in (columns if t is None else np.c_[t, columns])]
    path.write_text("\n".join([header, *lines]) + "\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording with a fault, a bundle, one whose forecasts are half a scale off, one of other channels."""
    t, x = random_stream(400, 3)
    x[300:310] += 40.0
    csv(tmp_path / "day.csv", "time,c0,c1,c2", x, t)
    csv(tmp_path / "clockless.csv", "c0,c1,c2", x)
    ours = random_bundle(settle=40)
    write(ours, tmp_path / "old.safetensors")
    moved = ours.tensors["head.bias"] + np.array([0.5, 0.5, 0.5, 0, 0, 0], np.float32)
    write(variant(ours, {"head.bias": moved}, name="moved"), tmp_path / "new.safetensors")
    write(random_bundle(channels=2), tmp_path / "other.safetensors")
    write(random_bundle("adaptive"), tmp_path / "any.safetensors")
    write(random_bundle(window=12, copies=4), tmp_path / "windowed.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_bundles(folder: Path, capsys: Text) -> None:
    assert main(["compare", "old.safetensors", "new.safetensors", "--in", "day.csv", "--steps", "15000"]) == 0
    text = capsys.readouterr().out
    size = (folder / "old.safetensors").stat().st_size
    lines = text.splitlines()
    assert lines[0] == "old -> new, 400 rows"
    for start in ("alerts  ", "scores  ", "forecasts  ", "drift  ", "size  ", "a stream's state  ", "a sample takes  "):
        assert sum(line.startswith(f"  {start}") for line in lines) == 1, start
    assert "over 15,000 samples forecasts stay apart by" in text
    scale = random_bundle().tensors["normalize.scale"]
    relative = 0.5 * scale / np.nanstd(np.loadtxt(folder / "day.csv", delimiter=",", skiprows=1)[:, 1:], axis=0)
    worst = int(relative.argmax())
    assert f"apart by {0.5 * scale[worst]:.3g} at most in c{worst} ({relative[worst]:.2g} of its" in text
    shown = int(next(line for line in lines if "size" in line).split()[1].replace(",", ""))
    assert abs(shown - size) < 4096  # without the document


def test_a_bundle_and_itself(folder: Path, capsys: Text) -> None:
    arguments = ["compare", "old.safetensors", "old.safetensors", "--in", "day.csv", "--steps", "0", "--json"]
    assert main(arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    (stream,) = facts["streams"]
    assert stream["alerts"][0] == stream["alerts"][1] >= 1
    assert (stream["lost"], stream["gained"], stream["rank_correlation"]) == ([], [], 1.0)
    assert set(stream["forecast_max"].values()) == {0.0}
    assert facts["bytes_a"] == facts["bytes_b"] > 1000
    assert "us" not in facts


def test_lost_alerts_are_named_by_their_time(folder: Path, capsys: Text) -> None:
    """A judge that never speaks, and rules that never fire, lose what the other finds."""
    ours = random_bundle(settle=40)
    silent = {"judge.tail": np.array([1e8, 1e9, 1.0, 0.1]), "rules.range": np.tile([-1e9, 1e9], (3, 1))}
    write(variant(ours, silent), folder / "silent.safetensors")
    for file, when in (("day.csv", "1700000"), ("clockless.csv", "rows ")):
        assert main(["compare", "old.safetensors", "silent.safetensors", "--in", file, "--steps", "0"]) == 0
        lines = capsys.readouterr().out.splitlines()
        alerts = next(line.split() for line in lines if line.startswith("  alerts"))
        assert alerts[2:4] == ["->", "0:"]
        lost = [line for line in lines if line.startswith("      lost")]
        assert len(lost) == min(10, int(alerts[1])) >= 1
        assert all(when in line for line in lost)


@pytest.mark.parametrize(
    ("arguments", "ways"),
    [(["windowed.safetensors"], 4), (["old.safetensors", "--window", "6"], 5)],
)
def test_the_ways_to_run_one_bundle(folder: Path, capsys: Text, arguments: list[str], ways: int) -> None:
    assert main(["compare", *arguments, "--in", "day.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    window = 12 if len(arguments) == 1 else 6
    assert {each["a"] for each in found} == {f"the exact window of {window}"}
    assert len(found) == ways
    assert found[0]["b"] == "one state for ever"
    if window == 6:  # eight copies are no more than the window has samples
        assert found[-1]["streams"][0]["forecast_max"] == {"c0": 0.0, "c1": 0.0, "c2": 0.0}
    assert found[0]["streams"][0]["forecast_rms"]["c0"] > 0.0


def test_streams_of_their_own(folder: Path, capsys: Text) -> None:
    """Under an adaptive bundle each column is one; under classes nothing is forecast."""
    assert main(["compare", "any.safetensors", "any.safetensors", "--in", "day.csv", "--steps", "100"]) == 0
    text = capsys.readouterr().out
    assert all(f"  c{k}: alerts" in text for k in range(3))
    write(random_layers_bundle(0, "classification"), folder / "classes.safetensors")
    assert main(["compare", "classes.safetensors", "classes.safetensors", "--in", "day.csv", "--steps", "100"]) == 0
    text = capsys.readouterr().out
    assert "forecasts" not in text
    assert "drift" not in text


def test_a_picture(folder: Path, capsys: Text) -> None:
    pytest.importorskip("matplotlib")
    for arguments in (["old.safetensors", "new.safetensors"], ["windowed.safetensors"]):
        assert main(["compare", *arguments, "--in", "day.csv", "--steps", "0", "--plot", "sub/p.png"]) == 0
        assert capsys.readouterr().out.endswith("sub/p.png: written\n")
        assert (folder / "sub/p.png").read_bytes()[:4] == b"\x89PNG"
    arguments = ["old.safetensors", "old.safetensors", "--in", "day.csv", "--json", "--plot", "p.svg"]
    assert main(["compare", "--steps", "0", *arguments]) == 0
    json.loads(capsys.readouterr().out)
    assert b"<svg" in (folder / "p.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["old", "new", "other", "--in", "day.csv"], "3 bundles, expected one or two"),
        (["old", "--in", "day.csv"], "random-0 keeps one state for ever; --window says on how many samples"),
        (["old", "new", "--in", "day.csv", "--window", "5"], "--window goes with one bundle"),
        (["old", "--in", "day.csv", "--window", "2000"], "a window of 2000 samples, expected at most 1024"),
        (["old", "new", "--in", "day.csv", "--plot", "p.bmp"], "--plot p.bmp: expected a name that ends in .png,"),
        (["old", "new", "--in", "day.csv", "--plot", "day.csv"], "--plot day.csv: expected a name that ends in"),
        (["old", "new", "--in", "day.csv", "--budget", "often"], "budget is 'often', expected alerts per time"),
        (["old", "gone", "--in", "day.csv"], "gone.safetensors: can't be read: No such file or directory"),
        (["old", "new", "--in", "gone.csv"], "gone.csv: can't be read:"),
        (
            ["old", "other", "--in", "day.csv"],
            "old has channels c0, c1, c2; other has c0, c1: there is",
        ),
        (["old", "any", "--in", "day.csv"], "there is nothing to compare"),
        (["old", "new", "--in", "day.csv", "--columns", "c0,c9"], "day.csv: no column 'c9'; it has time, c0, c1, c2"),
        (["old", "new", "--in", "day.csv", "--columns", "c0,c1"], "no column 'c2', a channel of the bundle"),
        (["old", "new", "--in", "old.safetensors"], "old.safetensors: can't be read:"),
    ],
)
def test_what_is_refused(folder: Path, capsys: Text, arguments: list[str], message: str) -> None:
    bundles = ("old", "new", "other", "any", "gone")
    named = [f"{word}.safetensors" if word in bundles else word for word in arguments]
    assert main(["compare", *named]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("edge-lstm: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--window", "--steps"])
def test_numbers_below_zero_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "old", "new", "--in", "day.csv", option, "-3"])
    assert f"argument {option}: -3, expected 0 or more" in capsys.readouterr().err
