"""Files that are damaged, or made to do harm: each ends in a sentence. None of it needs PyTorch."""

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_lstm.convert.formats.pytorch import reader as pytorch
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError
from tests.convert.torch_bytes import (
    ORDERED_DICT,
    Raw,
    archive,
    lstm,
    name,
    number,
    overlapping,
    pickled,
    state_dict_file,
    tensor,
    text,
    tup,
)

WHOLE = lstm()


def changed(**entries: Any) -> bytes:
    """Return a state_dict with entries changed, added, or left out (None); "__" stands for "."."""
    arrays = WHOLE | {key.replace("__", "."): value for key, value in entries.items()}
    return state_dict_file({key: value for key, value in arrays.items() if value is not None})


def with_tensor(code: bytes, storage: bytes = bytes(96)) -> bytes:
    """Return a file whose lstm.weight_ih_l0 is what the opcodes make."""
    pickle_, storages = pickled(WHOLE | {"lstm.weight_ih_l0": Raw(code)})
    return archive(pickle_, storages | {"0": storage})


def of_pickle(code: bytes) -> bytes:
    return archive(b"\x80\x02" + code + b".", {})


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def floats(*shape: int, value: float = 0.1) -> Any:
    return np.full(shape, value, "<f4")


def per_channel(axis: int, scales: int) -> bytes:
    code = tensor("0", "QInt8Storage", 24, (12, 2)).removesuffix(b"R")
    scheme = tup(
        name("torch", "per_channel_affine"),
        tensor("90", "DoubleStorage", scales, (scales,)),
        tensor("91", "LongStorage", scales, (scales,)),
        number(axis),
    )
    return code.replace(b"_rebuild_tensor_v2", b"_rebuild_qtensor").replace(b"\x89", scheme + b"\x89", 1) + b"R"


def per_tensor(scale: float, zero_point: bytes = b"K\x00", scheme: str = "per_tensor_affine") -> bytes:
    code = tensor("0", "QInt8Storage", 24, (12, 2)).removesuffix(b"R")
    quantizer = tup(name("torch", scheme), b"G" + struct.pack(">d", scale), zero_point)
    return code.replace(b"_rebuild_tensor_v2", b"_rebuild_qtensor").replace(b"\x89", quantizer + b"\x89", 1) + b"R"


def script(kind: str, state: bytes) -> bytes:
    return name("torch", "ScriptObject") + b")\x81" + tup(state, text(kind)) + b"b"


def cell(entry: bytes) -> bytes:
    pickle_, storages = pickled({"lstm._all_weight_values.0.param": Raw(entry)})
    return archive(pickle_, storages)


CELL, LINEAR = "__torch__.torch.classes.rnn.CellParamsBase", "__torch__.torch.classes.quantized.LinearPackedParamsBase"
NESTED = b")" + b"\x85" * 100_000  # tuples in a tuple
LAUGHS = b")" + b"q\x01h\x01\x86" * 200  # each holds the one before twice

FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "neither a zip"),
    "text": (b"hello, I am a model" * 10, "neither a zip"),
    "zip of nothing": (archive(b"", {}), "damaged"),
    "directory only": (b"PK\x05\x06" + bytes(18), "neither a zip"),
    "pickle without state_dict": (pickle.dumps([1, 2], 2), "neither a zip"),
    "a list": (of_pickle(b"]"), "holds a list"),
    "a tensor": (archive(b"\x80\x02" + tensor("0", "FloatStorage", 2, (2,)) + b".", {"0": bytes(8)}), "holds a tensor"),
    "empty state_dict": (state_dict_file({}), "no nn.LSTM"),
    "truncated pickle": (archive(pickled(WHOLE)[0][:300], pickled(WHOLE)[1]), "damaged"),
    "two objects": (of_pickle(b"]]"), "more than one object"),
    "trailing bytes": (archive(pickled(WHOLE)[0] + b"x", pickled(WHOLE)[1]), "something follows"),
    "a checkpoint": (state_dict_file({"epoch": Raw(number(3)), "model": Raw(b"}")}), "checkpoint"),
    "nested dict": (state_dict_file({"state_dict": Raw(b"}" + text("a") + number(1) + b"s")}), "with the keys a"),
    "a module": (of_pickle(name("__main__", "Net") + b")\x81"), "__main__.Net"),
    "os.system": (of_pickle(name("os", "system") + tup(text("true")) + b"R"), "os.system"),
    "eval": (of_pickle(name("builtins", "eval") + tup(text("1")) + b"R"), "builtins.eval"),
    "getattr": (of_pickle(name("builtins", "getattr") + tup(text("a"), text("b")) + b"R"), "builtins.getattr"),
    "function of torch": (of_pickle(name("torch.hub", "load") + tup(text("a/b"), text("c")) + b"R"), "torch.hub"),
    "dotted name": (of_pickle(name("torch", "nn.Module") + b")R"), "nn.Module"),
    "calls a dtype": (of_pickle(name("torch", "qint8") + b")R"), "not a function"),
    "calls a string": (of_pickle(text("os") + b")R"), "not a function"),
    "INST": (of_pickle(b"(ios\nsystem\n"), "INST"),
    "OBJ": (of_pickle(b"(o"), "OBJ"),
    "EXT1": (of_pickle(b"\x82\x01"), "EXT1"),
    "NEWOBJ_EX": (of_pickle(name("torch", "ScriptObject") + b")}\x92"), "NEWOBJ_EX"),
    "NEWOBJ of a dict": (of_pickle(name("collections", "OrderedDict") + b")\x81"), "unknown kind"),
    "text opcodes": (of_pickle(b"I1" + b"0" * 9000 + b"\n"), "damaged"),
    "BUILD with attributes": (of_pickle(ORDERED_DICT + b"}" + text("x") + number(1) + b"sb"), "sets attributes"),
    "PERSID": (of_pickle(b"Pstorage\n"), "PERSID"),
    "persistent path": (of_pickle(tup(text("file"), *[text("/etc/passwd")] * 4) + b"Q"), "not a storage"),
    "memo that is not there": (of_pickle(b"h\x09"), "damaged"),
    "memo far away": (of_pickle(b"]r\xff\xff\xff\xff"), "holds a list"),
    "string of 4 GB": (of_pickle(b"X\xff\xff\xff\xff"), "damaged"),
    "bytes of 2**63": (of_pickle(b"\x8e" + b"\xff" * 8), "damaged"),
    "long of 2 GB": (of_pickle(b"\x8b\xff\xff\xff\x7f"), "damaged"),
    "pop of nothing": (of_pickle(b"t"), "damaged"),
    "nested tuples": (of_pickle(NESTED), "holds a tuple"),
    "nested key": (of_pickle(b"}" + LAUGHS + number(1) + b"s"), "a key that is a tuple"),
    "many laughs": (state_dict_file({"a": Raw(LAUGHS)}), "expected a tensor"),
    "a key twice": (of_pickle(b"}" + (text("a") + number(1) + b"s") * 2), "there twice"),
    "a key that is no name": (of_pickle(b"}" + number(1) + number(1) + b"s"), "is not a name"),
    "a million opcodes": (of_pickle(b"]" + b"Na" * 600_000), "opcodes"),
    "storage too short": (with_tensor(tensor("0", "FloatStorage", 24, (12, 2)), bytes(92)), "92 bytes, expected 96"),
    "storage missing": (archive(*[pickled(WHOLE)[0], {"1": pickled(WHOLE)[1]["1"]}]), "missing: data/0"),
    "storage in excess": (archive(*pickled(WHOLE), {"data/99": b"1234"}), "belong to no tensor: data/99"),
    "unknown member": (archive(*pickled(WHOLE), {"extra/model.py": b"pass"}), "belong to no tensor"),
    "TorchScript": (archive(*pickled(WHOLE), {"code/net.py": b"pass", "constants.pkl": b"."}), "TorchScript"),
    "big-endian": (state_dict_file(WHOLE).replace(b"net/byteorder", b"net/byteorde_"), "byteorde_"),
    "compressed": (archive(*pickled(WHOLE), how=zipfile.ZIP_DEFLATED), "compressed"),
    "zip bomb": (archive(*pickled(WHOLE | {"x": Raw(text("a" * 10**7))}), how=zipfile.ZIP_DEFLATED), "compressed"),
    "member beyond the file": (overlapping(2**31), "members of 2147"),
    "member a little beyond": (overlapping(2**10), "damaged"),
    "path upward": (state_dict_file(WHOLE).replace(b"net/data/0", b"../data/0/"), "2 folders"),
    "shape beyond its storage": (with_tensor(tensor("0", "FloatStorage", 24, (12, 3))), "beyond its storage"),
    "offset beyond": (with_tensor(tensor("0", "FloatStorage", 24, (12, 2), offset=1)), "beyond its storage"),
    "offset negative": (with_tensor(tensor("0", "FloatStorage", 24, (12, 2), offset=-4)), "outside its storage"),
    "stride beyond": (with_tensor(tensor("0", "FloatStorage", 24, (12, 2), strides=(4, 1))), "beyond its storage"),
    "stride negative": (with_tensor(tensor("0", "FloatStorage", 24, (12, 2), strides=(-2, 1))), "not sizes"),
    "shape of 2**62": (with_tensor(tensor("0", "FloatStorage", 24, (2**62, 4))), "not sizes"),
    "shape that overflows": (with_tensor(tensor("0", "FloatStorage", 24, (2**33, 2**31), strides=(0, 0))), "beyond"),
    "expanded to a terabyte": (with_tensor(tensor("0", "FloatStorage", 24, (2**20, 2**18), strides=(0, 0))), "beyond"),
    "70 dimensions": (with_tensor(tensor("0", "FloatStorage", 24, (1,) * 70)), "does not fit its strides"),
    "size of a storage": (with_tensor(tensor("0", "FloatStorage", 2**39, (12, 2))), "expected 2199023255552"),
    "two types of one storage": (changed(a=Raw(tensor("0", "DoubleStorage", 24, (24,)))), "two types"),
    "shape of strings": (
        with_tensor(tensor("0", "FloatStorage", 24, (12, 2)).replace(tup(b"K\x0c", b"K\x02"), tup(text("x")), 1)),
        "not sizes",
    ),
    "whole numbers": (changed(lstm__weight_ih_l0=np.ones((12, 2), "<i8")), "holds int64"),
    "NaN": (changed(lstm__weight_hh_l0=floats(12, 3, value=np.nan)), "not finite"),
    "infinite bias": (changed(lstm__bias_hh_l0=floats(12, value=np.inf)), "not finite"),
    "signaling NaN": (changed(fc__weight=np.full((1, 3), 0x7FA00001, "<u4").view("<f4")), "not finite"),
    "missing weight_hh": (changed(lstm__weight_hh_l0=None), "lstm.weight_hh_l0 is missing"),
    "missing weight_ih": (changed(lstm__weight_ih_l0=None), "lstm.weight_ih_l0 is missing"),
    "missing bias": (changed(lstm__bias_ih_l0=None), "in some|is missing"),
    "missing fc.weight": (changed(fc__weight=None), "fc.bias"),
    "missing layer": (changed(lstm__weight_ih_l2=floats(12, 3)), "some of its 3 layers"),
    "layer 90": (changed(lstm__weight_ih_l90=floats(12, 3)), "layer 90"),
    "renamed": (changed(lstm__weight_ih_l0=None, lstm__weight_xh_l0=floats(12, 2)), "weight_xh_l0"),
    "extra": (changed(hidden=floats(3)), "hidden"),
    "another rows": (changed(lstm__weight_ih_l0=floats(16, 2)), "has 12 rows"),
    "not four gates": (changed(lstm__weight_hh_l0=floats(12, 5)), "four rows per column"),
    "a GRU": (changed(lstm__weight_hh_l0=floats(12, 4)), "GRU"),
    "transposed": (changed(lstm__weight_hh_l0=floats(3, 12)), "four rows per column"),
    "bias of another length": (changed(lstm__bias_ih_l0=floats(8)), "expected .12,"),
    "bias of two dimensions": (changed(lstm__bias_ih_l0=floats(12, 1)), "one dimension"),
    "flat weights": (changed(lstm__weight_ih_l0=floats(24)), "two dimensions"),
    "no inputs": (changed(lstm__weight_ih_l0=Raw(tensor("0", "FloatStorage", 0, (12, 0)))), "missing|two dimensions"),
    "a head of another width": (changed(fc__weight=floats(1, 4)), "fc: weight has shape"),
    "projection of another size": (changed(lstm__weight_hr_l0=floats(2, 3)), "projection has shape"),
    "backward": (changed(lstm__weight_ih_l0_reverse=floats(12, 2)), "bidirectional"),
    "name of a megabyte": (state_dict_file({"a" * 10**6: floats(1)}), "is not a name"),
    "control characters": (state_dict_file({"\x1b[2J.weight": floats(1, 1)}), "not the name"),
    "scale of 0": (with_tensor(per_tensor(0.0), bytes(24)), "scale that is not positive"),
    "scale of NaN": (with_tensor(per_tensor(float("nan")), bytes(24)), "not finite"),
    "negative scale": (with_tensor(per_tensor(-0.5), bytes(24)), "not positive"),
    "zero point of 300": (with_tensor(per_tensor(0.5, number(300)), bytes(24)), "outside -128 to 127"),
    "zero point of 2**70": (with_tensor(per_tensor(0.5, number(2**70)), bytes(24)), "without a scale and a zero point"),
    "zero point of text": (with_tensor(per_tensor(0.5, text("0")), bytes(24)), "without a scale and a zero point"),
    "unknown scheme": (with_tensor(per_tensor(0.5, scheme="qint8"), bytes(24)), "unknown kind"),
    "scales along columns": (
        archive(pickled(WHOLE | {"lstm.weight_ih_l0": Raw(per_channel(1, 2))})[0],
                pickled(WHOLE)[1] | {"0": bytes(24), "90": bytes(16), "91": bytes(16)}),
        "along axis 1",
    ),
    "too few scales": (
        archive(pickled(WHOLE | {"lstm.weight_ih_l0": Raw(per_channel(0, 5))})[0],
                pickled(WHOLE)[1] | {"0": bytes(24), "90": bytes(40), "91": bytes(40)}),
        "5 scales and 5 zero points for 12 rows",
    ),
    "quantized cell without state": (cell(name("torch", "ScriptObject") + b")\x81"), "ScriptObject"),
    "quantized cell of an unknown type": (cell(script("__torch__.Evil", b")")), "__torch__.Evil"),
    "quantized cell of too few": (cell(script(CELL, tup(text("quantized_dynamic")))), "not known here"),
    "quantized in an unknown way": (
        cell(script(CELL, tup(text("quantized"), b"]", b"]", b"]", b"]"))), "quantized in a way"),
    "quantized cell without weights": (
        cell(script(CELL, tup(text("quantized_fp16"), b"]", b"]", b"]", b"]"))), "not known here"),
    "quantized cell of numbers": (
        cell(script(CELL, tup(text("quantized_fp16"), b"]", b"]", b"]", b"](K\x01K\x02e"))), "packed weights"),
    "packed weights without a weight": (
        state_dict_file({"c._packed_weight_ih": Raw(script(LINEAR, tup(b"N", b"N")))}), "a weight and a bias"),
    "packed Linear alone": (
        state_dict_file({"fc._packed_params._packed_params": Raw(tup(b"N", b"N"))}), "missing beside"),
}  # fmt: skip


