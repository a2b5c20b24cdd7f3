"""Weights that are integers in the file: the same ones arrive, and only what the runtime rounds tells outputs apart."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edge_lstm.convert import mathematics  # noqa: E402
from edge_lstm.convert.formats.onnx.reader import read  # noqa: E402
from edge_lstm.convert.model import Lstm, Model  # noqa: E402
from edge_lstm.convert.originals.onnx import run  # noqa: E402
from tests.convert.onnx_files import Graph, head, lstm, random_model  # noqa: E402

OURS = [0, 2, 3, 1]  # of ONNX's blocks i, o, f, c
ROUNDS = 1.0 / 510.0  # half a step of 8 bits, of the range of what is rounded


def _source(seed: int, path: Path, gemm: bool = False, recurrent: float = 0.03) -> None:
    graph = Graph(np.random.default_rng(seed))
    out = lstm(graph, "x", 4, 12, plain=recurrent)
    y = graph.node("Squeeze", [out[0], graph.tensor([1])])
    if gemm:
        y = graph.node("Squeeze", [y, graph.tensor([1])])
    y = head(graph, y, 12, 2 if gemm else 3, "Gemm" if gemm else "", False)
    path.write_bytes(graph.model(y, ["steps", 1, 4]).SerializeToString())


def _dynamic(path: Path, per_channel: bool, kind: str, reduce_range: bool) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)
    made = path.with_suffix(".quantized.onnx")
    quantize_dynamic(path, made, per_channel=per_channel, reduce_range=reduce_range, weight_type=QuantType[kind])
    return made


def _tensors(path: Path) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def _rows(values: np.ndarray) -> np.ndarray:
    """Return ONNX's rows i, o, f, c in our order."""
    return np.concatenate([np.split(values, 4)[k] for k in OURS])


