"""Files that were made to do harm, and other programs' models: refused before they cost anything."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save

from edge_lstm.bundle import KEY, read, write
from edge_lstm.daemon.cli import main
from edge_lstm.errors import WeightsError
from tests.bundles import random_bundle


def framed(header: object, rest: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def a_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps([1.0]))
    return content.getvalue()


def arrays(save_to: Callable[..., None]) -> bytes:
    content = io.BytesIO()
    save_to(content, np.zeros(3))
    return content.getvalue()


FOREIGN = {
    "model.pt": (a_zip(), "a zip, as PyTorch, Keras and NumPy write"),
    "model.keras": (a_zip(), "a zip, as PyTorch, Keras and NumPy write"),
    "old.pt": (pickle.dumps({"weight": [1.0]}, 2), "a pickle, as PyTorch wrote"),
    "model.pkl": (pickle.dumps({"weight": [1.0]}, 4), "a pickle"),
    "weights.npz": (arrays(np.savez), "a zip, as PyTorch, Keras and NumPy write"),
    "weights.npy": (arrays(np.save), "an array of NumPy"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5, as Keras writes"),
    "model.onnx": (b"\x08\x07\x12\x07pytorch" + bytes(100), "ONNX"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(100), "a LiteRT model"),
    "model.json": (b'{"in_shape": [null, 1], "layers": []}', "JSON, as RTNeural writes"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_programs_models_are_named_and_never_opened(name: str, tmp_path: Path) -> None:
    content, what = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError) as raised:
        read(tmp_path / name)
    said = f"it looks like {what}. A bundle is made of it by 'edge-lstm convert'"
    assert str(raised.value) == f"{tmp_path / name}: not a safetensors file; {said}"


def test_a_foreign_model_is_a_problem_of_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.pt").write_bytes(a_zip())
    (tmp_path / "config.toml").write_text("[[source]]\ntopic = 'a'\nweights = 'model.pt'\n")
    assert main(["check", "-c", str(tmp_path / "config.toml")]) == 2
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / 'config.toml'}:3: ")
    assert line.endswith("A bundle is made of it by 'edge-lstm convert'")


def entry(shape: list[int], start: int = 0, end: int = 0, dtype: str = "I8") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def with_tensor(name: str, tensor: dict[str, object]) -> bytes:
    """Return a good bundle with one more entry in its header, in front of its content."""
    bundle = random_bundle(channels=2, hidden=3)
    content = save(bundle.tensors, {KEY: msgspec.json.encode(bundle.metadata).decode()})
    size = int.from_bytes(content[:8], "little")
    return framed(json.loads(content[8 : 8 + size]) | {name: tensor}, content[8 + size :])


HARM = {
    "a tensor of nothing, and much of it": (with_tensor("extra", entry([0, 2**40])), "not known: extra"),
    "a tensor called as a path": (with_tensor("../../etc/passwd", entry([0])), "not known: ../../etc/passwd"),
    "a thousand dimensions": (with_tensor("extra", entry([1] * 1024, 0, 0)), "damaged"),
    "a shape that overflows": (with_tensor("extra", entry([2**40, 2**40])), "damaged"),
    "a shape of negative sizes": (with_tensor("extra", entry([-1, -1])), "damaged"),
    "content twice": (with_tensor("extra", entry([8], 0, 8)), "damaged"),
    "a thousand tensors": (framed({f"t{k}": entry([0]) for k in range(1000)}), "1000 tensors, expected at most 512"),
    "a hundred thousand": (framed({f"t{k}": entry([0]) for k in range(9_000)}), "far more in it than any bundle's"),
    "a long list": (framed({"__metadata__": {KEY: [[]] * 100_000}}), "no 'edge_lstm' in the metadata"),
}


@pytest.mark.parametrize("name", HARM)
def test_headers_that_promise_too_much(name: str, tmp_path: Path) -> None:
    content, says = HARM[name]
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(WeightsError) as raised:
        read(tmp_path / "bad")
    assert says in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_name_that_no_file_has() -> None:
    with pytest.raises(WeightsError, match="can't be read: embedded null byte"):
        read("a\0b")


def test_reading_writes_nothing(tmp_path: Path) -> None:
    write(random_bundle(channels=2, hidden=3), tmp_path / "good")
    (tmp_path / "good").chmod(0o400)
    tmp_path.chmod(0o500)
    before = (tmp_path / "good").stat()
    read(tmp_path / "good")
    assert (tmp_path / "good").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
    tmp_path.chmod(0o700)
