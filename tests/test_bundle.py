"""The weights file: what is written reads back, and what is not right does not start."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save

from edge_lstm import bundle as bundle_module
from edge_lstm.bundle import KEY, Bundle, Channel, Tensors, read, seal, write
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import SINCE
from edge_lstm.errors import WeightsError
from tests.bundles import hostile_stream, random_bundle, random_stream

Document = dict[str, Any]


@pytest.fixture(scope="module")
def fitted() -> Bundle:
    return random_bundle("fitted", channels=3, hidden=6, layers=2, seed=1, provenance={"recipe": "none", "seed": 1})


@pytest.fixture(scope="module")
def adaptive() -> Bundle:
    return random_bundle("adaptive", hidden=6, seed=2)


def parts_of(bundle: Bundle) -> tuple[Document, Tensors]:
    """Return a bundle's document and tensors, to be damaged; no checksum, as a file of somebody else's making."""
    document = json.loads(msgspec.json.encode(bundle.metadata))
    del document["sha256"]
    return document, {name: tensor.copy() for name, tensor in bundle.tensors.items()}


def write_parts(path: Path, document: Document, tensors: Tensors) -> Path:
    path.write_bytes(save(tensors, {KEY: json.dumps(document)}))
    return path


# ---- What is right -------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
@pytest.mark.parametrize("layers", [1, 2])
def test_round_trip_is_byte_equal(judge: str, layers: int, tmp_path: Path) -> None:
    bundle = random_bundle(judge, layers=layers, provenance={"recipe": "r", "seed": 3, "files": ["a", "b"]})
    write(bundle, tmp_path / "a")
    again = read(tmp_path / "a")
    write(again, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert again.metadata == bundle.metadata
    assert again.digest == bundle.digest
    for name, tensor in bundle.tensors.items():
        assert again.tensors[name].tobytes() == tensor.tobytes()
    for mine, its in zip(arrays_of(bundle), arrays_of(again), strict=True):
        assert np.array_equal(mine, its)


def test_a_file_without_checksum_is_read(fitted: Bundle, tmp_path: Path) -> None:
    again = read(write_parts(tmp_path / "a", *parts_of(fitted)))
    assert again.digest == fitted.digest
    assert again.metadata.sha256 == ""


def test_seal_again_gives_the_same(fitted: Bundle) -> None:
    tensors = {name: tensor for name, tensor in fitted.tensors.items() if not name.startswith("golden.")}
    again = seal(fitted.metadata, tensors, fitted.tensors["golden.t"], fitted.tensors["golden.x"])
    assert again.metadata == fitted.metadata


def test_golden_run_may_hold_missing_values_and_the_worst(tmp_path: Path) -> None:
    bundle = random_bundle("fitted", channels=2)
    tensors = {name: tensor for name, tensor in bundle.tensors.items() if not name.startswith("golden.")}
    t, x = random_stream(40, 2)
    x[5, 1] = math.nan
    x[9] = 1e300
    write(seal(bundle.metadata, tensors, t, x), tmp_path / "a")
    read(tmp_path / "a")


def test_the_largest_bundle_of_names_reads_back(tmp_path: Path) -> None:
    """As many channels as are allowed, with names as people have them."""
    channels = tuple(Channel(f"plant/hall 3/line {k}/temperature_{k}", "degrees Celsius") for k in range(1024))
    bundle = many_channels(channels)
    write(bundle, tmp_path / "a")
    assert read(tmp_path / "a").metadata.channels == channels


def arrays_of(bundle: Bundle) -> tuple[object, ...]:
    return (*bundle.weights.network, *bundle.weights.norms)


def many_channels(channels: tuple[Channel, ...]) -> Bundle:
    count = len(channels)
    template = random_bundle("fitted", channels=2, hidden=1, bits=8)
    tensors: Tensors = {
        "weight_ih_l0": np.ones((4, count), np.int8),
        "weight_ih_l0.scale": np.full(4, 1e-3, np.float32),
        "weight_hh_l0": np.ones((4, 1), np.int8),
        "weight_hh_l0.scale": np.full(4, 1e-3, np.float32),
        "bias_l0": np.zeros(4, np.float32),
        "head.weight": np.ones((2 * count, 1), np.int8),
        "head.weight.scale": np.full(2 * count, 1e-3, np.float32),
        "head.bias": np.zeros(2 * count, np.float32),
        "normalize.mean": np.zeros(count),
        "normalize.scale": np.ones(count),
        "judge.center": np.zeros((2, count)),
        "judge.whiten": np.tile(np.eye(count), (2, 1, 1)),
        "judge.blame": np.ones((2, count)),
        "judge.evidence": template.tensors["judge.evidence"],
        "judge.tail": template.tensors["judge.tail"],
        "rules.range": np.tile([-9.0, 9.0], (count, 1)),
        "rules.flat": np.tile([0.5, 3.0], (count, 1)),
    }
    metadata = msgspec.structs.replace(template.metadata, channels=channels, input_size=count)
    return seal(metadata, tensors, *random_stream(8, count))


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_digest_names_the_content(judge: str) -> None:
    digests = {random_bundle(judge, seed=seed, settle=settle).digest for seed in range(3) for settle in (5, 6)}
    assert len(digests) == 6
    assert all(len(digest) == 8 for digest in digests)


# ---- What is not a bundle at all -----------------------------------------------------------------


def not_files(fitted: Bundle, tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    """Return contents, each with what must be said of it."""
    write(fitted, tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    header_size = int.from_bytes(good[:8], "little")
    tensors = {"a": np.zeros(3, np.float32)}

    def framed(header: bytes, rest: bytes = b"") -> bytes:
        return len(header).to_bytes(8, "little") + header + rest

    return {
        "empty": (b"", "not a safetensors file"),
        "a few bytes": (good[:7], "not a safetensors file"),
        "only the length": (good[:8], "not a safetensors file"),
        "half a header": (good[: 8 + header_size // 2], "header is not JSON"),
        "no tensors": (good[: 8 + header_size], "damaged"),
        "one byte short": (good[:-1], "damaged"),
        "half": (good[: len(good) // 2], "damaged"),
        "one byte more": (good + b"\0", "damaged"),
        "header too big": ((2**40).to_bytes(8, "little") + good[8:], "not a safetensors file"),
        "header of all ones": (b"\xff" * 8 + good[8:], "not a safetensors file"),
        "header of nothing": (bytes(8) + good[8:], "not a safetensors file"),
        "deep header": (framed(b'{"a":' + b"[" * 60_000), "header is not JSON"),
        "header is a list": (framed(b"[]        ", b"x"), "header is not an object"),
        "header is a number": (framed(b"17        ", b"x"), "header is not an object"),
        "header is no text": (framed(b"\xff\xfe\xfd\xfc", b"x"), "header is not JSON"),
        "a pickle": (pickle.dumps({"weights": [1.0] * 1000}), "not a safetensors file"),
        "a zip": (b"PK\x03\x04\x14\x00\x00\x00" + bytes(1000), "not a safetensors file"),
        "json": (b'{"format": 1, "name": "pump"}' * 10, "not a safetensors file"),
        "text": (b"weights = random\n" * 10, "not a safetensors file"),
        "no metadata": (save(tensors), "no 'edge_lstm' in the metadata"),
        "foreign metadata": (save(tensors, {"format": "pt"}), "no 'edge_lstm' in the metadata"),
        "more metadata": (save(tensors, {KEY: "{}", "format": "pt"}), "no 'edge_lstm' in the metadata"),
        "metadata is a list": (framed(b'{"__metadata__": ["edge_lstm"]}', b"x"), "no 'edge_lstm' in the metadata"),
        "metadata is no text": (framed(b'{"__metadata__": {"edge_lstm": 7}}', b"x"), "no 'edge_lstm' in the metadata"),
        "document is no JSON": (save(tensors, {KEY: "format = 1"}), "damaged"),
        "document is empty": (save(tensors, {KEY: "{}"}), "missing required field"),
        "unknown dtype": (
            framed(good[8 : 8 + header_size].replace(b'"I8"', b'"Q8"'), good[8 + header_size :]),
            "damaged",
        ),
    }


def test_not_a_bundle(fitted: Bundle, tmp_path: Path) -> None:
    for case, (content, message) in not_files(fitted, tmp_path).items():
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(WeightsError) as raised:
            read(tmp_path / "bad")
        assert message in str(raised.value), case
        assert str(raised.value).startswith(str(tmp_path / "bad")), case


def test_truncated_anywhere(adaptive: Bundle, tmp_path: Path) -> None:
    write(adaptive, tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    for size in np.linspace(0, len(good) - 1, 120).astype(int).tolist():
        (tmp_path / "bad").write_bytes(good[:size])
        with pytest.raises(WeightsError, match=r"damaged|not a safetensors file"):
            read(tmp_path / "bad")


def test_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a regular file"):
        read(tmp_path)
    with pytest.raises(WeightsError, match="can't be read: No such file"):
        read(tmp_path / "missing.safetensors")
    with pytest.raises(WeightsError, match="not a regular file"):
        read("/dev/zero")


def test_too_large_to_be_read(fitted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(fitted, tmp_path / "a")
    monkeypatch.setattr(bundle_module, "MAX_FILE_BYTES", 1000)
    with pytest.raises(WeightsError, match="expected at most 1000"):
        read(tmp_path / "a")


# ---- A document that is not right ----------------------------------------------------------------

ADAPTIVE_ONE = [{"name": "a"}, {"name": "b"}]
DOCUMENTS: list[tuple[str, str, Any, str]] = [
    ("fitted", "format", 2, "$.format"),
    ("fitted", "format", "1", "$.format"),
    ("fitted", "made_up", 1, "unknown field `made_up`"),
    ("fitted", "name", 5, "$.name"),
    ("fitted", "judge", "oracle", "$.judge"),
    ("fitted", "hidden_size", "6", "$.hidden_size"),
    ("fitted", "hidden_size", 6.5, "$.hidden_size"),
    ("fitted", "hidden_size", 0, "hidden_size is 0, expected 1 to 2048"),
    ("fitted", "hidden_size", -1, "hidden_size is -1"),
    ("fitted", "hidden_size", 10**9, "hidden_size is 1000000000, expected 1 to 2048"),
    ("fitted", "hidden_size", 7, "expected int8 (28, 3)"),
    ("fitted", "num_layers", 0, "num_layers is 0"),
    ("fitted", "num_layers", 10**12, "num_layers is 1000000000000, expected 1 to 16"),
    ("fitted", "num_layers", 1, "tensors are not known: bias_l1"),
    ("fitted", "num_layers", 3, "tensors are missing: bias_l2"),
    ("fitted", "input_size", 2, "input_size is 2, expected 3"),
    ("fitted", "activation_bits", 12, "$.activation_bits"),
    ("fitted", "input_clip", 0.0, "input_clip is 0.0"),
    ("fitted", "input_clip", -20.0, "input_clip is -20.0"),
    ("fitted", "input_clip", 1e-300, "input_clip is 1e-300"),
    ("fitted", "input_clip", 1e7, "input_clip is 10000000.0"),
    ("fitted", "input_clip", math.nan, "damaged"),  # not JSON
    ("fitted", "input_clip", None, "$.input_clip"),
    ("fitted", "tau_b", 0.0, "tau_b is 0.0"),
    ("fitted", "tau_b", 0.1, "tau_b is 0.1, expected 1 to 1e6"),
    ("fitted", "tau_c", -3.0, "tau_c is -3.0"),
    ("fitted", "tau_c", 2e6, "tau_c is 2000000.0"),
    ("fitted", "period_s", -1.0, "period_s is -1.0"),
    ("fitted", "period_s", 1e12, "period_s is 1000000000000.0"),
    ("fitted", "warm_up", -1, "warm_up is -1"),
    ("fitted", "warm_up", 1.5, "$.warm_up"),
    ("fitted", "settle", 10**10, "settle is 10000000000"),
    ("fitted", "fit_rows", -4, "fit_rows is -4"),
    ("fitted", "channels", [], "0 channels, expected 1 to 1024"),
    ("fitted", "channels", [{"name": "a"}, {"name": "a"}, {"name": "b"}], "not unique"),
    ("fitted", "channels", [{"name": "a"}, {"name": ""}, {"name": "b"}], "a channel has no name"),
    ("fitted", "channels", [{"name": "a", "scale": 2}] * 3, "unknown field `scale`"),
    ("fitted", "channels", ["a", "b", "c"], "$.channels"),
    ("fitted", "channels", [{"name": f"c{k}"} for k in range(1025)], "1025 channels"),
    ("fitted", "provenance", {"code": {"eval": "1"}}, "$.provenance"),
    ("fitted", "sha256", "0" * 64, "not what its sha256 says"),
    ("fitted", "judge", "adaptive", "input_size is 3, expected 2"),
    ("adaptive", "channels", ADAPTIVE_ONE, "an adaptive bundle has one channel, this one has 2"),
    ("adaptive", "input_size", 1, "input_size is 1, expected 2"),
    ("adaptive", "judge", "fitted", "input_size is 2, expected 1"),
]


@pytest.mark.parametrize(("judge", "field", "value", "message"), DOCUMENTS)
def test_bad_document(
    judge: str, field: str, value: object, message: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    document, tensors = parts_of(request.getfixturevalue(judge))
    path = write_parts(tmp_path / "bad", document | {field: value}, tensors)
    with pytest.raises(WeightsError) as raised:
        read(path, replay_golden=False)
    assert message in str(raised.value)


@pytest.mark.parametrize("field", ["name", "judge", "channels", "hidden_size", "activation_bits", "warm_up"])
def test_document_without_a_field(field: str, fitted: Bundle, tmp_path: Path) -> None:
    document, tensors = parts_of(fitted)
    del document[field]
    with pytest.raises(WeightsError, match=f"missing required field `{field}`"):
        read(write_parts(tmp_path / "bad", document, tensors))


def test_int32_bound() -> None:
    """600 inputs of 16-bit activations overflow if all weights are at their bound; 8 bits, or 516 units, can't."""
    bundle = random_bundle("adaptive", hidden=600, bits=16, seed=5)  # its rows sum up to less
    tensors = {name: tensor for name, tensor in bundle.tensors.items() if not name.startswith("golden.")}
    tensors["weight_hh_l0"] = tensors["weight_hh_l0"].copy()
    tensors["weight_hh_l0"][7] = -127
    with pytest.raises(WeightsError, match="weight_hh_l0: 600 inputs of 16-bit activations overflow an int32 sum; use"):
        seal(bundle.metadata, tensors, *random_stream(8, 1))
    eight = msgspec.structs.replace(bundle.metadata, activation_bits=8)
    assert seal(eight, tensors, *random_stream(8, 1)).metadata.hidden_size == 600


