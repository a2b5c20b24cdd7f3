"""RTNeural's JSON against RTNeural itself, where it is there, and against PyTorch."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_lstm.convert.formats.rtneural import reader as rtneural
from edge_lstm.convert.mathematics import run
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError

ROWS = 1000
ACTIVATIONS = ("", "tanh", "relu", "sigmoid", "elu", "softmax")


def layer(kind: str, activation: str, size: int, *weights: Any) -> dict[str, Any]:
    lists = [w.tolist() if isinstance(w, np.ndarray) else w for w in weights]
    return {"type": kind, "activation": activation, "shape": [None, None, size], "weights": lists}


def made(seed: int) -> dict[str, Any]:
    """Return a random model as RTNeural's exporter writes one."""
    rng = np.random.default_rng(seed)
    inputs = width = int(rng.integers(1, 6))
    layers = []
    for _ in range(int(rng.integers(1, 4))):
        units = int(rng.integers(1, 17))
        limit = 1.5 / np.sqrt(units)
        shapes = (width, 4 * units), (units, 4 * units), (4 * units,)
        layers.append(layer("lstm", "tanh", units, *(rng.uniform(-limit, limit, shape) for shape in shapes)))
        width = units
    for k in range(seed % 4):
        outputs, activation = int(rng.integers(2, 6)), ACTIVATIONS[(seed + k) % (6 if k == seed % 4 - 1 else 5)]
        weights = [rng.uniform(-1, 1, (width, outputs)), rng.uniform(0.5, 1.5, outputs)][: 1 if seed % 7 == 3 else 2]
        kind = "time-distributed-dense" if seed % 5 == 4 else "dense"
        layers.append(layer(kind, "" if seed % 3 == 2 else activation, outputs, *weights))
        if seed % 3 == 2 and activation:
            layers.append(layer("activation", activation, outputs))
        width = outputs
    return {"in_shape": [None, None, inputs], "layers": layers}


def written(document: Any, path: Path) -> Path:
    path.write_text(json.dumps(document))
    return path


def rows(document: dict[str, Any], seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(ROWS, document["in_shape"][-1]))


