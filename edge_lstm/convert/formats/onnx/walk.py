"""From a graph's inputs to its output, node by node."""

from dataclasses import dataclass, field

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, defs

from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.operators import OPERATORS, OUTPUTS, REASONS, Handler
from edge_lstm.convert.formats.onnx.values import (
    FEATURES,
    STAND_INS,
    Atom,
    Axis,
    Carried,
    Constant,
    Parts,
    Stream,
    Value,
    chain_of,
    features_axis,
)
from edge_lstm.convert.formats.onnx.wire import array
from edge_lstm.errors import WeightsError

FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
LSTMS = ("LSTM", "DynamicQuantizeLSTM")


@dataclass
class Walk:
    """What a graph does.

    Attributes:
        output: the stream where it leaves, and ``name`` of that graph output.
        notes: for the person who converts.
        carried: graph inputs that hold states -> (first layer, "h" or "c") for each layer that takes one.
        returned: the graph outputs that hold states -> the same.
    """

    output: Stream
    name: str
    notes: list[str]
    carried: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    returned: dict[str, list[tuple[int, str]]] = field(default_factory=dict)


def walk(model: ModelProto) -> Walk:
    """Follow the stream through the model's graph.

    Raises:
        WeightsError: anything in it that is not understood.
    """
    _plain(model)
    return _Walker(model.graph, _versions(model)).walk()


def _plain(model: ModelProto) -> None:
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise WeightsError("has functions, training information or sparse weights; export it without (inlined, dense)")
    if model.graph.quantization_annotation:
        raise WeightsError("has quantization annotations beside its graph; export it with QuantizeLinear nodes instead")


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _versions(model: ModelProto) -> dict[str, int]:
    newest = defs.onnx_opset_version()
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = _domain(entry.domain)
        if domain in versions or not (1 <= entry.version <= (newest if domain == "" else 10_000)):
            raise WeightsError(f"operator set {entry.domain!r} {entry.version}: twice, or not in 1 to {newest}")
        versions[domain] = entry.version
    return versions


