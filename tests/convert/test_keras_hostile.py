"""Files that are broken, foreign or made to harm: each is refused with a sentence, and nothing else happens."""

import contextlib
import io
import json
import random
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py")

import h5py

from edge_lstm.convert.formats.keras.reader import read, recognizes
from edge_lstm.errors import WeightsError

FILES = Path(__file__).parent / "keras_files"
Edit = Callable[[Any], None]
KERNEL = "layers/rnn/cell/vars/0"  # of stateful.keras
LAYER = "model_weights/lstm_2/lstm_2/lstm_cell"  # of functional.h5


def content(name: str) -> bytes:
    return (FILES / name).read_bytes()


def hdf5(data: bytes, edit: Edit) -> bytes:
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as opened:
        edit(opened)
    return file.getvalue()


def members(name: str = "stateful.keras") -> dict[str, bytes]:
    with zipfile.ZipFile(FILES / name) as archive:
        return {one: archive.read(one) for one in archive.namelist()}


def archive(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, data in parts.items():
            opened.writestr(name, data)
    return file.getvalue()


def weights(edit: Edit) -> bytes:
    """Return stateful.keras with its arrays edited."""
    parts = members()
    return archive(parts | {"model.weights.h5": hdf5(parts["model.weights.h5"], edit)})


def config(edit: Edit) -> bytes:
    """Return stateful.keras with its configuration edited."""
    parts = members()
    document = json.loads(parts["config.json"])
    edit(document)
    return archive(parts | {"config.json": json.dumps(document).encode()})


def model_config(edit: Edit, name: str = "functional.h5") -> bytes:
    """Return a whole model in HDF5 with its configuration edited."""

    def write(file: Any) -> None:
        document = json.loads(file.attrs["model_config"])
        edit(document)
        file.attrs["model_config"] = json.dumps(document)

    return hdf5(content(name), write)


def settings(layer: int, **changes: Any) -> bytes:
    """Return stateful.keras with settings of a layer changed: 0 input, 1 RNN, 2 TimeDistributed."""
    return config(lambda document: document["config"]["layers"][layer]["config"].update(changes))


def cell(**changes: Any) -> bytes:
    return config(lambda document: document["config"]["layers"][1]["config"]["cell"]["config"].update(changes))


def insert(kind: str, at: int = 2, **options: Any) -> bytes:
    """Return stateful.keras with one layer more."""
    entry = {"class_name": kind, "config": {"name": "more", **options}}
    return config(lambda document: document["config"]["layers"].insert(at, entry))


def put(path: str, value: Any) -> Edit:
    def edit(file: Any) -> None:
        if path in file:
            del file[path]
        file[path] = value

    return edit


def delete(path: str) -> Edit:
    def edit(file: Any) -> None:
        del file[path]

    return edit


def first(value: float) -> Edit:
    def edit(file: Any) -> None:
        file[KERNEL][0, 0] = value

    return edit


def external(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 16), np.float32, external=[("/etc/passwd", 0, 192)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((3, 16), np.float32)
    layout[...] = h5py.VirtualSource("/tmp/another.h5", "x", (3, 16))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def bomb(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (2**20, 2**20), np.float32, chunks=(1024, 1024), compression="gzip")


def unwritten(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (2**22, 2**22), np.float32)


def packed(file: Any) -> None:
    values = file[KERNEL][()]
    del file[KERNEL]
    file.create_dataset(KERNEL, data=values, compression="gzip")


def deep(file: Any) -> None:
    file.create_group("/".join("abcdefghijklmnopq"))


def circle(file: Any) -> None:
    file["layers/rnn/again"] = file["layers"]


def crowd(file: Any) -> None:
    for k in range(5000):
        file.create_group(f"layers/rnn/{k}")


def swapped_names(file: Any) -> None:
    names = file["model_weights/lstm_2"].attrs["weight_names"]
    file["model_weights/lstm_2"].attrs["weight_names"] = names[[1, 0, 2]]


def texts(file: Any) -> None:
    file["model_weights"].attrs.create("layer_names", ["lstm"] * 2000, dtype=h5py.string_dtype())


def node(edit: Callable[[list[Any]], Any], name: str = "dense_3") -> bytes:
    """Return functional.h5 with the call of a layer edited."""

    def change(document: Any) -> None:
        layer = next(one for one in document["config"]["layers"] if one["config"]["name"] == name)
        layer["inbound_nodes"] = edit(layer["inbound_nodes"])

    return model_config(change)


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    # what a file is
    "empty": (lambda: b"", "neither"),
    "text": (lambda: b"model", "neither"),
    "signature alone": (lambda: content("functional.h5")[:8], "damaged"),
    "zip head alone": (lambda: b"PK\x03\x04" + bytes(64), "damaged"),
    "plain HDF5": (lambda: hdf5(content("cudnn.h5"), lambda f: [f.attrs.clear(), f.clear()]), "layer_names"),
    "missing member": (lambda: archive({"config.json": b"{}"}), "has members"),
    "second member": (lambda: archive(members() | {"../evil": b"x"}), r"\.\./evil"),
    "assets": (lambda: archive(members() | {"assets/words.txt": b"x"}), "assets"),
    "compressed": (lambda: archive(members(), zipfile.ZIP_DEFLATED), "compressed"),
    "zip bomb": (lambda: archive(members() | {"config.json": bytes(2**24)}, zipfile.ZIP_DEFLATED), "compressed"),
    "pickle as configuration": (lambda: archive(members() | {"config.json": b"cos\nsystem\n(S'id'\ntR."}), "not JSON"),
    "deep JSON": (lambda: archive(members() | {"config.json": b"[" * 200_000}), "not JSON"),
    "list for configuration": (lambda: archive(members() | {"config.json": b"[]"}), "not a JSON object"),
    "no version": (lambda: archive(members() | {"metadata.json": b"{}"}), "which Keras wrote"),
    "Keras 1": (lambda: archive(members() | {"metadata.json": b'{"keras_version": "1.2.2"}'}), r"1\.2\.2"),
    "Keras 9": (lambda: archive(members() | {"metadata.json": b'{"keras_version": "9.0"}'}), r"9\.0"),
    # arrays
    "external link": (lambda: weights(put(KERNEL, h5py.ExternalLink("/etc/passwd", "/x"))), "ExternalLink"),
    "soft link": (lambda: weights(put(KERNEL, h5py.SoftLink("/layers"))), "SoftLink"),
    "dangling link": (lambda: weights(put(KERNEL, h5py.SoftLink("/nowhere"))), "SoftLink"),
    "external storage": (lambda: weights(external), "in another file"),
    "virtual array": (lambda: weights(virtual), "virtual"),
    "chunked bomb": (lambda: weights(bomb), "chunks"),
    "declared, not stored": (lambda: weights(unwritten), "0 are stored"),
    "gzip": (lambda: weights(packed), "chunks or compressed"),
    "nested groups": (lambda: weights(deep), "deeper than 12"),
    "circle of groups": (lambda: weights(circle), "deeper than 12"),
    "too many groups": (lambda: weights(crowd), "more than 4096"),
    "array is a group": (lambda: weights(lambda f: [f.__delitem__(KERNEL), f.create_group(KERNEL)]), "no array"),
    "committed type": (lambda: weights(put("layers/rnn/t", np.dtype("f8"))), "Datatype"),
    "missing array": (lambda: weights(delete(KERNEL)), "no array cell/vars/0"),
    "renamed array": (lambda: weights(lambda f: f.move(KERNEL, KERNEL[:-1] + "7")), "no array cell/vars/0"),
    "extra array": (lambda: weights(put(KERNEL[:-1] + "3", np.zeros(3))), "not known here"),
    "array of no layer": (lambda: weights(put("layers/dense_7/vars/0", np.zeros(3))), "none of its layers"),
    "array at the top": (lambda: weights(put("more", np.zeros(3))), "none of its layers"),
    "arrays swapped": (lambda: weights(lambda f: put(KERNEL, f[KERNEL[:-1] + "1"][()])(f)), "inputs"),
    "bias for recurrent": (lambda: weights(put(KERNEL[:-1] + "1", np.zeros(16, "f4"))), "recurrent_kernel has shape"),
    "kernel transposed": (lambda: weights(lambda f: put(KERNEL, f[KERNEL][()].T)(f)), "kernel has shape"),
    "scalar kernel": (lambda: weights(put(KERNEL, np.float32(1))), "kernel has shape"),
    "no inputs": (lambda: weights(put(KERNEL, np.zeros((0, 16), "f4"))), "kernel has shape"),
    "NaN": (lambda: weights(first(np.nan)), "not finite"),
    "infinity": (lambda: weights(first(np.inf)), "not finite"),
    "integers": (lambda: weights(put(KERNEL, np.zeros((3, 16), np.int8))), "int8, expected floats"),
    "bfloat16": (lambda: weights(put(KERNEL, np.zeros((3, 16), np.uint16))), "uint16, expected floats"),
    "complex": (lambda: weights(put(KERNEL, np.zeros((3, 16), np.complex64))), "complex64"),
    "texts for weights": (lambda: weights(put(KERNEL, ["a", "b"])), "object"),
    "records": (lambda: weights(put(KERNEL, np.zeros(3, [("a", "f4")]))), "expected plain numbers"),
    "null array": (lambda: weights(put(KERNEL, h5py.Empty("f4"))), "no shape"),
    "another layer's group": (
        lambda: weights(lambda f: f["layers/rnn/vars"].attrs.__setitem__("name", "lstm_9")),
        "says that it is of 'lstm_9'",
    ),
    # arrays by name
    "no weight_names": (lambda: hdf5(content("functional.h5"), lambda f: f[LAYER[:20]].attrs.clear()), "weight_names"),
    "swapped weight_names": (lambda: hdf5(content("functional.h5"), swapped_names), "expected"),
    "array not listed": (lambda: hdf5(content("functional.h5"), put(f"{LAYER}/more", np.zeros(3))), "weight_names"),
    "array listed, missing": (lambda: hdf5(content("functional.h5"), delete(f"{LAYER}/bias:0")), "list"),
    "array outside": (lambda: hdf5(content("functional.h5"), put("more", np.zeros(3))), "outside of its model_weights"),
    "no model_weights": (lambda: hdf5(content("functional.h5"), delete("model_weights")), "model_weights"),
    "texts without end": (lambda: hdf5(content("functional.h5"), texts), "2000 texts"),
    "weights of other layers": (
        lambda: hdf5(content("functional.h5"), lambda f: f["model_weights"].attrs.__setitem__("layer_names", ["a"])),
        "the configuration has",
    ),
    # settings
    "more units": (lambda: cell(units=5), "kernel has shape"),
    "huge units": (lambda: cell(units=10**9), "at most 2048"),
    "negative units": (lambda: cell(units=-4), "whole number"),
    "units in words": (lambda: cell(units="four"), "whole number"),
    "a bool for units": (lambda: cell(units=True), "whole number"),
    "bias off": (lambda: cell(use_bias=False), "not known here"),
    "bias in words": (lambda: cell(use_bias="yes"), "true or false"),
    "new setting": (lambda: cell(peepholes=True), "peepholes"),
    "activation not known": (lambda: cell(activation="gelu"), "'gelu' has no counterpart"),
    "exponential": (lambda: cell(activation="exponential"), "'exponential' has no counterpart"),
    "activation is a number": (lambda: cell(activation=3), "no counterpart"),
    "activation is code": (
        lambda: cell(activation={"class_name": "__lambda__", "config": {"value": "4wEA"}}),
        "not run",
    ),
    "activation of its author": (
        lambda: cell(activation={"class_name": "function", "config": "mine", "module": "__main__"}),
        "not run",
    ),
    "softmax inside": (lambda: cell(activation="softmax"), "softmax inside a cell"),
    "backwards": (lambda: settings(1, go_backwards=True), "backwards"),
    "time major": (lambda: settings(1, time_major=True), "time_major"),
    "other cell": (
        lambda: config(lambda d: d["config"]["layers"][1]["config"]["cell"].update(class_name="GRUCell")),
        "only LSTMCell",
    ),
    "cell is text": (lambda: settings(1, cell="LSTMCell"), "no layer with a configuration"),
    "many cells": (
        lambda: settings(1, cell={"class_name": "StackedRNNCells", "config": {"name": "s", "cells": [{}] * 999}}),
        "1 to 16",
    ),
    "other inputs": (lambda: settings(0, batch_input_shape=[1, 1, 7]), "7"),
    "flat input": (lambda: settings(0, batch_input_shape=[1, 3]), "expected .batch, rows, inputs"),
    "huge window": (lambda: settings(0, batch_input_shape=[1, 10**30, 3]), "expected .batch, rows, inputs"),
    # layers
    "no layers": (lambda: config(lambda d: d["config"].update(layers=[])), "none of its layers"),
    "layers without end": (lambda: config(lambda d: d["config"].update(layers=[{}] * 1000)), "at most 256"),
    "layers are a number": (lambda: config(lambda d: d["config"].update(layers=7)), "list"),
    "same name twice": (lambda: config(lambda d: d["config"]["layers"][2]["config"].update(name="rnn")), "two layers"),
    "subclass": (lambda: config(lambda d: d.update(class_name="MyModel")), "MyModel"),
    "custom object": (
        lambda: config(lambda d: d["config"]["layers"][1].update(registered_name="Mine>LSTM")),
        "its author's",
    ),
    "module to import": (lambda: config(lambda d: d["config"]["layers"][1].update(module="os")), "its author's"),
    "Lambda": (lambda: insert("Lambda", function={"class_name": "__lambda__"}), "code from a file is not run"),
    "Bidirectional": (lambda: insert("Bidirectional"), "backward half"),
    "GRU": (lambda: insert("GRU"), "another cell"),
    "SimpleRNN": (lambda: insert("SimpleRNN"), "another cell"),
    "Conv1D": (lambda: insert("Conv1D"), "whole window"),
    "Attention": (lambda: insert("MultiHeadAttention"), "whole window"),
    "Embedding": (lambda: insert("Embedding", 1), "words"),
    "Masking": (lambda: insert("Masking", 1), "skips rows"),
    "RepeatVector": (lambda: insert("RepeatVector"), "encoder-decoder"),
    "nested model": (lambda: insert("Sequential"), "model inside"),
    "unknown layer": (lambda: insert("Frobnicate"), "known are"),
    "dense first": (lambda: insert("Dense", 1, units=3), "before the LSTM"),
    "flatten a sequence": (lambda: insert("Flatten"), "mixes the rows"),
    "reshape a sequence": (lambda: insert("Reshape", target_shape=[4]), "mixes the rows"),
    "scaler behind": (lambda: insert("Rescaling", scale=2.0, offset=0.0), "behind an LSTM"),
    "negative scale": (lambda: insert("Rescaling", 1, scale=-1.0, offset=0.0), "expected more than 0"),
    "scale is NaN": (lambda: insert("Rescaling", 1, scale=float("nan"), offset=0.0), "not finite"),
    "scale of 7": (lambda: insert("Rescaling", 1, scale=[1.0] * 7, offset=0.0), "7 values"),
    "ragged scale": (lambda: insert("Rescaling", 1, scale=[[1.0], 2.0], offset=0.0), "expected numbers"),
    "inverted normalization": (lambda: insert("Normalization", 1, axis=-1, invert=True), "inverted"),
    "normalization per row": (lambda: insert("Normalization", 1, axis=[1, 2], invert=False), "per channel"),
    "half a normalization": (lambda: insert("Normalization", 1, axis=-1, mean=1.0), "expected both"),
    "negative variance": (lambda: insert("Normalization", 1, axis=-1, mean=1.0, variance=-1.0), "negative"),
    "threshold": (lambda: insert("ReLU", threshold=0.5), "threshold"),
    "softmax of another axis": (lambda: insert("Softmax", axis=1), "axis"),
    # connections
    "branch": (lambda: node(lambda n: [[*n[0], *n[0]]]), "several inputs"),
    "shared layer": (lambda: node(lambda n: n * 2), "used 2 times"),
    "second output": (lambda: node(lambda n: [[[n[0][0][0], 0, 1, {}]]]), "takes output 1"),
    "initial state": (lambda: node(lambda n: [[[n[0][0][0], 0, 0, {"initial_state": [1]}]]]), "initial_state"),
    "dropout stays on": (lambda: node(lambda n: [[[n[0][0][0], 0, 0, {"training": True}]]]), "training"),
    "circle of layers": (lambda: node(lambda n: [[["dense_3", 0, 0, {}]]]), "circle|no layer"),
    "fed by nothing": (lambda: node(lambda n: []), "begins at|not on the way"),
    "connection is text": (lambda: node(lambda n: "x"), "fed by"),
    "connection is empty": (lambda: node(lambda n: [[]]), "several inputs"),
    "two outputs": (lambda: model_config(lambda d: d["config"].update(output_layers=[["a", 0, 0]] * 2)), "2 output"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, tmp_path: Path) -> None:
    make, sentence = CASES[name]
    path = tmp_path / "model.keras"
    path.write_bytes(make())
    with pytest.raises(WeightsError, match=sentence):
        read(path)


@pytest.mark.parametrize("name", ["stateful.keras", "functional.h5", "named_weights.h5", "numbered.weights.h5"])
def test_truncated(name: str, tmp_path: Path) -> None:
    data = content(name)
    path = tmp_path / name
    for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(WeightsError):
            read(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read(tmp_path / "model.keras")
    with pytest.raises(WeightsError, match="not a regular file"):
        read(tmp_path)


def test_weights_alone_are_refused_if_ambiguous(tmp_path: Path) -> None:
    def more_dense(file: Any) -> None:
        file.copy("layers/dense", "layers/dense_1")

    for name, edit, sentence in (
        ("numbered.weights.h5", more_dense, "several dense"),
        ("numbered.weights.h5", lambda f: f.create_group("layers/re_lu"), "'re_lu'"),
        ("numbered.weights.h5", lambda f: f.move("layers/lstm", "layers/gru"), "'gru'"),
        ("named_weights.h5", lambda f: f.attrs.__setitem__("keras_version", "2.2.4-tf"), "before 2.3"),
        ("named_weights.h5", lambda f: f.attrs.__delitem__("keras_version"), "before 2.3"),
    ):
        path = tmp_path / name
        path.write_bytes(hdf5(content(name), edit))
        with pytest.raises(WeightsError, match=sentence):
            read(path)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some flipped, overwritten, copied elsewhere or cut off."""
    out = bytearray(data)
    kind = chance.choice(["flip", "flip", "flip", "overwrite", "copy", "cut"])
    at, length = chance.randrange(len(out)), chance.randrange(1, 100)
    if kind == "flip":
        for _ in range(chance.choice([1, 1, 2, 8])):
            out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    elif kind == "overwrite":
        out[at : at + length] = chance.randbytes(length)
    elif kind == "copy":
        start = chance.randrange(len(out))
        out[at : at + length] = out[start : start + length]
    else:
        del out[at:]
    return bytes(out)


def fuzz(seed: int, count: int, path: Path) -> None:
    """Read damaged files; what is not refused is a model of the same shape, or one of fewer rows a window."""
    chance = random.Random(seed)
    names = sorted(one.name for one in FILES.iterdir() if one.suffix in (".h5", ".keras"))
    shapes = {name: shape_of(FILES / name) for name in names}
    refused = 0
    for _ in range(count):
        name = chance.choice(names)
        path.write_bytes(damaged(content(name), chance))
        found = None
        with contextlib.suppress(WeightsError):
            found = shape_of(path)
        assert found in (None, shapes[name])
        refused += found is None
    assert count // 4 < refused < count  # neither all nor none
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2**21  # KiB; a child begins as large as its parent


def shape_of(path: Path) -> Any:
    model = read(path)
    assert all(np.isfinite(layer.weight_ih.real).all() for layer in model.layers)
    return [layer.weight_ih.shape for layer in model.layers], [dense.weight.shape for dense in model.head]


def test_damaged_bytes(tmp_path: Path) -> None:
    fuzz(1, 10, tmp_path / "damaged")


@pytest.mark.slow
def test_damaged_bytes_at_length(tmp_path: Path) -> None:
    fuzz(2, 500, tmp_path / "damaged")


def test_recognized_by_its_head() -> None:
    assert all(recognizes(content(one.name)[:64]) for one in FILES.iterdir() if one.suffix in (".h5", ".keras"))
    assert not recognizes(b"")
    assert not recognizes(b"PK\x03\x04" + bytes(26) + b"archive/data.pkl")
