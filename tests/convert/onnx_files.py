"""ONNX files of random architectures."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = [("Sigmoid",), ("Sigmoid",), ("HardSigmoid",), ("HardSigmoid", 0.25, 0.5), ("HardSigmoid", 0.3, 0.45)]
OTHERS = [
    ("Tanh",), ("Tanh",), ("Tanh",), ("Softsign",), ("Relu",), ("LeakyRelu",), ("LeakyRelu", 0.1),
    ("Elu",), ("Elu", 0.5), ("ScaledTanh", 0.9, 1.1), ("Softplus",), ("Affine", 0.4, 0.05), ("ThresholdedRelu", 0.0),
]  # fmt: skip
BOUNDED = [("Tanh",), ("Softsign",), ("ScaledTanh", 0.9, 1.1)]
HEADS = [
    "",
    "Relu",
    "Tanh",
    "Sigmoid",
    "HardSigmoid",
    "LeakyRelu",
    "Elu",
    "Softplus",
    "Softsign",
    "Clip",
    "Swish",
    "Softmax",
]


@dataclass
class Graph:
    """Nodes and initializers in the making."""

    rng: np.random.Generator
    nodes: list[Any] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    count: int = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def tensor(self, values: Any, stem: str = "t") -> str:
        name = self.name(stem)
        self.tensors[name] = np.asarray(values)
        return name

    def floats(self, *shape: int, size: float = 1.0) -> str:
        return self.tensor((self.rng.normal(size=shape) * size).astype(np.float32), "w")

    def node(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> Any:
        domain = attributes.pop("domain", "")
        names = [self.name(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=self.name("node"), domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def integers(self, rows: int, columns: int, direction: bool, size: float) -> str:
        """Return weights that are integers, dequantized row by row or as a whole."""
        kind = self.rng.choice(["int8", "uint8"])
        shape = (1, rows, columns) if direction else (rows, columns)
        limits = np.iinfo(kind)
        values = self.rng.integers(limits.min, limits.max + 1, shape).astype(kind)
        by_row = bool(self.rng.integers(2))
        scale = (self.rng.uniform(0.5, 1.0, rows if by_row else ()) * size / 64).astype(np.float32)
        middle = 128 if kind == "uint8" else 0
        zero = (middle + self.rng.integers(-3, 4, rows if by_row else ())).astype(kind)
        inputs = [self.tensor(values, "q"), self.tensor(scale), self.tensor(zero)]
        return (
            self.node("DequantizeLinear", inputs, axis=int(direction))
            if by_row
            else self.node("DequantizeLinear", inputs)
        )

    def model(self, output: str, axes: list[Any], opset: int = 21) -> onnx.ModelProto:
        self.nodes[-1].output[0] = output
        given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)]
        made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(
            self.nodes, "g", given, made, [numpy_helper.from_array(v, k) for k, v in self.tensors.items()]
        )
        sets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=10)


def lstm(graph: Graph, x: str, inputs: int, hidden: int, *, integers: bool = False, plain: float = 0.0) -> list[str]:
    """Add an LSTM layer of random kind, or a plain one with recurrent weights of a given size; return its outputs."""
    rng, small = graph.rng, plain or 0.5 / np.sqrt(hidden)
    weight = graph.integers if integers else None
    w = weight(4 * hidden, inputs, True, 0.5) if weight else graph.floats(1, 4 * hidden, inputs, size=0.5)
    r = weight(4 * hidden, hidden, True, small) if weight else graph.floats(1, 4 * hidden, hidden, size=small)
    names = [x, w, r, "", "", "", "", ""]
    attributes: dict[str, Any] = {"hidden_size": hidden}
    if plain or rng.random() < 0.7:
        names[3] = graph.floats(1, 8 * hidden, size=0.3)
    if not plain:
        _vary(graph, names, attributes, hidden)
    while not names[-1]:
        names.pop()
    return list(graph.node("LSTM", names, 3, **attributes))


def _vary(graph: Graph, names: list[str], attributes: dict[str, Any], hidden: int) -> None:
    state, peephole, clip, coupled, functions = (graph.rng.random(5) < 0.4).tolist()
    if state:
        names[5], names[6] = graph.floats(1, 1, hidden, size=0.5), graph.floats(1, 1, hidden)
    if peephole:
        names[7] = graph.floats(1, 3 * hidden, size=0.3)
    if clip:
        attributes["clip"] = float(graph.rng.choice([0.4, 1.5, 10.0]))
    if coupled:
        attributes["input_forget"] = 1
    if functions:
        attributes |= _activations(graph.rng, GATES[:4] if coupled else GATES)


def _activations(rng: np.random.Generator, gates: list[Any]) -> dict[str, Any]:
    # one of g and h is bounded, or the network might grow without end, as no one would train it to
    others = [OTHERS[rng.integers(len(OTHERS))], BOUNDED[rng.integers(len(BOUNDED))]]
    chosen: list[Any] = [gates[rng.integers(len(gates))], *(others if rng.integers(2) else others[::-1])]
    # all alphas are written out, as a short list would give the first one's to another
    defaults = {"HardSigmoid": (0.2, 0.5), "LeakyRelu": (0.01,), "Elu": (1.0,)}
    filled = [(*entry[:1], *(entry[1:] or defaults.get(entry[0], ()))) for entry in chosen]
    found: dict[str, Any] = {"activations": [str(entry[0]) for entry in filled]}
    for k, key in ((1, "activation_alpha"), (2, "activation_beta")):
        if values := [float(entry[k]) for entry in filled if len(entry) > k]:
            found[key] = values
    return found


def head(graph: Graph, y: str, inputs: int, rank: int, kind: str, integers: bool) -> str:
    """Add a dense layer and its activation."""
    outputs, rng = int(graph.rng.integers(1 + (kind == "Softmax"), 6)), graph.rng
    bias = graph.tensor((0.1 + np.abs(rng.normal(size=outputs)) * 0.3).astype(np.float32))
    if kind == "Gemm" or (rank == 2 and rng.random() < 0.6):
        transposed = integers or bool(rng.integers(2))
        if integers:
            weight = graph.integers(outputs, inputs, False, 0.5)
        else:
            weight = graph.floats(*((outputs, inputs) if transposed else (inputs, outputs)), size=0.5)
        y = graph.node(
            "Gemm",
            [y, weight, bias],
            transB=int(transposed),
            **({} if kind == "Gemm" else {"alpha": 0.75, "beta": 1.5}),
        )
    else:
        y = graph.node("MatMul", [y, graph.floats(inputs, outputs, size=0.5)])
        y = graph.node("Add", [y, bias] if rng.integers(2) else [bias, y])
    if kind == "Swish":
        return graph.node("Mul", [y, graph.node("Sigmoid", [y])])
    if kind == "Clip":
        return graph.node("Clip", [y, graph.tensor(np.float32(-0.3)), graph.tensor(np.float32(0.6))])
    return graph.node(kind, [y]) if kind not in ("", "Gemm") else y


def random_model(seed: int) -> onnx.ModelProto:
    """Return a file of a random architecture: x of (steps, 1, I) or (1, steps, I) in, steps open or 50."""
    graph = Graph(np.random.default_rng(seed))
    rng = graph.rng
    inputs, integers, batch_first = int(rng.integers(1, 7)), bool(rng.integers(2)), bool(rng.integers(2))
    steps: Any = 50 if rng.random() < 0.25 else "steps"
    form = str(rng.choice(["all", "gather", "slice", "state"]))
    y = "x"
    if rng.integers(2):
        y = graph.node("Sub", [y, graph.floats(inputs)])
        y = graph.node("Div", [y, graph.tensor(rng.uniform(0.5, 2.0, inputs).astype(np.float32))])
    if batch_first:
        y = graph.node("Transpose", [y], perm=[1, 0, 2])
    y, width = _layers(graph, y, inputs, integers, form)
    if form == "all" and batch_first:
        y = graph.node("Transpose", [y], perm=[1, 0, 2])
    kind = HEADS[seed % len(HEADS)]
    y = head(graph, y, width, 3 if form == "all" else 2, kind, integers) if seed % 7 else graph.node("Identity", [y])
    return graph.model("out", [1, steps, inputs] if batch_first else [steps, 1, inputs])


def _layers(graph: Graph, y: str, width: int, integers: bool, form: str) -> tuple[str, int]:
    """Add layers; return what leaves them, of all steps or the last, and its size."""
    layers = int(graph.rng.integers(1, 4))
    last = y
    for layer in range(layers):
        if layer:
            y = graph.node("Dropout", [y])
        hidden = int(graph.rng.integers(1, 25))
        y, last, _ = lstm(graph, y, width, hidden, integers=integers)
        width = hidden
        if layer < layers - 1 or form != "state":
            y = graph.node("Squeeze", [y, graph.tensor([1])])
    if form == "gather":
        y = graph.node("Gather", [y, graph.tensor(np.int64(-1))], axis=0)
    elif form == "slice":
        y = graph.node("Slice", [y, *(graph.tensor(np.array([v])) for v in (-1, 2**62, 0))])
    if form in ("slice", "state"):
        y = graph.node("Squeeze", [last if form == "state" else y, graph.tensor([0])])
    return y, width
