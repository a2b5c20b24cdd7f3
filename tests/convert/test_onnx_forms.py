"""The same network in other forms: layouts, precisions, operator sets, states, scalers, heads; what PyTorch writes."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edge_lstm.convert import mathematics  # noqa: E402
from edge_lstm.convert.formats.onnx.reader import read  # noqa: E402
from edge_lstm.convert.model import Model  # noqa: E402
from edge_lstm.convert.originals.onnx import run  # noqa: E402
from edge_lstm.errors import WeightsError  # noqa: E402
from tests.convert.onnx_files import Graph, lstm  # noqa: E402

X = np.random.default_rng(9).normal(size=(300, 3)).astype(np.float32).astype(np.float64)


def _written(path: Path, proto: Any) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def _agrees(path: Path, proto: Any) -> Model:
    """Return the model, which computes what ONNX Runtime does."""
    model = read(_written(path, proto))
    theirs, ours = run(path, model, X)
    assert np.ptp(theirs) > 1e-3
    assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(theirs).max()
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


@pytest.fixture
def graph() -> Graph:
    return Graph(np.random.default_rng(8))


def _network(layout: int, graph: Graph) -> Any:
    """Return the same network in either layout."""
    tensors = [graph.floats(1, 20, 3), graph.floats(1, 20, 5, size=0.3), graph.floats(1, 40), ""]
    tensors += [graph.floats(1, 1, 5), graph.floats(1, 1, 5)]
    out = graph.node("LSTM", ["x", *tensors], 3, hidden_size=5, **({"layout": 1} if layout else {}))
    y = graph.node("Squeeze", [out[0], graph.tensor([2 if layout else 1])])
    return graph.model(y, [1, "steps", 3] if layout else ["steps", 1, 3])


def test_layout_1_is_the_same_network(path: Path) -> None:
    """ONNX Runtime refuses layout 1, so its twin of layout 0 stands in."""
    batchwise = read(_written(path, _network(1, Graph(np.random.default_rng(3)))))
    twin = _agrees(path, _network(0, Graph(np.random.default_rng(3))))
    np.testing.assert_array_equal(mathematics.run(batchwise, X), mathematics.run(twin, X))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_precisions(kind: int, graph: Graph, path: Path) -> None:
    out = lstm(graph, "x", 3, 5, plain=0.2)
    proto = graph.model(graph.node("Squeeze", [out[0], graph.tensor([1])]), ["steps", 1, 3])
    expected = {}
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(helper.make_tensor(tensor.name, kind, values.shape, values.ravel().astype(float)))
            expected[tensor.name] = _rounded(values, kind)
    model = read(_written(path, proto))
    for name, matrix in zip(
        proto.graph.node[0].input[1:3], (model.layers[0].weight_ih, model.layers[0].weight_hh), strict=True
    ):
        i, o, f, g = np.split(expected[name][0], 4)
        np.testing.assert_array_equal(matrix.real, np.concatenate([i, f, g, o]))


def _rounded(values: np.ndarray, kind: int) -> np.ndarray:
    if kind == TensorProto.BFLOAT16:  # to even, of the upper 16 bits
        bits = values.view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return bits.astype(np.uint32).view(np.float32).astype(np.float64)
    return values.astype(np.float16 if kind == TensorProto.FLOAT16 else np.float64).astype(np.float64)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 14, 17, 20, 22])
def test_operator_sets(opset: int, graph: Graph, path: Path) -> None:
    out = lstm(graph, "x", 3, 5, plain=0.2)
    if opset < 13:
        y = graph.node("Squeeze", [out[0]], axes=[1])
        y = graph.node("Slice", [y], starts=[-1], ends=[2**40], axes=[0]) if opset < 10 else y
        y = graph.node("Squeeze", [y], axes=[0]) if opset < 10 else graph.node("Identity", [y])
    else:
        y = graph.node("Squeeze", [out[0], graph.tensor([1])])
    y = graph.node("MatMul", [y, graph.floats(5, 2)])
    _agrees(path, graph.model(y, ["steps", 1, 3], opset))


def test_constants_as_nodes_and_inputs(graph: Graph, path: Path) -> None:
    out = lstm(graph, "x", 3, 5, plain=0.2)
    proto = graph.model(graph.node("Squeeze", [out[0], graph.tensor([1])]), ["steps", 1, 3])
    first, second = proto.graph.initializer[0], proto.graph.initializer[1]
    proto.graph.input.append(helper.make_tensor_value_info(second.name, TensorProto.FLOAT, list(second.dims)))
    node = helper.make_node("Constant", [], [first.name], value=first)
    proto.graph.initializer.remove(first)
    proto.graph.node.insert(0, node)
    _agrees(path, proto)


def test_time_distributed_head(graph: Graph, path: Path) -> None:
    """Rows of all steps flattened, multiplied, and laid out again by computed shapes, as Keras' TimeDistributed."""
    out = lstm(graph, graph.node("Transpose", ["x"], perm=[1, 0, 2]), 3, 5, plain=0.2)
    y = graph.node("Transpose", [graph.node("Squeeze", [out[0], graph.tensor([1])])], perm=[1, 0, 2])
    lengths = graph.node("Slice", [graph.node("Shape", [y]), *(graph.tensor([v]) for v in (0, 2))])
    flat = graph.node("Reshape", [y, graph.tensor([-1, 5])])
    flat = graph.node("Gemm", [flat, graph.floats(5, 2), graph.floats(2)])
    shape = graph.node("Concat", [lengths, graph.tensor([2])], axis=0)
    y = graph.node("Reshape", [flat, shape])
    model = _agrees(path, graph.model(y, ["batch", "steps", 3]))
    assert model.window == 0


