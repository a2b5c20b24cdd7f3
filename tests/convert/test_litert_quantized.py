"""LiteRT files in integers: they arrive as they are, and only LiteRT's own rounding lies between the outputs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.litert.reader import read
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError
from tests.convert.litert_bounds import TABLES, Rounding, bound, hybrid

FIXTURES = Path(__file__).parent / "tflite_fixtures"
STEPS = 1000
FORMS: list[dict[str, Any]] = [
    {},
    {"coupled": True},
    {"peephole": True},
    {"norm": True},
    {"projection": 4},
    {"projection": 5, "projection_bias": True},
    {"cell_clip": 0.25},
    {"coupled": True, "peephole": True},
    {"coupled": True, "norm": True, "projection": 6, "projection_bias": True},
]


def chain(form: str, seed: int, layers: int = 1) -> Any:
    """Return a file with LSTM layers and, for odd seeds, dense layers, all in one form."""
    from tests.convert import tflite_lstm as files

    rng = np.random.default_rng(seed)
    new = files.Chain(form).input((1, 1, 3), (1, -1, 3))
    for k in range(layers):
        form_of = FORMS[seed] if k == 0 else FORMS[seed % 3]  # the second one without normalization
        layer = files.random_layer(rng, new.shape[-1], 8, **form_of)
        for at in layer.arrays:  # the bound adds up what rounding may do at worst, so little may come back
            layer.arrays[at] *= np.float32(0.1 if at in range(5, 12) else 3.0 if 21 in layer.arrays and at < 5 else 1)
        new.lstm(layer)
    if seed % 2:
        per_row = seed % 4 == 1
        new.dense(
            0.5 * rng.normal(size=(4, new.shape[-1])).astype(np.float32), np.ones(4, np.float32), "RELU", keep=True
        )
        new.dense(rng.normal(size=(2, 4)).astype(np.float32), None, per_row=per_row, keep=True)
    return new


def imported(new: Any, path: Path) -> Model:
    path.write_bytes(new.content())
    return read(path)


def stored(written: dict[int, Any], first: int) -> Any:
    """Return four gates' integers and scales of a layer as they were written; a coupled gate is the next, negated."""
    gates = [written.get(first + gate) for gate in range(4)]
    if gates[0] is None:
        gates[0] = (-gates[1][0].astype(int), gates[1][1])
    values = np.concatenate([values for values, _ in gates])
    scales = np.concatenate([np.full(len(values), np.float32(scale[0]), float) for values, scale in gates])
    return values, scales


