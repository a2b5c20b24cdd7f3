"""A whole ONNX file, and what can be wrong with it: a change, and part of the sentence that refuses it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.convert.onnx_files import Graph, head, lstm


def whole() -> Any:
    """Return a file with two layers, integers in the first one, and a head."""
    graph = Graph(np.random.default_rng(2))
    w, r = graph.integers(24, 3, True, 0.5), graph.integers(24, 6, True, 0.2)
    tensors = [
        w,
        r,
        graph.floats(1, 48, size=0.3),
        "",
        graph.floats(1, 1, 6),
        graph.floats(1, 1, 6),
        graph.floats(1, 18),
    ]
    out = graph.node("LSTM", ["x", *tensors], 3, hidden_size=6, clip=10.0, direction="forward")
    y = graph.node("Squeeze", [out[0], graph.tensor([1])])
    out = lstm(graph, y, 6, 5, plain=0.2)
    y = graph.node("Squeeze", [out[0], graph.tensor([1])])
    return graph.model(head(graph, y, 5, 3, "Tanh", False), ["steps", 1, 3])


def _node(proto: Any, kind: str, at: int = 0) -> Any:
    return [node for node in proto.graph.node if node.op_type == kind][at]


def _tensor(proto: Any, name: str) -> Any:
    return next(t for t in proto.graph.initializer if t.name == name)


def _weights(proto: Any) -> Any:
    """Return the second layer's W, of floats."""
    return _tensor(proto, _node(proto, "LSTM", 1).input[1])


def _set(tensor: Any, values: Any) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values), tensor.name))


def _attribute(node: Any, **given: Any) -> None:
    kept = [a for a in node.attribute if a.name not in given]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in given.items())])


def _changed(values: Any, at: int, to: float) -> np.ndarray:
    out = np.array(values)
    out.flat[at] = to
    return out


def _array(proto: Any) -> np.ndarray:
    return np.asarray(numpy_helper.to_array(_weights(proto)))


def _external(proto: Any) -> None:
    tensor = _weights(proto)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _bare_external(proto: Any) -> None:
    _weights(proto).external_data.add(key="location", value="../../secret")


def _dims(*dims: int) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        tensor = _weights(proto)
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return change


def _rename(proto: Any) -> None:
    _weights(proto).name = "other"


def _drop(proto: Any) -> None:
    proto.graph.initializer.remove(_weights(proto))


def _extra(proto: Any) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "extra"))


def _twice(proto: Any) -> None:
    proto.graph.initializer.append(_weights(proto))


def _swap_layers(proto: Any) -> None:
    a, b = _node(proto, "LSTM"), _node(proto, "LSTM", 1)
    a.input[1], b.input[1] = b.input[1], a.input[1]


def _swap_wr(proto: Any) -> None:
    node = _node(proto, "LSTM", 1)
    node.input[1], node.input[2] = node.input[2], node.input[1]


def _cycle(proto: Any) -> None:
    _node(proto, "LSTM").input[0] = _node(proto, "LSTM", 1).output[0]


def _reorder(proto: Any) -> None:
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _insert(kind: str, **attributes: Any) -> Callable[[Any], None]:
    """Put a node between the two layers."""

    def change(proto: Any) -> None:
        nodes = list(proto.graph.node)
        at = [k for k, node in enumerate(nodes) if node.op_type == "LSTM"][1]
        domain = attributes.get("domain", "")
        inner = {k: v for k, v in attributes.items() if k != "domain"}
        nodes.insert(
            at, helper.make_node(kind, [nodes[at].input[0]], ["between"], name="between", domain=domain, **inner)
        )
        nodes[at + 1].input[0] = "between"
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)

    return change


def _residual(proto: Any) -> None:
    nodes = list(proto.graph.node)
    at = [k for k, node in enumerate(nodes) if node.op_type == "LSTM"][1]
    nodes.insert(at, helper.make_node("Add", [nodes[at].input[0]] * 2, ["sum"], name="sum"))
    nodes[at + 1].input[0] = "sum"
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _input(proto: Any) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["steps", 1, 3]))


def _input_type(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _input_size(size: int, axis: int) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size

    return change


def _no_shape(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.ClearField("shape")


def _output(proto: Any) -> None:
    proto.graph.output[0].name = "nowhere"


def _two_outputs(proto: Any) -> None:
    name = next(node for node in proto.graph.node if node.op_type == "MatMul").output[0]
    proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _quantization(index: int, to: Any) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        _set(_tensor(proto, _node(proto, "DequantizeLinear").input[index]), to)

    return change


def _in_subgraph(proto: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    for _ in range(12):
        outer = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=body)], "outer", [], [])
        body = outer
    proto.graph.node.append(helper.make_node("If", ["x"], ["never"], then_branch=body))