@pytest.mark.skipif(not os.environ.get("RTNEURAL"), reason="RTNEURAL does not name a checkout of RTNeural")
@pytest.mark.parametrize("seed", range(36))
def test_a_random_model_gives_what_it_gives_in_rtneural(seed: int, tmp_path: Path) -> None:
    from edge_lstm.convert.originals import rtneural as original

    document = made(seed)
    path = written(document, tmp_path / "net.json")
    model, x = rtneural.read(path), rows(document, seed)
    theirs, ours = original.run(path, model, x)
    assert theirs.shape == ours.shape == (ROWS, model.output_size)
    assert np.ptp(theirs, axis=0).max() > 1e-3
    assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(theirs).max()  # it computes in float32
    theirs, ours = original.run(path, model, x, double=True)
    assert np.abs(theirs - ours).max() < 1e-12


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(36))
def test_a_random_model_gives_what_its_layers_give_in_pytorch(seed: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    functions = {
        "": lambda y: y, "tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid,
        "elu": torch.nn.functional.elu, "softmax": lambda y: torch.softmax(y, -1),
    }  # fmt: skip
    document = made(seed)
    x = rows(document, seed)
    y = torch.from_numpy(x)
    for entry in document["layers"]:
        weights = [torch.tensor(w, dtype=torch.float64) for w in entry["weights"]]
        if entry["type"] == "lstm":
            lstm = torch.nn.LSTM(weights[0].shape[0], weights[1].shape[0], dtype=torch.float64)
            state = {"weight_ih_l0": weights[0].T, "weight_hh_l0": weights[1].T, "bias_ih_l0": weights[2]}
            lstm.load_state_dict(state | {"bias_hh_l0": torch.zeros_like(weights[2])})
            y = lstm(y[:, None])[0][:, 0].detach()
        else:
            y = functions[entry["activation"]](
                y @ weights[0] + (weights[1] if len(weights) > 1 else 0) if weights else y
            )
    found = run(rtneural.read(written(document, tmp_path / "net.json")), x)
    assert np.ptp(found, axis=0).max() > 1e-3
    np.testing.assert_allclose(found, y.numpy(), rtol=0, atol=1e-12)


@pytest.mark.torch
def test_a_state_dict_in_json(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from edge_lstm.convert.originals import rtneural as original

    torch.manual_seed(1)
    first, second, fc = torch.nn.LSTM(1, 8), torch.nn.LSTM(8, 8, num_layers=3), torch.nn.Linear(8, 1)
    net = torch.nn.ModuleDict({"lstm": first, "lstm2": second, "dense": fc})
    path = written({name: tensor.tolist() for name, tensor in net.state_dict().items()}, tmp_path / "net.json")
    with pytest.raises(WeightsError, match="2 LSTMs: lstm, lstm2"):
        rtneural.read(path)
    x = np.random.default_rng(0).normal(size=(200, 1))
    with torch.no_grad():
        expected = fc(second(first(torch.from_numpy(x).float())[0])[0]).numpy()
    model = rtneural.read(path, "lstm,lstm2,dense")
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)
    theirs, ours = original.run(path, model, x)
    np.testing.assert_allclose(theirs, expected, atol=1e-6)
    np.testing.assert_array_equal(ours, run(model, x))


def test_a_window_and_the_state(tmp_path: Path) -> None:
    document = made(1)
    assert rtneural.read(written(document, tmp_path / "net.json")).window == 0
    document["in_shape"] = [1, 64, document["in_shape"][-1]]
    model = rtneural.read(written(document | {"samplerate": 48000, "author": "me"}, tmp_path / "net.json"))
    assert model.window == 64
    assert model.stateful


def small() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    weights = [rng.uniform(-0.5, 0.5, shape).round(3) for shape in ((2, 12), (3, 12), (12,), (3, 1), (1,))]
    return {
        "in_shape": [None, None, 2],
        "layers": [layer("lstm", "tanh", 3, *weights[:3]), layer("dense", "", 1, *weights[3:])],
    }


def put(value: Any, *path: Any) -> dict[str, Any]:
    """Return the small model with one value changed; ``...`` takes the entry out."""
    document: Any = small()
    at = document
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return dict(document)


def of(kind: str) -> dict[str, Any]:
    return put(kind, "layers", 1, "type")


BROKEN: dict[str, tuple[Any, str]] = {
    "empty": (b"", "not JSON"),
    "not JSON": (b"{'a': 1}", "not JSON"),
    "cut off": (json.dumps(small()).encode()[:-20], "not JSON"),
    "no UTF-8": (b'{"\xff\xfe": 1}', "not JSON"),
    "deep": (b"[" * 200_000, "not JSON"),
    "deep objects": (b'{"a":' * 200_000, "not JSON"),
    "a list": (b"[1]", "expected a JSON object"),
    "nothing": (b"{}", "expected a JSON object"),
    "a name twice": (b'{"in_shape": [1, 1], "in_shape": [1, 2], "layers": []}', "twice"),
    "a number of 5000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    "no layers": (put([], "layers"), "expected 1 to"),
    "layers of text": (put("lstm", "layers"), "expected 1 to"),
    "a hundred layers": (put(small()["layers"] * 50, "layers"), "expected 1 to"),
    "no in_shape": (put(..., "in_shape"), "in_shape is missing"),
    "in_shape of text": (put("x", "in_shape"), "in_shape"),
    "in_shape of four": (put([None, None, 8, 2], "in_shape"), "in_shape"),
    "in_shape without channels": (put([None, None, None], "in_shape"), "channels"),
    "in_shape of floats": (put([None, None, 2.0], "in_shape"), "channels"),
    "in_shape of 2**60": (put([None, None, 2**60], "in_shape"), "channels"),
    "a window of 2**60": (put([None, 2**60, 2], "in_shape"), "time steps"),
    "unknown entry": (put(1, "in_skip"), "in_skip"),
    "a layer of text": (put("lstm", "layers", 0), "layer 0"),
    "no type": (put(..., "layers", 0, "type"), "layer 0"),
    "a number as type": (put(3, "layers", 0, "type"), "layer 0"),
    "gru": (of("gru"), "layer 1 is of type 'gru'"),
    "conv1d": (of("conv1d"), "layer 1 is of type 'conv1d'"),
    "conv2d": (of("conv2d"), "layer 1 is of type 'conv2d'"),
    "batchnorm": (of("batchnorm"), "layer 1 is of type 'batchnorm'"),
    "prelu": (of("prelu"), "layer 1 is of type 'prelu'"),
    "unknown type": (of("unknown"), "layer 1 is of type 'unknown'"),
    "no weights": (put(..., "layers", 0, "weights"), "weights missing"),
    "no shape": (put(..., "layers", 0, "shape"), "shape missing"),
    "unknown attribute": (put(True, "layers", 0, "go_backwards"), "go_backwards"),
    "unknown activation": (put("gelu", "layers", 1, "activation"), "gelu"),
    "no activation": (put(None, "layers", 1, "activation"), "activation"),
    "lstm with relu": (put("relu", "layers", 0, "activation"), "tanh only"),
    "lstm with a softmax": (put("softmax", "layers", 0, "activation"), "tanh only"),
    "weights of text": (put("abc", "layers", 0, "weights"), "not a list"),
    "two weights": (put(small()["layers"][0]["weights"][:2], "layers", 0, "weights"), "2 weights"),
    "another size": (put([None, None, 4], "layers", 0, "shape"), "kernel: expected numbers of shape"),
    "ragged": (put([1.0], "layers", 0, "weights", 0, 1), "shape"),
    "a kernel turned": (
        put(np.zeros((12, 2)).tolist(), "layers", 0, "weights", 0), r"kernel: expected numbers of shape \(2, 12\)"),
    "text for a number": (put("0.5", "layers", 0, "weights", 0, 0, 0), "numbers only"),
    "true for a number": (put(True, "layers", 0, "weights", 0, 0, 0), "numbers only"),
    "null for a number": (put(None, "layers", 0, "weights", 2, 0), "numbers only"),
    "NaN": (put(float("nan"), "layers", 0, "weights", 0, 0, 0), "not finite"),
    "infinity": (put(float("inf"), "layers", 0, "weights", 2, 0), "not finite"),
    "1e999": (json.dumps(small()).replace('"weights": [[[', '"weights": [[[1e999, ', 1).encode(), "shape"),
    "a whole number of 400 digits": (put(10**400, "layers", 0, "weights", 0, 0, 0), "too large"),
    "no LSTM": (put([layer("dense", "", 1, np.ones((2, 1)))], "layers"), "before the LSTM"),
    "dense before": (put(small()["layers"][::-1], "layers"), "before the LSTM"),
    "dense between": (put([*small()["layers"], small()["layers"][0]], "layers"), "layer 2 .* behind a dense"),
    "softmax before the end": (
        put([small()["layers"][0], *[layer("activation", "softmax", 3)] * 2], "layers"), "softmax before the end"),
    "activation with weights": (
        put([*small()["layers"], layer("activation", "tanh", 1, [1])], "layers"), "has weights"),
    "activation of another size": (put([*small()["layers"], layer("activation", "tanh", 2)], "layers"), "2 outputs"),
    "a state_dict of text": ({"lstm.weight_ih_l0": "x"}, "nor a tensor"),
    "a state_dict of a convolution": ({"c.weight": [[[1.0]]]}, "more than two dimensions"),
    "a state_dict of a GRU": ({"g.weight_ih_l0": [[1.0]] * 6, "g.weight_hh_l0": [[1.0, 1.0]] * 6}, "GRU"),
    "an unknown document": ({"model_config": {"class_name": "Sequential"}}, "'model_config' is not part"),
}  # fmt: skip


def read_bytes(data: bytes, tmp_path: Path) -> Model:
    path = tmp_path / "net.json"
    path.write_bytes(data)
    return rtneural.read(path)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_what_is_wrong(case: str, tmp_path: Path) -> None:
    document, words = BROKEN[case]
    with pytest.raises(WeightsError, match=words) as caught:
        read_bytes(document if isinstance(document, bytes) else json.dumps(document).encode(), tmp_path)
    assert len(str(caught.value)) < 600


def test_head_is_not_for_a_file_that_says_its_order(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="--layers"):
        rtneural.read(written(small(), tmp_path / "net.json"), "dense")


def test_500_damaged_files_end_in_sentences(tmp_path: Path) -> None:
    data, rng = json.dumps(small()).encode(), np.random.default_rng(5)
    whole, refused, read = read_bytes(data, tmp_path), 0, 0
    for _ in range(500):
        out = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(0, len(out)))
            if rng.integers(0, 2):
                out[at] = int(rng.integers(0, 256))
            else:
                out[at:at] = rng.choice([b"9", b"[", b"]", b",", b'"', b"-", b"e9", b"null", b"}"])
        try:
            model = read_bytes(bytes(out), tmp_path)
        except WeightsError:
            refused += 1
        else:
            read += (model.input_size, model.output_size) == (whole.input_size, whole.output_size)
    assert refused > 100
    assert refused + read == 500


def test_signatures() -> None:
    assert rtneural.recognizes(json.dumps(small()).encode()[:64])
    assert rtneural.recognizes(json.dumps(small(), indent=4).encode()[:64])
    assert rtneural.recognizes(b'{"lstm.weight_ih_l0": [[0.1')
    for head in (b"", b"{}", b'{"class_name": "Sequential"', b"[1]", b"PK\x03\x04"):
        assert not rtneural.recognizes(head)