def read_bytes(data: bytes, tmp_path: Path, suffix: str = ".pt") -> Model:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(data)
    return pytorch.read(path)


def test_the_file_that_the_others_are_changes_of_is_read(tmp_path: Path) -> None:
    model = read_bytes(state_dict_file(WHOLE), tmp_path)
    np.testing.assert_array_equal(model.layers[0].weight_ih.real, WHOLE["lstm.weight_ih_l0"])
    np.testing.assert_array_equal(model.head[0].bias, WHOLE["fc.bias"])
    assert (
        read_bytes(with_tensor(per_tensor(0.5, number(3)), bytes(range(24))), tmp_path).layers[0].weight_ih.is_integer
    )


SLOW = {"a million opcodes"}


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow) if c in SLOW else c for c in FILES])
def test_a_broken_file_is_refused_with_what_is_wrong(case: str, tmp_path: Path) -> None:
    data, words = FILES[case]
    tracemalloc.start()
    with pytest.raises(WeightsError, match=words) as caught:
        read_bytes(data, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value)) < 1000
    assert peak < 20 * len(data) + 2**24


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    for protocol in range(6):
        for content in (Evil(trace), {"a": Evil(trace)}, OrderedDict([("lstm.weight_ih_l0", Evil(trace))])):
            data = pickle.dumps(content, protocol)
            legacy = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + data
            for file in (archive(data, {}), legacy):
                with pytest.raises(WeightsError):
                    read_bytes(file, tmp_path)
    assert not trace.exists()
    pickle.loads(data)  # what a loader that trusts the file does
    assert trace.exists()