@pytest.mark.parametrize("reduce_range", [False, True])
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_quantization(per_channel: bool, kind: str, reduce_range: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    _source(3, path)
    path = _dynamic(path, per_channel, kind, reduce_range)
    model, tensors = read(path), _tensors(path)
    _same_integers(model, onnx.load(path), tensors)
    x = np.random.default_rng(3).normal(size=(1000, 4)).astype(np.float32).astype(np.float64)
    theirs, ours = run(path, model, x)
    bound = _bound(model, x)
    error = np.abs(theirs - ours)
    assert error.max() > 1e-4  # the runtime does round
    assert (error <= bound + 1e-5).all()
    assert bound.max() < 0.35 * np.ptp(ours)


def _same_integers(model: Model, proto: Any, tensors: dict[str, np.ndarray]) -> None:
    (node,) = [n for n in proto.graph.node if n.op_type == "DynamicQuantizeLSTM"]
    for matrix, at, scales in ((model.layers[0].weight_ih, 1, 8), (model.layers[0].weight_hh, 2, 10)):
        values, scale, zero = (tensors[node.input[k]] for k in (at, scales, scales + 1))
        wide = values[0].T.astype(int) - np.broadcast_to(zero.reshape(-1, 1), values[0].T.shape).astype(int)
        np.testing.assert_array_equal(matrix.values, _rows(wide))
        assert matrix.is_integer
        scale = np.broadcast_to(scale.reshape(-1), 48)
        np.testing.assert_array_equal(matrix.scale, _rows(scale.astype(np.float64)))
    (node,) = [n for n in proto.graph.node if n.op_type == "MatMulInteger"]
    zero = tensors[node.input[3]].reshape(-1).astype(int)
    np.testing.assert_array_equal(model.head[0].weight.values, (tensors[node.input[1]].astype(int) - zero).T)
    assert model.head[0].weight.is_integer


def _bound(model: Model, x: np.ndarray) -> np.ndarray:
    """Return how far rounding to 8 bits can carry each output, (n, O), whatever its sign at each place.

    The runtime rounds all inputs x of a call by one step, each r by a step of its own before the next row, and all r by
    one step before the head. Sigmoid changes by at most 1/4 of what it takes, tanh by 1; products by the product rule.
    """
    layer: Lstm = model.layers[0]
    w, u, (head,) = np.abs(layer.weight_ih.real), np.abs(layer.weight_hh.real), model.head
    state = mathematics.fresh(model)
    r, c = state.r[0], state.c[0]
    off_r, off_c = np.zeros(12), np.zeros(12)
    every, off = [], []
    step_x = (max(x.max(), 0.0) - min(x.min(), 0.0)) * ROUNDS
    for row in x:
        pre = (layer.weight_ih.real @ row + layer.weight_hh.real @ r + layer.bias).reshape(4, -1)
        step_r = (max((r + off_r).max(), 0.0) - min((r - off_r).min(), 0.0)) * ROUNDS
        change = (w.sum(1) * step_x + u @ (off_r + step_r)).reshape(4, -1)
        i, f, o = (0.5 + 0.5 * np.tanh(0.5 * pre[k]) for k in (0, 1, 3))
        g, off_i, off_f, off_g, off_o = np.tanh(pre[2]), change[0] / 4, change[1] / 4, change[2], change[3] / 4
        off_c = (
            np.minimum(f + off_f, 1.0) * off_c
            + np.abs(c) * off_f
            + np.minimum(i + off_i, 1.0) * off_g
            + np.abs(g) * off_i
        )
        c = f * c + i * g
        r = o * np.tanh(c)
        off_r = np.minimum(o + off_o, 1.0) * off_c + np.abs(np.tanh(c)) * off_o
        every.append(r)
        off.append(off_r)
    y, e = np.array(every), np.array(off)
    step_y = (max((y + e).max(), 0.0) - min((y - e).min(), 0.0)) * ROUNDS
    return (e + step_y) @ np.abs(head.weight.real).T


def _static(path: Path, made: Path, form: str, per_channel: bool) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Rows(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [np.random.default_rng(5).normal(size=(1000, 1, 4)).astype(np.float32)]

        def get_next(self) -> Any:
            return {"x": self.left.pop()} if self.left else None

    logging.disable(logging.WARNING)
    quantize_static(path, made, Rows(), quant_format=QuantFormat[form], per_channel=per_channel)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_static_quantization(form: str, per_channel: bool, tmp_path: Path) -> None:
    """ONNX Runtime's static quantization leaves LSTM layers in floats and takes the head."""
    path, made = tmp_path / "m.onnx", tmp_path / "q.onnx"
    _source(1, path, gemm=True)
    _static(path, made, form, per_channel)
    model, tensors = read(made), _tensors(made)
    (integers,) = [v for k, v in tensors.items() if v.dtype == np.int8 and v.ndim == 2]
    head = model.head[0].weight
    assert head.is_integer
    np.testing.assert_array_equal(head.values, integers.T if len(integers) == 12 else integers)
    x = np.random.default_rng(5).normal(size=(1000, 4)).astype(np.float32).astype(np.float64)
    theirs, ours = run(made, model, x)
    steps = _steps(onnx.load(made), tensors)
    # half a step of the head's input through its weights, half a step of each of what follows, of these very rows
    bound = steps[0] / 2 * np.abs(head.real).sum(1) + sum(steps[1:]) / 2 + 1e-5
    error = np.abs(theirs - ours)
    assert error.max() > 1e-4
    assert (error <= bound).all()
    assert bound.max() < 0.2 * np.ptp(ours)


def _steps(proto: Any, tensors: dict[str, np.ndarray]) -> list[float]:
    """Return the steps that activations are rounded by, in order."""
    found = []
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            found.append(float(tensors[node.input[1]]))
        if node.op_type in ("QLinearMatMul", "QLinearAdd", "QGemm"):
            found.append(float(tensors[node.input[6 if node.op_type != "QGemm" else 7]]))
    return found


@pytest.mark.parametrize("seed", [seed for seed in range(48) if seed != 5])
def test_dequantized_weights_are_the_same_integers(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    proto = random_model(seed)
    path.write_bytes(proto.SerializeToString())
    model = read(path)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    made = {node.output[0]: node.input for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in proto.graph.node if node.op_type == "LSTM"]
    for layer, node in zip(model.layers, layers, strict=True):
        coupled = any(a.name == "input_forget" and a.i for a in node.attribute)
        for matrix, name in ((layer.weight_ih, node.input[1]), (layer.weight_hh, node.input[2])):
            assert matrix.is_integer == (name in made)
            if name not in made:
                continue
            values, scale, zero = (tensors[part] for part in made[name])
            wide = values[0].astype(int) - np.broadcast_to(zero.reshape(-1, 1), values[0].shape).astype(int)
            expected = np.split(_rows(wide), 4)
            scales = np.split(_rows(np.broadcast_to(scale.reshape(-1), len(wide)).astype(np.float64)), 4)
            if coupled:
                expected[1], scales[1] = -expected[0], scales[0]
            np.testing.assert_array_equal(matrix.values, np.concatenate(expected))
            np.testing.assert_array_equal(matrix.scale, np.concatenate(scales))


@pytest.mark.parametrize("recurrent", [0.03, 0.15, 0.3])
def test_rounding_is_all_that_the_runtime_does_otherwise(recurrent: float, tmp_path: Path) -> None:
    """Round as DynamicQuantizeLSTM and DynamicQuantizeLinear do, in float64: what is left is single precision."""
    path = tmp_path / "m.onnx"
    _source(6, path, recurrent=recurrent)
    path = _dynamic(path, True, "QInt8", False)
    model = read(path)
    x = np.random.default_rng(6).normal(size=(1000, 4)).astype(np.float32).astype(np.float64)
    theirs, ours = run(path, model, x)
    layer, (head,) = model.layers[0], model.head
    rounded, r, c, every = _rounded(x), np.zeros(12), np.zeros(12), []
    for row in rounded:
        r, c = mathematics.cell(layer, row, _rounded(r), c)
        every.append(r)
    emulated = _rounded(np.array(every)) @ head.weight.real.T + head.bias
    # a value within 1e-7 of the middle of two steps may go the other way: those rows are few
    assert np.median(np.abs(theirs - emulated)) < 1e-6
    assert np.median(np.abs(theirs - ours)) > 1e-4


def _rounded(x: np.ndarray) -> np.ndarray:
    low, high = np.float32(min(x.min(), 0.0)), np.float32(max(x.max(), 0.0))
    if high == low:
        return x
    scale = np.float32((high - low) / np.float32(255))
    zero = np.rint(np.clip(-low / scale, 0, 255))
    steps = np.clip(np.rint(x.astype(np.float32) / scale) + zero, 0, 255)
    return np.asarray((steps - zero) * np.float64(scale))


@pytest.mark.parametrize("kind", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QLinearMatMul"])
def test_quantized_heads(kind: str, tmp_path: Path) -> None:
    """What ONNX Runtime's own optimizer writes, weights of uint8 and a scale per output."""
    graph = Graph(np.random.default_rng(11))
    out = lstm(graph, "x", 4, 12, plain=0.2)
    y = graph.node("Squeeze", [graph.node("Squeeze", [out[0], graph.tensor([1])]), graph.tensor([1])])
    values = graph.rng.integers(0, 256, (12, 3)).astype(np.uint8)
    by_output = kind != "QLinearMatMul"
    scale = np.float32([0.01, 0.02, 0.005]) if by_output else np.float32(0.01)
    zero = np.uint8([120, 130, 128]) if by_output else np.uint8(128)
    weight, scales, zeros = graph.tensor(values), graph.tensor(scale), graph.tensor(zero)
    if kind == "DynamicQuantizeMatMul":
        y = graph.node(kind, [y, weight, scales, zeros, graph.floats(3)], domain="com.microsoft")
    elif kind == "MatMulIntegerToFloat":
        q = graph.node("DynamicQuantizeLinear", [y], 3)
        y = graph.node(kind, [q[0], weight, q[1], scales, q[2], zeros, graph.floats(3)], domain="com.microsoft")
    else:
        grid = [graph.tensor(np.float32(1 / 100)), graph.tensor(np.uint8(128))]
        coarse = [graph.tensor(np.float32(1 / 20)), graph.tensor(np.uint8(128))]
        y = graph.node("QuantizeLinear", [y, *grid])
        y = graph.node("QLinearMatMul", [y, *grid, weight, scales, zeros, *coarse])
        y = graph.node("DequantizeLinear", [y, *coarse])
    path = tmp_path / "m.onnx"
    path.write_bytes(graph.model(y, ["steps", 1, 4]).SerializeToString())
    model = read(path)
    np.testing.assert_array_equal(model.head[0].weight.values, (values.astype(int) - zero.astype(int)).T)
    np.testing.assert_array_equal(model.head[0].weight.scale, np.broadcast_to(scale.astype(np.float64), 3))
    x = np.random.default_rng(5).normal(size=(1000, 4)).astype(np.float32).astype(np.float64)
    theirs, ours = run(path, model, x)
    every = mathematics.run(Model("layers alone", model.layers), x)
    step = 1 / 100 if kind == "QLinearMatMul" else (max(every.max(), 0.0) - min(every.min(), 0.0)) / 255
    bound = step / 2 * np.abs(model.head[0].weight.real).sum(1) + (1 / 40 if kind == "QLinearMatMul" else 0.0) + 1e-4
    assert np.abs(theirs - ours).max() > 1e-4
    assert (np.abs(theirs - ours) <= bound).all()
    assert bound.max() < 0.2 * np.ptp(ours)