def test_widest_sum_does_not_overflow() -> None:
    """All weights and activations at their bound: the sum is exact."""
    fields: Document = {"judge": "adaptive", "hidden": 516, "bits": 16, "seed": 5}
    bundle = random_bundle(**fields)
    tensors = {name: tensor for name, tensor in bundle.tensors.items() if not name.startswith("golden.")}
    tensors["weight_hh_l0"] = np.full_like(tensors["weight_hh_l0"], 127)
    tensors["head.weight"] = np.full_like(tensors["head.weight"], 127)
    tensors["head.weight.scale"] = np.full(2, 1e-3, np.float32)
    tensors["head.bias"] = np.zeros(2, np.float32)
    extreme = seal(bundle.metadata, tensors, *random_stream(8, 1))
    engine = Engine(extreme.weights, 1)
    engine.state.row[0, SINCE] = 1.0  # the first sample would put the state to where a stream starts
    engine.state.h[:] = 1.0
    engine.state.c[:] = 1e6  # i, f, o near 1 and tanh(c) near 1: h stays near 1
    out = engine.advance(np.zeros(1, np.int64), np.zeros(1), np.ones((1, 1))).forecast[0, 0]
    exact = float(np.rint(engine.state.h[0, 0, :516] * np.float64(32767)).astype(np.int64).sum() * 127)
    unit = 1e-6  # of a first sample of 1: 1e-6 * |mean|
    head = np.float32(exact) * np.float64(np.float32(1e-3) / np.float32(32767))
    assert exact > 2**30
    assert out[0] == pytest.approx(1.0 + unit * head, rel=1e-9)