class _Walker:
    def __init__(self, graph: GraphProto, versions: dict[str, int]) -> None:
        self.graph, self.versions = graph, versions
        self.values: dict[str, Value] = {}
        self.notes: list[str] = []
        self.used: set[str] = set()
        self.carried: dict[str, dict[int, str]] = {}
        self.carries: list[tuple[str, int, tuple[int, str]]] = []
        self.lstms = 0

    def walk(self) -> Walk:
        for tensor in self.graph.initializer:
            self._define(tensor.name, Constant(array(tensor, f"tensor {tensor.name!r}")))
        for proto in self.graph.node:
            self._handler(proto)
        states = _states(self.graph)
        inputs = [info for info in self.graph.input if info.name not in self.values]
        for info in inputs:
            self._define(info.name, Carried(info.name) if info.name in states else _stream(info))
        for proto in self.graph.node:
            self._node(proto)
        output, name, returned = self._outputs()
        self._leftovers([info.name for info in inputs], output)
        return Walk(output, name, self.notes, self._carried(), returned)

    def _define(self, name: str, value: Value) -> None:
        if not name or name in self.values:
            raise WeightsError(f"the name {name!r} stands for two things, or nothing")
        self.values[name] = value

    def _handler(self, proto: NodeProto) -> Handler:
        """Return what understands a node, or refuse it by name."""
        domain = _domain(proto.domain)
        node = Node(proto, 0, [], [])
        handler = OPERATORS.get(domain, {}).get(proto.op_type)
        if handler is None:
            node.refuse(REASONS.get(proto.op_type, f"is of a kind that is not supported ({domain or 'ai.onnx'})"))
        if domain not in self.versions:
            node.refuse(f"is of operator set {domain!r}, which the file does not import")
        return handler

    def _node(self, proto: NodeProto) -> None:
        domain = _domain(proto.domain)
        inputs: list[Value | None] = []
        for name in proto.input:
            if name and name not in self.values:
                raise WeightsError(f"{proto.op_type} node {proto.name!r} takes {name!r}, which nothing before it makes")
            inputs.append(self.values[name] if name else None)
            self.used.add(name)
        node = Node(proto, self.versions[domain], inputs, self.notes)
        made = self._handler(proto)(node)
        node.finish(OUTPUTS.get(proto.op_type, len(made)))
        if proto.op_type in LSTMS:
            self._states_of(inputs)
        for name, value in zip(proto.output, made, strict=False):
            if name:
                self._define(name, value)

    def _states_of(self, inputs: list[Value | None]) -> None:
        for index, kind in ((5, "h"), (6, "c")):
            value = inputs[index] if index < len(inputs) else None
            if isinstance(value, Carried):
                self.carries.append((value.name, value.at, (self.lstms, kind)))
        self.lstms += 1

    def _carried(self) -> dict[str, list[tuple[int, str]]]:
        """Return which input carries which layers' states, in the order they lie in."""
        if self.carries and len(self.carries) != 2 * self.lstms:
            raise WeightsError("some LSTM layers get their state from the caller, others begin anew at each call")
        if len({(name, at % self.lstms) for name, at, _ in self.carries}) != len(self.carries):
            raise WeightsError(
                "a state that the caller passes goes into several places, expected one of each per layer"
            )
        names = {name for name, _, _ in self.carries}
        return {
            name: [of for _, _, of in sorted((n, at % self.lstms, of) for n, at, of in self.carries if n == name)]
            for name in sorted(names)
        }

    def _outputs(self) -> tuple[Stream, str, dict[str, list[tuple[int, str]]]]:
        """Return the output that is not a state, its name, and the states."""
        rows: list[tuple[Stream, str]] = []
        states: dict[str, list[tuple[int, str]]] = {}
        for info in self.graph.output:
            value = self.values.get(info.name)
            self.used.add(info.name)
            if isinstance(value, Parts):
                states[info.name] = [part.state for part in value.parts if part.state is not None]
            elif isinstance(value, Stream) and value.rounded is None and value.owes is None:
                if value.state is None:
                    rows.append((value, info.name))
                else:
                    states[info.name] = [value.state]
            else:
                raise WeightsError(f"the graph output {info.name!r} is not made by its layers in plain floats")
        if not rows:
            last = [name for name, of in states.items() if of == [(self.lstms - 1, "h")]]
            rows = [(value, name) for name in last[:1] if isinstance(value := self.values[name], Stream)]
        if len(rows) != 1:
            names = [name for _, name in rows] or [info.name for info in self.graph.output]
            raise WeightsError(f"the graph has outputs {names}, expected one beside the states of its layers")
        return *rows[0], states

    def _leftovers(self, inputs: list[str], output: Stream) -> None:
        """Refuse what the output does not depend on: it would be lost unsaid."""
        unused = sorted(set(self.values) - self.used)
        for name in unused:
            if name in {t.name for t in self.graph.initializer} or name in inputs:
                raise WeightsError(f"the input or tensor {name!r} is used by nothing; take it out of the file")
        streams = [name for name in inputs if isinstance(self.values[name], Stream)]
        if len(streams) != 1:
            raise WeightsError(f"the graph has inputs {streams}, expected one beside the states of its layers")
        if not output.chain.layers or len(output.chain.layers) != self.lstms:
            found = len(output.chain.layers)
            raise WeightsError(
                f"the graph's output has {found} LSTM layers behind it, of {self.lstms} in the file, expected all"
            )
        alive = _ancestors(self.graph, [info.name for info in self.graph.output])
        for proto in self.graph.node:
            dead = not alive & set(proto.output)
            if (
                dead
                and proto.op_type != "Constant"
                and any(isinstance(self.values.get(name), Stream) for name in proto.output)
            ):
                raise WeightsError(f"{proto.op_type} node {proto.name!r} leads to no output; take it out of the file")


def _stream(info: ValueInfoProto) -> Stream:
    """Return the rows as a graph input has them."""
    tensor = info.type.tensor_type
    if tensor.elem_type not in FLOAT_TYPES or not tensor.HasField("shape") or not 1 <= len(tensor.shape.dim) <= 4:
        raise WeightsError(f"the graph input {info.name!r} is not a tensor of floats with 1 to 4 declared axes")
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    axes: list[Axis] = []
    for k, size in enumerate(sizes[:-1]):
        if size is not None and (size < 1 or size in STAND_INS or size > 2**20):
            raise WeightsError(f"the graph input {info.name!r} has an axis of length {size}, expected 1 to {2**20}")
        axes.append(() if size == 1 else (Atom(str(k), size or STAND_INS[k]),))
    features = sizes[-1] or 0
    if features < 0 or features in STAND_INS:
        raise WeightsError(f"the graph input {info.name!r} has {features} values per row")
    along = features_axis(features) if features else (Atom(FEATURES, STAND_INS[3]),)
    return Stream((*axes, along), features, chain_of(info.name))


def _states(graph: GraphProto) -> set[str]:
    """Return the names that only states of LSTM nodes are made of."""
    lstms = [proto for proto in graph.node if proto.op_type in LSTMS]
    states = _ancestors(graph, [name for proto in lstms for name in proto.input[5:7]])
    rows = _ancestors(graph, [name for proto in lstms for name in proto.input[:1]])
    return states - rows


def _ancestors(graph: GraphProto, names: list[str]) -> set[str]:
    """Return these names and all that they are made of, but for what only lends its shape, and for states of layers."""
    found = set(names)
    for proto in reversed(graph.node):
        if found & set(proto.output) and proto.op_type != "Shape":
            found.update(proto.input[:1] if proto.op_type in LSTMS else proto.input)
    return found