def _reference(proto: Any) -> None:
    _node(proto, "LSTM").attribute[0].ref_attr_name = "size"


def _function(proto: Any) -> None:
    sets = [helper.make_opsetid("", 21)]
    proto.functions.append(
        helper.make_function("mine", "f", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], sets)
    )


def _opset(version: int) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        proto.opset_import[0].version = version

    return change


def _huge_fill(proto: Any) -> None:
    """Make an initial state of 2**60 zeros."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2**30, 2**30, 5]), "shape"))
    proto.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["zeros"]))
    node = _node(proto, "LSTM", 1)
    node.input.extend(["", "zeros", "zeros"])


def _tiles(proto: Any) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2**20, 2**20, 1]), "times"))
    node = _node(proto, "LSTM", 1)
    proto.graph.node.insert(0, helper.make_node("Tile", [node.input[3], "times"], ["tiled"]))
    node.input[3] = "tiled"


def _segments(proto: Any) -> None:
    _weights(proto).segment.begin = 0


def _text(proto: Any) -> None:
    tensor = _weights(proto)
    tensor.Clear()
    tensor.name, tensor.data_type = _node(proto, "LSTM", 1).input[1], TensorProto.STRING
    tensor.dims.append(1)
    tensor.string_data.append(b"__import__('os').system('touch /tmp/owned')")


def _both(proto: Any) -> None:
    _weights(proto).float_data.extend([0.0] * 120)


def _sparse(proto: Any) -> None:
    proto.graph.sparse_initializer.add()


def _lengths(proto: Any) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.array([7], np.int32), "lengths"))
    _node(proto, "LSTM").input[4] = "lengths"


def _duplicate_attribute(proto: Any) -> None:
    _node(proto, "LSTM").attribute.append(helper.make_attribute("hidden_size", 6))


def _wrong_attribute(proto: Any) -> None:
    node = _node(proto, "LSTM")
    _attribute(node, hidden_size="six")


def _undefined_attribute(proto: Any) -> None:
    _node(proto, "LSTM").attribute[0].type = AttributeProto.UNDEFINED


def _lstm(**attributes: Any) -> Callable[[Any], None]:
    return lambda proto: _attribute(_node(proto, "LSTM"), **attributes)


def _values(at: int, to: float) -> Callable[[Any], None]:
    return lambda proto: _set(_weights(proto), _changed(_array(proto), at, to))


CASES: dict[str, tuple[Callable[[Any], None], str]] = {
    "external": (_external, "another file"),
    "external, with data": (_bare_external, "another file"),
    "huge shape": (_dims(2**40, 2**40), "has shape"),
    "large shape": (_dims(2**13, 2**12), "can't be read"),
    "negative shape": (_dims(-1, 20, 6), "has shape"),
    "empty shape": (_dims(1, 0, 6), "can't be read"),
    "many axes": (_dims(*[1] * 40), "has shape"),
    "flat": (_dims(120), "expected 3 axes"),
    "other shape": (_dims(1, 6, 20), "rows of W"),
    "one direction too many": (_dims(2, 10, 6), "expected 3 axes, the first of one direction"),
    "nan": (_values(0, np.nan), "not finite"),
    "inf": (_values(5, np.inf), "not finite"),
    "large": (_values(5, 1e30), "above 1e15"),
    "renamed": (_rename, "nothing before it makes"),
    "missing": (_drop, "nothing before it makes"),
    "extra": (_extra, "used by nothing"),
    "twice": (_twice, "two things"),
    "strings": (_text, "as text"),
    "both kinds of data": (_both, "twice"),
    "segments": (_segments, "segments"),
    "sparse": (_sparse, "sparse"),
    "float8": (lambda p: setattr(_weights(p), "data_type", TensorProto.FLOAT8E4M3FN), "can't be read"),
    "complex": (lambda p: setattr(_weights(p), "data_type", TensorProto.COMPLEX64), "of type|can't be read"),
    "no type": (lambda p: setattr(_weights(p), "data_type", 0), "can't be read"),
    "type unknown": (lambda p: setattr(_weights(p), "data_type", 99), "can't be read"),
    "double for float": (lambda p: setattr(_weights(p), "data_type", TensorProto.DOUBLE), "can't be read"),
    "swapped layers": (_swap_layers, "rows of W"),
    "swapped W and R": (_swap_wr, "rows of W|expected 4 H|takes"),
    "cycle": (_cycle, "nothing before it makes"),
    "reordered": (_reorder, "nothing before it makes"),
    "GRU between": (_insert("GRU", hidden_size=6), "another kind of recurrent cell"),
    "Conv between": (_insert("Conv"), "several time steps"),
    "Loop between": (_insert("Loop"), "control flow"),
    "ReverseSequence between": (_insert("ReverseSequence"), "end of the sequence"),
    "Attention between": (_insert("Attention"), "several time steps"),
    "unknown between": (_insert("Frobnicate"), "'between' is of a kind"),
    "unknown domain": (_insert("LSTM", domain="evil"), "evil"),
    "Relu between": (_insert("Relu"), "between LSTM layers"),
    "Softmax of a size between": (_insert("Softmax", axis=7), "axis 7"),
    "ReduceMean between": (_insert("ReduceMean", axes=[0]), "several time steps"),
    "transposed between": (_insert("Transpose", perm=[1, 0, 2]), "another axis than the layer before"),
    "perm": (_insert("Transpose", perm=[0, 0, 2]), "perm"),
    "unknown attribute": (_insert("Identity", colour="red"), "'colour'"),
    "residual": (_residual, "two branches"),
    "input": (_input, "used by nothing"),
    "input of text": (_input_type, "not a tensor of floats"),
    "input of no shape": (_no_shape, "not a tensor of floats"),
    "too many inputs": (_input_size(2**40, 2), "gets"),
    "other inputs": (_input_size(7, 2), "gets 7"),
    "no inputs": (_input_size(-3, 2), "-3 values"),
    "window of -1": (_input_size(-1, 0), "length -1"),
    "window too long": (_input_size(2**50, 0), "length"),
    "no output": (_output, "nowhere"),
    "two outputs": (_two_outputs, "expected one"),
    "bidirectional": (_lstm(direction="bidirectional"), "bidirectional"),
    "reverse": (_lstm(direction="reverse"), "backwards"),
    "sideways": (_lstm(direction="sideways"), "sideways"),
    "hidden size": (_lstm(hidden_size=5), "hidden_size 5"),
    "hidden size is text": (_wrong_attribute, "not of kind INT"),
    "attribute of no type": (_undefined_attribute, "not of kind"),
    "attribute twice": (_duplicate_attribute, "twice"),
    "attribute by reference": (_reference, "not of kind"),
    "negative clip": (_lstm(clip=-1.0), "clip"),
    "clip nan": (_lstm(clip=float("nan")), "clip"),
    "layout": (_lstm(layout=3), "layout"),
    "two activations": (_lstm(activations=["Sigmoid", "Tanh"]), "expected 3"),
    "unknown activation": (_lstm(activations=["Sigmoid", "Tanh", "Eval"]), "'eval'"),
    "thresholded": (_lstm(activations=["Sigmoid", "ThresholdedRelu", "Tanh"]), "thresholdedrelu"),
    "affine without beta": (_lstm(activations=["Sigmoid", "Affine", "Tanh"]), "no defaults"),
    "alphas left over": (_lstm(activation_alpha=[1.0]), "more than its activations"),
    "coupled HardSigmoid": (
        _lstm(activations=["HardSigmoid", "Tanh", "Tanh"], activation_beta=[0.4], input_forget=1), "couples"
    ),
    "coupled Relu": (_lstm(activations=["Relu", "Tanh", "Tanh"], input_forget=1), "couples"),
    "sequence_lens": (_lengths, "sequence_lens"),
    "scale of zero": (_quantization(1, np.float32(0)), "not positive"),
    "scale of nan": (_quantization(1, np.float32(np.nan)), "not positive"),
    "scales too many": (_quantization(1, np.ones(7, np.float32)), "scale or zero point"),
    "zero points too many": (_quantization(2, np.zeros(7, np.int8)), "scale or zero point"),
    "float weights dequantized": (_quantization(0, np.zeros((1, 24, 3), np.float32)), "expected integers"),
    "subgraphs": (_in_subgraph, "deep"),
    "functions": (_function, "functions"),
    "operator set 0": (_opset(0), "operator set"),
    "operator set 999": (_opset(999), "operator set"),
    "no operator set": (lambda p: p.ClearField("opset_import"), "does not import"),
    "no graph": (lambda p: p.ClearField("graph"), "expected one"),
    "no nodes": (lambda p: p.graph.ClearField("node"), "not made by its layers|used by nothing|nowhere"),
    "huge constant": (_huge_fill, "constant of shape|initial state"),
    "repeated constant": (_tiles, "repeats"),
}  # fmt: skip