# ---- Tensors that are not right ------------------------------------------------------------------

Damage = Callable[[Tensors], None]


def put(name: str, index: Any, value: float) -> Damage:
    def damage(tensors: Tensors) -> None:
        tensors[name][index] = value

    return damage


def replace(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(tensors: Tensors) -> None:
        tensors[name] = np.ascontiguousarray(change(tensors[name]))

    return damage


def drop(name: str) -> Damage:
    def damage(tensors: Tensors) -> None:
        del tensors[name]

    return damage


def add(name: str) -> Damage:
    return lambda tensors: tensors.update({name: np.zeros(2, np.float32)})


TENSORS: list[tuple[str, Damage, str]] = [
    ("missing weights", drop("weight_hh_l1"), "tensors are missing: weight_hh_l1"),
    ("missing scale", drop("head.weight.scale"), "tensors are missing: head.weight.scale"),
    ("missing judge", drop("judge.tail"), "tensors are missing: judge.tail"),
    ("missing golden results", drop("golden.surprise"), "tensors are missing: golden.surprise"),
    ("missing golden times", drop("golden.t"), "expected 8 to 4096 rows"),
    ("one more", add("weight_ih_l2"), "tensors are not known: weight_ih_l2"),
    ("one of PyTorch's", add("bias_ih_l0"), "tensors are not known: bias_ih_l0"),
    ("float weights", replace("weight_ih_l0", lambda a: a.astype(np.float32)), "expected int8 (24, 3)"),
    ("unsigned weights", replace("weight_ih_l0", lambda a: a.view(np.uint8)), "is uint8 (24, 3), expected int8"),
    ("double scale", replace("bias_l0", lambda a: a.astype(np.float64)), "bias_l0 is float64 (24,), expected float32"),
    ("half scale", replace("bias_l0", lambda a: a.astype(np.float16)), "bias_l0 is float16"),
    ("single judge", replace("judge.blame", lambda a: a.astype(np.float32)), "expected float64 (2, 3)"),
    ("transposed", replace("weight_ih_l0", np.transpose), "weight_ih_l0 is int8 (3, 24), expected int8 (24, 3)"),
    ("flat", replace("weight_hh_l0", np.ravel), "weight_hh_l0 is int8 (144,)"),
    ("a scale for all", replace("weight_ih_l0.scale", lambda a: a[:1]), "is float32 (1,), expected float32 (24,)"),
    ("nothing", replace("head.weight", lambda a: a[:0]), "head.weight is int8 (0, 6)"),
    ("16-bit weights", replace("weight_ih_l0", lambda a: a.astype(np.int16)), "weight_ih_l0 is int16"),
    ("nan bias", put("bias_l1", 0, math.nan), "bias_l1 holds a value that is not finite"),
    ("nan mean", put("normalize.mean", 1, math.nan), "normalize.mean holds a value that is not finite"),
    ("infinite bias", put("head.bias", 0, math.inf), "head.bias holds a value that is not finite"),
    ("infinite whitening", put("judge.whiten", (0, 2, 1), -math.inf), "judge.whiten holds a value that is not finite"),
    ("infinite golden input", put("golden.x", (3, 1), math.inf), "golden.x holds an infinite value"),
    ("nan golden result", put("golden.surprise", 0, math.nan), "golden.surprise holds a value that is not finite"),
    ("nan golden time", put("golden.t", 0, math.nan), "golden.t holds a value that is not finite"),
    ("zero scale", put("weight_hh_l0.scale", 2, 0.0), "weight_hh_l0.scale holds a scale that is not positive"),
    ("negative scale", put("weight_ih_l1.scale", 0, -1e-3), "weight_ih_l1.scale holds a scale that is not positive"),
    ("zero unit", put("normalize.scale", 0, 0.0), "normalize.scale holds a scale that is not positive"),
    ("huge mean", put("normalize.mean", 0, 1e16), "normalize.mean holds a value above 1e+15"),
    ("huge whitening", put("judge.whiten", (1, 1, 0), -1e200), "judge.whiten holds a value above 1e+15"),
    ("huge bias", put("bias_l0", 0, 3e38), "bias_l0 holds a value above 1e+15"),
    ("quantile at the median", put("judge.evidence", (1, 1), -0.2), "a 99 % quantile is not above its median"),
    ("quantile below", put("judge.evidence", (2, 1), -5.0), "a 99 % quantile is not above its median"),
    ("quantile too near", put("judge.evidence", (0, 1), 5e-324), "a 99 % quantile is not above its median"),
    ("upper triangle", put("judge.whiten", (0, 0, 2), 1e-9), "judge.whiten is not lower triangular"),
    ("tail origin", put("judge.tail", 0, 0.9), "expected origin < threshold"),
    ("tail without scale", put("judge.tail", 2, 0.0), "expected origin < threshold, sigma > 0"),
    ("tail of a negative scale", put("judge.tail", 2, -0.2), "judge.tail is"),
    ("tail of no scale to speak of", put("judge.tail", 2, 1e-320), "judge.tail is"),
    ("tail too light", put("judge.tail", 3, 0.0), "xi in [0.1, 1]"),
    ("tail too heavy", put("judge.tail", 3, 1.5), "xi in [0.1, 1]"),
    ("range upside down", put("rules.range", (1, 0), 21.0), "rules.range: low is above high"),
    ("no probability", put("rules.flat", (0, 0), 0.0), "rules.flat: expected a probability in (0, 1]"),
    ("more than certain", put("rules.flat", (0, 0), 1.5), "rules.flat: expected a probability"),
    ("negative run", put("rules.flat", (2, 1), -1.0), "rules.flat: expected a probability in (0, 1] and a run >= 0"),
    ("golden result", put("golden.surprise", 40, 0.125), "computes something else from row 40"),
    ("golden forecast", put("golden.forecast", (63, 1, 0), 1.0), "golden.forecast: this machine computes"),
    ("golden input", put("golden.x", (20, 0), 2.5), "this machine computes something else"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in TENSORS], ids=[case[0] for case in TENSORS])
def test_bad_tensors(damage: Damage, message: str, fitted: Bundle, tmp_path: Path) -> None:
    document, tensors = parts_of(fitted)
    damage(tensors)
    with pytest.raises(WeightsError) as raised:
        read(write_parts(tmp_path / "bad", document, tensors))
    assert message in str(raised.value)


@pytest.mark.parametrize("rows", [0, 7, 4097])
def test_golden_run_of_a_bad_length(rows: int, fitted: Bundle, tmp_path: Path) -> None:
    document, tensors = parts_of(fitted)
    for name in tensors:
        if name.startswith("golden."):
            tensors[name] = np.resize(tensors[name], (rows, *tensors[name].shape[1:]))
    with pytest.raises(WeightsError, match="expected 8 to 4096 rows"):
        read(write_parts(tmp_path / "bad", document, tensors))


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2)])
def test_another_gate_order_is_caught(
    judge: str, order: tuple[int, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Keras has i, f, c, o as PyTorch; ONNX has i, o, f, c. Every tensor of the first layer is reordered alike."""
    document, tensors = parts_of(request.getfixturevalue(judge))
    for name in ("weight_ih_l0", "weight_ih_l0.scale", "weight_hh_l0", "weight_hh_l0.scale", "bias_l0"):
        gates = np.split(tensors[name], 4)
        tensors[name] = np.concatenate([gates[k] for k in order])
    with pytest.raises(WeightsError, match="this machine computes something else"):
        read(write_parts(tmp_path / "bad", document, tensors))


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_one_bit_of_any_weight_is_caught(judge: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Without a checksum, by the golden run alone; the lowest bit of a few weights of every matrix."""
    document, good = parts_of(request.getfixturevalue(judge))
    rng = np.random.default_rng(0)
    tried = 0
    for name in [name for name, tensor in good.items() if tensor.dtype == np.int8]:
        for place in rng.choice(good[name].size, 3, replace=False).tolist():
            tensors = {key: tensor.copy() for key, tensor in good.items()}
            tensors[name].flat[place] ^= 1
            if tensors[name].flat[place] == -128:
                continue
            with pytest.raises(WeightsError, match="this machine computes something else"):
                read(write_parts(tmp_path / "bad", document, tensors))
            tried += 1
    assert tried >= 8


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_any_flipped_byte(judge: str, tmp_path: Path) -> None:
    """A damaged file is refused, in our words; where damage changes nothing (space in a header), nothing is changed."""
    bundle = random_bundle(judge, channels=2, hidden=3, provenance={"recipe": "r", "note": "text " * 20})
    write(bundle, tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    header_size = int.from_bytes(good[:8], "little")
    rng = np.random.default_rng(1)
    places = [*range(8), *rng.integers(8, 8 + header_size, 100), *rng.integers(8 + header_size, len(good), 100)]
    refused = 0
    for place in map(int, places):
        damaged = bytearray(good)
        damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / "bad").write_bytes(damaged)
        try:
            again = read(tmp_path / "bad")
        except WeightsError:
            refused += 1
            continue
        assert again.metadata == bundle.metadata, place
        assert {name: tensor.tobytes() for name, tensor in again.tensors.items()} == {
            name: tensor.tobytes() for name, tensor in bundle.tensors.items()
        }, place
    assert refused >= len(places) - 10


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_extreme_but_allowed_numbers_stay_finite(judge: str) -> None:
    """A bundle at the edge of every bound is legal, and its state is finite whatever comes."""
    bundle = random_bundle(judge, channels=2, hidden=4, layers=2, input_clip=1e-3, tau_b=1.0, tau_c=1.0)
    tensors = {name: tensor.copy() for name, tensor in bundle.tensors.items() if not name.startswith("golden.")}
    for tensor in tensors.values():
        if tensor.dtype == np.float32:
            tensor[:] = 1e15
    if judge == "fitted":
        tensors["normalize.mean"][:] = 1e15
        tensors["normalize.scale"][:] = [1e15, 1e-300]
        tensors["judge.center"][:] = -1e15
        tensors["judge.whiten"] = np.tril(np.full((2, 2, 2), 1e15))
        tensors["judge.blame"][:] = 1e15
        tensors["judge.evidence"][:] = [[0.0, 2e-15], [-1e15, 1e15], [1e-15, 2.5e-15]]
        tensors["judge.tail"][:] = [-1e15, 1e-15, 1e-15, 0.1]
        tensors["rules.range"][:] = [[-1e15, 1e15], [0.0, 5e-324]]
        tensors["rules.flat"][:] = [[5e-324, 1e15], [1.0, 0.0]]
    extreme = seal(bundle.metadata, tensors, *random_stream(8, len(bundle.metadata.channels)))
    engine = Engine(extreme.weights, 1)
    t, x = hostile_stream(3000, len(bundle.metadata.channels), 4)
    x[::7][np.abs(x[::7]) < 1e100] *= 1e14
    results = engine.advance(np.zeros(len(t), np.int64), t, x)
    for name, array in (*engine.state._asdict().items(), *results._asdict().items()):
        assert np.isfinite(array).all(), name