def test_full_sequence_lens_and_expanded_states(graph: Graph, path: Path) -> None:
    """As tf2onnx computes them from the input's shape."""
    shape = graph.node("Shape", ["x"])
    steps = graph.node("Gather", [shape, graph.tensor([0])])
    batch = graph.node("Gather", [shape, graph.tensor([1])])
    lens = graph.node("Cast", [graph.node("Tile", [steps, batch])], to=TensorProto.INT32)
    sizes = graph.node("Concat", [graph.tensor([1]), batch, graph.tensor([5])], axis=0)
    h = graph.node("Expand", [graph.tensor(np.float32(0.25)), sizes])
    c = graph.node("ConstantOfShape", [sizes], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5]))
    tensors = [graph.floats(1, 20, 3), graph.floats(1, 20, 5, size=0.3), graph.floats(1, 40)]
    out = graph.node("LSTM", ["x", *tensors, lens, h, c], 3, hidden_size=5)
    model = _agrees(path, graph.model(graph.node("Squeeze", [out[1], graph.tensor([0])]), ["steps", "batch", 3]))
    assert model.layers[0].initial is not None
    np.testing.assert_array_equal(model.layers[0].initial[0], np.full(5, 0.25))
    np.testing.assert_array_equal(model.layers[0].initial[1], np.full(5, 0.5))


def test_scaler_of_ai_onnx_ml(graph: Graph, path: Path) -> None:
    rows = graph.node("Scaler", ["x"], offset=[1.0, 2.0, 3.0], scale=[0.5, 0.25, 2.0], domain="ai.onnx.ml")
    out = lstm(graph, graph.node("Unsqueeze", [rows, graph.tensor([1])]), 3, 5, plain=0.2)
    proto = graph.model(graph.node("Squeeze", [out[0], graph.tensor([1])]), ["steps", 3])
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model = _agrees(path, proto)
    assert model.scaler is not None
    np.testing.assert_array_equal(model.scaler.mean, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(model.scaler.scale, [2.0, 4.0, 0.5])


def test_scaler_as_mul_and_add(graph: Graph, path: Path) -> None:
    y = graph.node(
        "Add", [graph.tensor(np.float32(0.5)), graph.node("Mul", ["x", graph.tensor(np.float32([2, 4, 8]))])]
    )
    out = lstm(graph, y, 3, 5, plain=0.2)
    model = _agrees(path, graph.model(graph.node("Squeeze", [out[0], graph.tensor([1])]), ["steps", 1, 3]))
    assert model.scaler is not None
    np.testing.assert_array_equal(model.scaler.scale, [0.5, 0.25, 0.125])
    np.testing.assert_array_equal(model.scaler.mean, [-0.25, -0.125, -0.0625])


def test_head_of_many_parts(graph: Graph, path: Path) -> None:
    out = lstm(graph, "x", 3, 5, plain=0.2)
    y = graph.node("Squeeze", [out[1], graph.tensor([0])])
    positive = [graph.tensor(graph.rng.uniform(0.5, 1.0, 5).astype(np.float32)) for _ in range(4)]
    y = graph.node("BatchNormalization", [y, *positive])
    y = graph.node("Relu", [graph.node("Gemm", [y, graph.floats(5, 4), graph.floats(4)])])
    y = graph.node("MatMul", [graph.node("Dropout", [y]), graph.floats(4, 3)])
    y = graph.node("PRelu", [graph.node("Sub", [graph.floats(3), y]), graph.tensor(np.float32(0.2))])
    y = graph.node("Mul", [graph.node("Selu", [graph.node("MatMul", [y, graph.floats(3, 2)])]), graph.floats(2)])
    model = _agrees(path, graph.model(y, ["steps", 1, 3]))
    assert [dense.activation.kind for dense in model.head] == ["clipped", "clipped", "leaky_relu", "elu", "clipped"]


def test_carried_state(graph: Graph, path: Path) -> None:
    tensors = [graph.floats(1, 20, 3), graph.floats(1, 20, 5, size=0.3), graph.floats(1, 40)]
    out = graph.node("LSTM", ["x", *tensors, "", "h", "c"], 3, hidden_size=5)
    proto = graph.model(graph.node("Squeeze", [out[0], graph.tensor([1])]), [1, 1, 3])
    for name in ("h", "c"):
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 5]))
    for name in out[1:]:
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 5]))
    model = _agrees(path, proto)
    assert model.stateful
    assert model.window == 0
    del proto.graph.node[0].input[6]
    with pytest.raises(WeightsError, match="one of its two states"):
        read(_written(path, proto))