@pytest.mark.parametrize("kind", ["HalfStorage", "BFloat16Storage"])
def test_many_views_of_one_storage_are_not_made_into_many_copies(kind: str, tmp_path: Path) -> None:
    numbers = 2**22
    entries: dict[str, Any] = {
        f"lstm.weight_{side}_l{k}": Raw(tensor("0", kind, numbers, (4 * 1024, 1024)))
        for k in range(16)
        for side in ("ih", "hh")
    }
    data = archive(pickled(entries)[0], {"0": bytes(2 * numbers)})
    tracemalloc.start()
    with pytest.raises(WeightsError, match="numbers in all tensors"):
        read_bytes(data, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**29


def test_members_that_name_the_same_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    data = archive(*pickled(WHOLE | {f"x{k}": floats(10_000) for k in range(50)}))
    first, sizes = data.index(b"PK\x01\x02"), []
    while (first := data.find(b"PK\x01\x02", first)) >= 0:  # the directory, all of it pointing at one large member
        sizes.append(struct.unpack_from("<I", data, first + 24)[0])
        first += 4
    assert sum(sizes) <= len(data)
    bomb, at = bytearray(data), data.index(b"PK\x01\x02")
    while (at := bytes(bomb).find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<II", bomb, at + 20, 40_000, 40_000)
        at += 4
    with pytest.raises(WeightsError, match="members of"):
        read_bytes(bytes(bomb), tmp_path)


def test_a_directory_of_a_million_members_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="members"):
        read_bytes(state_dict_file(WHOLE) + b"PK\x01\x02" * 20_001, tmp_path)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "not a regular file"), (tmp_path / "none.pt", "no such file")):
        with pytest.raises(WeightsError, match=words):
            pytorch.read(path)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    document = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(document) if length is None else length) + document + data