@pytest.mark.parametrize("form", ["hybrid", "integer"])
@pytest.mark.parametrize("seed", range(len(FORMS)))
def test_integers_arrive_as_they_are(form: str, seed: int, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    new = chain(form, seed, layers=2)
    model = imported(new, tmp_path / "model.tflite")
    for layer, written in zip(model.layers, new.constants[:2], strict=True):
        for matrix, first in ((layer.weight_ih, 1), (layer.weight_hh, 5)):
            values, scales = stored(written, first)
            assert matrix.is_integer
            np.testing.assert_array_equal(matrix.values, values)
            np.testing.assert_array_equal(matrix.scale, scales)
        if 16 in written:
            assert layer.weight_hr is not None
            np.testing.assert_array_equal(layer.weight_hr.values, written[16][0])
        if form == "integer":
            steps = np.concatenate([np.ravel(written[12 + k][0] * np.array(written[12 + k][1])) for k in range(1, 4)])
            np.testing.assert_allclose(layer.bias[8:], steps, rtol=1e-6)
    for dense, written in zip(model.head, new.constants[2:], strict=True):
        np.testing.assert_array_equal(dense.weight.values, written[1][0])
        np.testing.assert_array_equal(dense.weight.scale, np.broadcast_to(written[1][1], len(dense.weight.scale)))


def integer_rounding(new: Any) -> Rounding:
    """Return what LiteRT rounds in 8x8 -> 16 bits, from the scales of a file.

    Sums of gates: two products, each to half a step of 2^-12, or of the normalization's input. Normalized: to half of
    2^-10 of the factor, and the result to half of 2^-12; the mean to half of 2^-10 again. A cell state: two products,
    each to half a step. Outputs: half a step.
    """
    from tests.convert import tflite_lstm as files

    norm = any(21 in written for written in new.constants)
    return Rounding(
        given=files.INPUT_SCALE / 2,
        sums=files.NORM_INPUT_SCALE if norm else 2.0**-12,
        norm=2.0**-10,
        gate=TABLES,
        cell=files.CELL_SCALE,
        hidden=files.HIDDEN_SCALE / 2,
        dense=tuple(0.5001 * step for step in scales(new, "FULLY_CONNECTED")),
    )


def scales(new: Any, kind: str) -> list[float]:
    """Return the scales of the outputs of an operator."""
    codes = [name for name, _ in new.model.codes]
    found = [op for op in new.graph.operators if codes[op.opcodeIndex] == kind]
    return [new.graph.tensors[op.outputs[0]].quantization.scale[0] for op in found]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", ["hybrid", "integer"])
@pytest.mark.parametrize("seed", range(len(FORMS)))
def test_outputs_differ_by_what_litert_rounds(form: str, seed: int, layers: int, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edge_lstm.convert.originals.litert import run

    new = chain(form, seed, layers)
    path = tmp_path / "model.tflite"
    model = imported(new, path)
    x = np.random.default_rng(seed).uniform(-3.9, 3.8, (STEPS, 3)).astype(np.float32).astype(np.float64)
    original, ours = run(path, model, x)
    limit = bound(model, x, integer_rounding(new) if form == "integer" else hybrid())
    difference = np.abs(original - ours)
    largest = np.abs(ours).max()
    print(f"{form} {layers} {FORMS[seed]}: {difference.max():.4f}, bound {limit.max():.4f} of {largest:.3f}")  # noqa: T201
    assert (difference <= limit).all()
    assert limit.max() < largest  # which says something
    assert difference.max() > 1e-4  # it does round


def test_asymmetric_activations_round_to_twice_the_step(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edge_lstm.convert.originals.litert import run
    from tests.convert import tflite_lstm as files

    path = tmp_path / "model.tflite"
    new = files.Chain("hybrid").input((1, 1, 3), (1, -1, 3))
    new.lstm(files.random_layer(np.random.default_rng(3), 3, 8, asymmetric=True))
    model = imported(new, path)
    x = np.random.default_rng(4).uniform(-1, 3, (STEPS, 3)).astype(np.float32).astype(np.float64)
    original, ours = run(path, model, x)
    assert (np.abs(original - ours) <= bound(model, x, hybrid(2.0))).all()


@pytest.mark.parametrize("name", ["keras_int8", "keras_int8_float_io", "keras_dynamic_range"])
def test_integers_by_tensorflow_arrive(name: str) -> None:
    """As trained, weights are too large for the bound to say something, so the limits here are measured ones."""
    model = read(FIXTURES / f"{name}.tflite")
    with np.load(FIXTURES / f"{name}.npz") as saved:
        x, y = saved["x"].astype(np.float64), saved["y"]
    assert all(m.is_integer for layer in model.layers for m in (layer.weight_ih, layer.weight_hh))
    assert model.head[0].weight.is_integer
    ours = np.stack([mathematics.run(model, window)[-1] for window in x])
    limit = 0.01 * np.abs(y).max()  # measured: 0.005
    if name != "keras_dynamic_range":
        step, zero = 0.0024506608, 21  # of the output; LiteRT cuts off what its 8 bits do not reach
        ours = np.clip(ours, step * (-128 - zero), step * (127 - zero))
        limit = 2 * step  # measured: 1.5 steps
    assert np.abs(y).max() > 0.3
    assert np.abs(ours - y).max() <= limit


@pytest.mark.parametrize("name", ["keras_int8", "keras_dynamic_range"])
def test_integers_by_tensorflow_are_those_in_the_file(name: str) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    content = (FIXTURES / f"{name}.tflite").read_bytes()
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    graph, model = file.subgraphs[0], read(FIXTURES / f"{name}.tflite")

    def integers(number: int) -> Any:
        tensor = graph.tensors[number]
        return file.buffers[tensor.buffer].data.view(np.int8).reshape(tensor.shape)

    operators = [op for op in graph.operators if len(op.inputs) == 24]
    for layer, op in zip(model.layers, operators, strict=True):
        np.testing.assert_array_equal(layer.weight_ih.values, np.concatenate([integers(k) for k in op.inputs[1:5]]))
        np.testing.assert_array_equal(layer.weight_hh.values, np.concatenate([integers(k) for k in op.inputs[5:9]]))
    dense = next(op for op in graph.operators if len(op.inputs) == 3)
    np.testing.assert_array_equal(model.head[0].weight.values, integers(dense.inputs[1]))


def test_zero_points_of_dense_weights_are_subtracted(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edge_lstm.convert.originals.litert import run
    from tests.convert import tflite_lstm as files

    rng, path = np.random.default_rng(0), tmp_path / "model.tflite"
    new = files.Chain("integer").input((1, 1, 3), (1, -1, 3)).lstm(files.random_layer(rng, 3, 8))
    new.dense(rng.normal(size=(4, 8)).astype(np.float32), np.ones(4, np.float32), keep=True)
    operator = new.graph.operators[-1]
    weight, out = (new.graph.tensors[number].quantization for number in (operator.inputs[1], operator.outputs[0]))
    weight.zeroPoint, out.scale = [20], [1.5 * out.scale[0]]
    model = imported(new, path)
    np.testing.assert_array_equal(model.head[0].weight.values, new.constants[1][1][0].astype(int) - 20)
    x = rng.uniform(-3.9, 3.8, (STEPS, 3))
    original, ours = run(path, model, x)
    assert (np.abs(original - ours) <= bound(model, x, integer_rounding(new))).all()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"projection": 5, "peephole": True}, "drops peepholes past the projection"),
        ({"projection": 5, "projection_clip": 0.3}, "clips the integers around 0"),
        ({"activation": "RELU6"}, "computes TANH whatever"),
    ],
)
def test_what_litert_computes_otherwise_in_integers_is_refused(form: Any, words: str, tmp_path: Path) -> None:
    files = pytest.importorskip("tests.convert.tflite_lstm")
    new = files.Chain("integer").input((1, 1, 3), (1, -1, 3))
    new.lstm(files.random_layer(np.random.default_rng(0), 3, 8, **form))
    with pytest.raises(WeightsError, match=words):
        imported(new, tmp_path / "model.tflite")


def test_a_scaler_in_integers_is_read(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edge_lstm.convert.originals.litert import run
    from tests.convert import tflite_lstm as files

    path, rng = tmp_path / "model.tflite", np.random.default_rng(0)
    new = files.Chain("integer").input((1, 1, 3), (1, -1, 3))
    constant = new.graph.constant(np.array([10, 20, -30], np.int8), 0.015, 2)
    new.step("SUB", new.shape, constant, options=files.options("Sub")).lstm(files.random_layer(rng, 3, 8))
    model = imported(new, path)
    assert model.scaler is not None
    np.testing.assert_allclose(model.scaler.mean, [0.12, 0.27, -0.48], rtol=1e-6)
    x = rng.uniform(-3.2, 3.2, (STEPS, 3))
    original, ours = run(path, model, x)
    rounding = replace(integer_rounding(new), given=files.INPUT_SCALE)  # half a step of the input, half of the result
    limit = bound(replace(model, scaler=None), x - model.scaler.mean, rounding)
    assert (np.abs(original - ours) <= limit).all()