def test_clip_is_noted(graph: Graph, path: Path) -> None:
    tensors = [graph.floats(1, 20, 3), graph.floats(1, 20, 5)]
    out = graph.node("LSTM", ["x", *tensors], 3, hidden_size=5, clip=0.5)
    model = _agrees(path, graph.model(graph.node("Squeeze", [out[0], graph.tensor([1])]), ["steps", 1, 3]))
    assert "clip 0.5 bounds what f and g take, not what h takes" in model.notes[0]


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("form", ["steps", "last", "state", "carried", "steps first"])
@pytest.mark.torch
def test_pytorch(form: str, dynamo: bool, path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    module, given = _module(torch, form)
    _export(torch, module, given, path, dynamo, external_data=False)
    model = read(path)
    assert model.window == (0 if form == "carried" else 16)
    assert model.stateful == (form == "carried")
    theirs, ours = run(path, model, X)
    assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(theirs).max()
    inputs = torch.tensor(X[:16], dtype=torch.float64)
    inputs = inputs[:, None] if form == "steps first" else inputs[None]
    out = module.double()(inputs, *(tensor.double() for tensor in given[1:]))
    direct = (out[0] if form == "carried" else out).detach().numpy().reshape(-1, 2)
    np.testing.assert_allclose(mathematics.run(model, X[:16])[-len(direct) :], direct, rtol=0, atol=1e-12)


def _module(torch: Any, form: str) -> tuple[Any, tuple[Any, ...]]:
    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(3, 8, 2, batch_first=form != "steps first", dropout=0.1)
            self.linear = torch.nn.Linear(8, 2)

        def forward(self, x: Any, *state: Any) -> Any:
            y, (h, c) = self.lstm(x, state or None)
            if form == "carried":
                return self.linear(y), h, c
            return self.linear(y[:, -1] if form == "last" else h[-1] if form == "state" else y)

    torch.manual_seed(1)
    x = torch.zeros(16, 1, 3) if form == "steps first" else torch.zeros(1, 16, 3)
    state = (torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)) if form == "carried" else ()
    return Net().eval(), (x, *state)


def _export(torch: Any, module: Any, given: Any, path: Path, dynamo: bool, **options: Any) -> None:
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own
        torch.onnx.export(module, given, path, dynamo=dynamo, verbose=False, **(options if dynamo else {}))


@pytest.mark.torch
def test_pytorch_refused(path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    module, given = _module(torch, "last")
    _export(torch, module, given, path, True)  # weights beside the file, which is the default
    with pytest.raises(WeightsError, match="another file, which is not followed: save it with the weights inside"):
        read(path)
    for module in (torch.nn.LSTM(3, 8, proj_size=4, batch_first=True), torch.nn.LSTM(3, 8, bidirectional=True)):
        _export(torch, module.eval(), (torch.zeros(1, 16, 3),), path, True, external_data=False)
        with pytest.raises(WeightsError, match=r"projection|bidirectional"):
            read(path)