def entry(dtype: str, shape: Any, first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def lstm_safetensors(**changes: Any) -> bytes:
    arrays = WHOLE | {key.replace("__", "."): value for key, value in changes.items()}
    header, data = {}, b""
    kinds = {"<f4": "F32", "|i1": "I8", "|u1": "U8", "<i8": "I64", "<f8": "F64"}
    for key, value in arrays.items():
        raw = value.tobytes()
        header[key] = entry(kinds[value.dtype.str], list(value.shape), len(data), len(data) + len(raw))
        data += raw
    return safetensors(header, data)


INTS = np.arange(24, dtype="|i1").reshape(12, 2)
SAFETENSORS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a safetensors"),
    "header of 2**63": (safetensors({}, length=2**63), "cut off"),
    "header cut off": (safetensors({"a": 1})[:-3], "cut off"),
    "not JSON": (safetensors(b"{nonsense"), "not JSON"),
    "nested": (safetensors(b"[" * 100_000), "not JSON"),
    "a list": (safetensors([1]), "not an object"),
    "an entry of a number": (safetensors({"a": 1}), "not an object"),
    "an entry without a shape": (safetensors({"a": {"dtype": "F32", "data_offsets": [0, 0]}}), "expected dtype"),
    "a shape of floats": (safetensors({"a": entry("F32", [1.0], 0, 4)}, bytes(4)), "expected dtype"),
    "a shape of truth": (safetensors({"a": entry("F32", [True], 0, 4)}, bytes(4)), "expected dtype"),
    "a negative shape": (safetensors({"a": entry("F32", [-1], 0, 4)}, bytes(4)), "expected dtype"),
    "a huge shape": (safetensors({"a": entry("F32", [2**40, 2**40], 0, 4)}, bytes(4)), "4 bytes, expected"),
    "a gap": (safetensors({"a": entry("F32", [1], 4, 8)}, bytes(8)), "does not begin"),
    "an overlap": (
        safetensors({"a": entry("F32", [1], 0, 4), "b": entry("F32", [2], 0, 8)}, bytes(8)), "does not begin"),
    "beyond the end": (safetensors({"a": entry("F32", [3], 0, 12)}, bytes(8)), "cut off"),
    "bytes left over": (safetensors({"a": entry("F32", [1], 0, 4)}, bytes(8)), "belong to no tensor"),
    "offsets backward": (safetensors({"a": entry("F32", [0], 4, 0)}, bytes(4)), "expected dtype"),
    "an unknown type": (safetensors({"a": entry("F8_E5M2", [4], 0, 4)}, bytes(4)), "F8_E5M2"),
    "a name twice": (safetensors(b'{"a": {}, "a": {}}'), "twice"),
    "a long name": (safetensors({"a" * 5000: entry("F32", [1], 0, 4)}, bytes(4)), "5000 characters"),
    "a bundle": (safetensors({"__metadata__": {"edge_lstm": "{}"}}), "already"),
    "integers without scale": (lstm_safetensors(lstm__weight_ih_l0=INTS), "scale"),
    "zero point without scale": (
        lstm_safetensors(lstm__weight_ih_l0=INTS, lstm__weight_ih_l0__zero_point=np.zeros(1, "<i8")), "without"),
    "uint8 without zero point": (
        lstm_safetensors(lstm__weight_ih_l0=INTS.astype("|u1"), lstm__weight_ih_l0__scale=floats(1)), "uint8 without"),
    "floats with a scale": (lstm_safetensors(lstm__weight_ih_l0__scale=floats(1)), "holds float32 with a scale"),
    "a whole scale": (
        lstm_safetensors(lstm__weight_ih_l0=INTS, lstm__weight_ih_l0__scale=np.ones(1, "<i8")), "scale of floats"),
    "a zero point of floats": (
        lstm_safetensors(lstm__weight_ih_l0=INTS, lstm__weight_ih_l0__scale=floats(1),
                         lstm__weight_ih_l0__zero_point=floats(1)), "zero point of integers"),
    "three scales": (lstm_safetensors(lstm__weight_ih_l0=INTS, lstm__weight_ih_l0__scale=floats(3)), "3 scales"),
    "a scale of infinity": (
        lstm_safetensors(lstm__weight_ih_l0=INTS, lstm__weight_ih_l0__scale=floats(1, value=np.inf)), "not finite"),
    "wide integers": (
        lstm_safetensors(lstm__weight_ih_l0=INTS.astype("<i8"), lstm__weight_ih_l0__scale=floats(1)), "holds int64"),
    "a bias with a scale": (
        lstm_safetensors(lstm__bias_ih_l0=INTS[:, 0].copy(), lstm__bias_ih_l0__scale=floats(1)), "expected floats"),
}  # fmt: skip


