"""Broken and hostile .tflite files: each ends in a sentence, none in another error, and none takes much memory."""

import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_lstm.convert.formats.litert.reader import read
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError
from tests.convert.litert_cases import DENSE, FLOAT_CASES, INT8_CASES, changed, tensor

FIXTURES = Path(__file__).parent / "tflite_fixtures"
FLOAT, STREAM, INT8 = (FIXTURES / f"keras_{name}.tflite" for name in ("float", "stream", "int8"))


def refused(content: bytes, path: Path) -> str:
    """Return the sentence that a file is refused with."""
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read(path)
    sentence = str(caught.value)
    assert 15 < len(sentence) < 600
    assert sentence.isprintable()
    return sentence


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("source", [FLOAT, INT8], ids=["float", "int8"])
def test_a_truncated_file_is_refused(source: Path, share: float, tmp_path: Path) -> None:
    content = source.read_bytes()
    refused(content[: int(share * len(content))], tmp_path / "cut.tflite")


@pytest.mark.parametrize(
    "content",
    [
        b"\x1c\x00\x00\x00TFL3",
        b"\xff\xff\xff\xffTFL3" + bytes(100),
        b"\x00\x00\x00\x80TFL3" + bytes(100),
        b"\x08\x00\x00\x00TFL3" + b"\xff" * 100,
        b"\x08\x00\x00\x00TFL3" + bytes(100),
        b"\x08\x00\x00\x00TFL2" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04cposix\nsystem\n(X\x02\x00\x00\x00lsR.",
        b'{"model": 1}',
    ],
)
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    refused(content, tmp_path / "model.tflite")


def test_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.tflite"):
        with pytest.raises(WeightsError):
            read(path)


@pytest.mark.parametrize("case", FLOAT_CASES)
def test_a_broken_float_file_is_refused_by_name(case: str, tmp_path: Path) -> None:
    change, words = FLOAT_CASES[case]
    sentence = refused(changed(FLOAT, change), tmp_path / "model.tflite")
    assert re.search(words, sentence), sentence


@pytest.mark.parametrize("case", INT8_CASES)
def test_a_broken_int8_file_is_refused_by_name(case: str, tmp_path: Path) -> None:
    change, words = INT8_CASES[case]
    sentence = refused(changed(INT8, change), tmp_path / "model.tflite")
    assert re.search(words, sentence), sentence


def test_the_unchanged_files_are_read(tmp_path: Path) -> None:
    for source in (FLOAT, INT8):
        (tmp_path / "model.tflite").write_bytes(changed(source, lambda _: None))
        assert len(read(tmp_path / "model.tflite").layers) == 2


def outcome(content: bytes, path: Path) -> Model | None:
    """Return what a file that may be damaged is read as, None if it is refused."""
    path.write_bytes(content)
    try:
        return read(path)
    except WeightsError:
        return None


def same_structure(a: Model, b: Model) -> bool:
    """Return whether two models differ in values only."""

    def of(model: Model) -> Any:
        layers = [(k.weight_ih.shape, k.weight_hh.shape, k.norm is None, k.weight_hr is None) for k in model.layers]
        return layers, [dense.weight.shape for dense in model.head], model.window

    return bool(of(a) == of(b))


@pytest.mark.parametrize("source", [FLOAT, INT8, STREAM], ids=["float", "int8", "stream"])
def test_flipped_bits_are_refused_or_change_values_only(source: Path, tmp_path: Path) -> None:
    content, rng, read_again = source.read_bytes(), np.random.default_rng(5), 0
    whole = read(source)
    for _ in range(300):
        flipped = bytearray(content)
        at = int(rng.integers(len(content)))
        flipped[at] ^= 1 << int(rng.integers(8))
        model = outcome(bytes(flipped), tmp_path / "flipped.tflite")
        if model is not None:
            read_again += 1
            assert same_structure(model, whole) or model.window != whole.window
    assert 0 < read_again < 300


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with bytes overwritten, moved, cut out or doubled."""
    new = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(8, len(new))), int(rng.integers(1, 9))
        what = int(rng.integers(5))
        if what == 0:
            new[at : at + length] = rng.bytes(length)
        elif what == 1:
            new[at : at + 4] = struct.pack("<I", int(rng.integers(0, 2**32)))
        elif what == 2:
            new[at : at + 4] = struct.pack("<I", int(rng.integers(0, len(new))))
        elif what == 3:
            del new[at : at + length]
        else:
            new[at:at] = new[at : at + length]
    return bytes(new)


@pytest.mark.parametrize("part", range(4))
def test_mutated_files_raise_nothing_else(part: int, tmp_path: Path) -> None:
    source = (FLOAT, INT8, FIXTURES / "keras_scaled.tflite", FIXTURES / "keras_float16.tflite")[part]
    content, rng, refusals = source.read_bytes(), np.random.default_rng(100 + part), 0
    tracemalloc.start()
    for _ in range(200):
        refusals += outcome(mutated(content, rng), tmp_path / "mutated.tflite") is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refusals > 50
    assert peak < 2**25


def rearranged(file: Any, rng: np.random.Generator) -> None:
    """Change a number of a file in the objects of its schema: a tensor an operator takes, a shape, an option."""
    graph = file.subgraphs[0]
    operator = graph.operators[rng.integers(len(graph.operators))]
    some = graph.tensors[rng.integers(len(graph.tensors))]
    name = ("inputs", "outputs", "intermediates", "shape", "options", "type", "zeroPoint", "kind")[rng.integers(8)]
    if name in ("inputs", "outputs", "intermediates"):
        values = list(getattr(operator, name) if getattr(operator, name) is not None else [])
        at, what = int(rng.integers(len(values) + 1)), int(rng.integers(3))
        values[at : at + (what != 0)] = [] if what == 1 else [int(rng.integers(-2, len(graph.tensors) + 2))]
        setattr(operator, name, values)
    elif name == "shape":
        some.shape = [int(size) for size in rng.integers(-1, 20, size=int(rng.integers(0, 5)))]
    elif name == "options" and operator.builtinOptions is not None:
        field = sorted(vars(operator.builtinOptions))[int(rng.integers(len(vars(operator.builtinOptions))))]
        value = getattr(operator.builtinOptions, field)
        if isinstance(value, int | float):
            setattr(operator.builtinOptions, field, type(value)(rng.integers(0, 8)))
    elif name == "type":
        some.type = int(rng.integers(0, 23))
    elif name == "zeroPoint" and some.quantization is not None:
        some.quantization.zeroPoint = [int(v) for v in rng.integers(-200, 200, size=int(rng.integers(0, 3)))]
    elif name == "kind":
        code = file.operatorCodes[rng.integers(len(file.operatorCodes))]
        code.builtinCode = code.deprecatedBuiltinCode = int(
            rng.choice([0, 6, 9, 14, 16, 18, 22, 25, 36, 39, 43, 44, 45, 114])
        )


@pytest.mark.parametrize("part", range(3))
def test_rearranged_files_raise_nothing_else(part: int, tmp_path: Path) -> None:
    source = (FLOAT, INT8, FIXTURES / "keras_scaled.tflite")[part]
    rng, refusals = np.random.default_rng(200 + part), 0
    for _ in range(60):

        def change(file: Any) -> None:
            for _ in range(int(rng.integers(1, 4))):
                rearranged(file, rng)

        try:
            content = changed(source, change)
        except (TypeError, ValueError, struct.error):  # the schema's own writer does not take it
            continue
        refusals += outcome(content, tmp_path / "rearranged.tflite") is None
    assert refusals > 30


def test_one_large_buffer_named_often_takes_no_memory(tmp_path: Path) -> None:
    files = pytest.importorskip("tests.convert.tflite_lstm")
    chain = files.Chain().input((1, 1, 2048), (1, -1, 2048))
    shared = chain.graph.constant(np.zeros((2048, 2048), np.float32))
    bias = chain.graph.constant(np.zeros(2048, np.float32))
    for _ in range(16):
        layer = files.Layer({}, 2048, 2048)
        chain.lstm(layer)
        operator = chain.graph.operators[-1]
        operator.inputs[1:9], operator.inputs[12:16] = [shared] * 8, [bias] * 4
    content = chain.content()
    path = tmp_path / "bomb.tflite"
    for form in (content, content.replace(struct.pack("<3i", 1, 1, 2048), struct.pack("<3i", 1, 1, 1024))):
        path.write_bytes(form)
        tracemalloc.start()
        with pytest.raises(WeightsError, match=r"channels|weights in all"):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**29


def test_one_list_of_scales_named_often_takes_no_memory(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        many = tensor(file, DENSE, 1)
        many.quantization.scale, many.quantization.zeroPoint = [0.1] * 8000, [0] * 8000
        file.subgraphs[0].tensors += [many] * 1000

    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    import flatbuffers

    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(INT8.read_bytes()))
    change(file)
    shared: dict[int, int] = {}
    pack = schema.QuantizationParametersT.Pack
    builder = flatbuffers.Builder(1 << 16)
    with pytest.MonkeyPatch.context() as patch:  # one table for all that are one object
        patch.setattr(
            schema.QuantizationParametersT,
            "Pack",
            lambda self, b: shared.get(id(self)) or shared.setdefault(id(self), pack(self, b)),
        )
        builder.Finish(file.Pack(builder), b"TFL3")
    content = bytes(builder.Output())
    assert len(content) < 2**19
    tracemalloc.start()
    assert "scales" in refused(content, tmp_path / "bomb.tflite")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26
