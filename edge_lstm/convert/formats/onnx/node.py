"""One node of the graph, for the functions that understand it."""

from typing import Any, Never

from onnx import AttributeProto, NodeProto

from edge_lstm.convert.formats.onnx.values import Constant, Stream, Value
from edge_lstm.convert.formats.onnx.wire import array
from edge_lstm.errors import WeightsError


class Node:
    """A node and the values that go into it.

    Attributes:
        name: kind and name, for messages.
        version: of the operator set.
        inputs: None where one is left out.
        outputs: names.
        notes: of the whole graph, to add to.
    """

    def __init__(self, proto: NodeProto, version: int, inputs: list[Value | None], notes: list[str]) -> None:
        self.name = f"{proto.op_type} node {proto.name or next(filter(None, proto.output), '')!r}"
        self.version = version
        self.inputs = inputs
        self.outputs = list(proto.output)
        self.notes = notes
        self._attributes: dict[str, AttributeProto] = {a.name: a for a in proto.attribute}
        if len(self._attributes) != len(proto.attribute):
            self.refuse("has an attribute twice")

    def refuse(self, message: str) -> Never:
        """Raise the error that says so."""
        raise WeightsError(f"{self.name} {message}")

    def note(self, message: str) -> None:
        """Leave a note for the person who converts, once."""
        if message not in self.notes:
            self.notes.append(message)

    def attribute(self, name: str, kind: str, default: Any = None) -> Any:
        """Return an attribute of kind "INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS" or "TENSOR"."""
        found = self._attributes.pop(name, None)
        if found is None:
            return default
        if found.type != AttributeProto.AttributeType.Value(kind) or found.ref_attr_name:
            self.refuse(f"has an attribute {name!r} that is not of kind {kind}")
        if kind == "TENSOR":
            return array(found.t, f"{self.name}: {name!r}")
        if kind == "STRING":
            return found.s.decode(errors="replace")
        if kind == "STRINGS":
            return [s.decode(errors="replace") for s in found.strings]
        if kind in ("INTS", "FLOATS"):
            return list(getattr(found, kind.lower()))
        return getattr(found, "i" if kind == "INT" else "f")

    def finish(self, outputs: int) -> None:
        """Refuse what nobody asked for: attributes, inputs, outputs."""
        if self._attributes:
            self.refuse(f"has an attribute {min(self._attributes)!r} that is not understood")
        if len([name for name in self.outputs if name]) > outputs or any(self.outputs[outputs:]):
            self.refuse(f"has {len(self.outputs)} outputs, of which {outputs} are understood")

    def at(self, index: int) -> Value | None:
        """Return an input, None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> Constant | None:
        """Return an input that has to be constant, or None if it is left out."""
        value = self.at(index)
        if value is not None and not isinstance(value, Constant):
            self.refuse(f"has an input {index} that is computed as the model runs, expected a constant")
        return value

    def needed(self, index: int) -> Constant:
        """Return an input that has to be there and constant."""
        value = self.constant(index)
        if value is None:
            self.refuse(f"lacks its input {index}")
        return value

    def integers(self, index: int) -> list[int] | None:
        """Return an input of constant integers."""
        value = self.constant(index)
        if value is None:
            return None
        if value.values.dtype.kind not in "iu" or value.values.size > 64:
            self.refuse(f"has an input {index} that is not a few integers")
        return [int(v) for v in value.values.ravel()]

    def stream(self, index: int = 0) -> Stream:
        """Return an input that has to be the stream, in plain floats."""
        value = self.at(index)
        if not isinstance(value, Stream):
            self.refuse(f"takes something else than the stream as input {index}")
        if value.rounded is not None or value.owes is not None:
            self.refuse("takes integers of a quantized stream that are not scaled back before it")
        return value