@pytest.mark.parametrize("case", SAFETENSORS)
def test_a_broken_safetensors_file_is_refused(case: str, tmp_path: Path) -> None:
    data, words = SAFETENSORS[case]
    with pytest.raises(WeightsError, match=words) as caught:
        read_bytes(data, tmp_path, ".safetensors")
    assert len(str(caught.value)) < 1000


def numbers_only(model: Model, like: Model) -> bool:
    """Return whether two models differ in numbers alone."""
    shapes = [[layer.weight_ih.shape, layer.weight_hh.shape] for layer in model.layers]
    return shapes == [[layer.weight_ih.shape, layer.weight_hh.shape] for layer in like.layers] and len(model.head) == 1


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with some of them flipped, cut, doubled, or exchanged for 0 or 255."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(out)))
        what = int(rng.integers(0, 5))
        if what == 0:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif what == 1:
            out[at] = int(rng.integers(0, 256))
        elif what == 2:
            out[at : at + 4] = (b"\x00" * 4, b"\xff" * 4)[int(rng.integers(0, 2))]
        elif what == 3:
            out[at:at] = out[at : at + int(rng.integers(1, 20))]
        else:
            del out[at : at + int(rng.integers(1, 20))]
    return bytes(out)


def with_right_sums(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file whose pickle is damaged, and whose checksums say that it is not."""
    pickle_, storages = pickled(WHOLE)
    del data
    return archive(mutated(pickle_, rng), storages)


SOURCES: dict[str, tuple[Callable[[], bytes], Callable[[bytes, np.random.Generator], bytes], str]] = {
    "pt": (lambda: state_dict_file(WHOLE), mutated, ".pt"),
    "pickle": (lambda: state_dict_file(WHOLE), with_right_sums, ".pt"),
    "safetensors": (lstm_safetensors, mutated, ".safetensors"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_500_damaged_files_end_in_sentences(source: str, tmp_path: Path) -> None:
    make, damage, suffix = SOURCES[source]
    data, rng = make(), np.random.default_rng(11)
    whole, refused, changed_numbers = read_bytes(data, tmp_path, suffix), 0, 0
    for _ in range(500):
        try:
            model = read_bytes(damage(data, rng), tmp_path, suffix)
        except WeightsError:
            refused += 1
        else:
            changed_numbers += numbers_only(model, whole)
    assert refused > 250
    assert refused + changed_numbers == 500


@pytest.mark.parametrize("source", ["pt", "safetensors"])
def test_a_file_cut_off_anywhere_is_refused(source: str, tmp_path: Path) -> None:
    make, _, suffix = SOURCES[source]
    data = make()
    for size in range(0, len(data), max(1, len(data) // 150)):
        with pytest.raises(WeightsError):
            read_bytes(data[:size], tmp_path, suffix)


def test_signatures() -> None:
    assert pytorch.recognizes(state_dict_file(WHOLE)[:64])
    assert pytorch.recognizes(lstm_safetensors()[:64])
    assert pytorch.recognizes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + bytes(20))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("metadata.json", "{}")
    for head in (b"", b"{}", other.getvalue()[:64], bytes(64)):
        assert not pytorch.recognizes(head)
