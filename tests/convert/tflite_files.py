"""Writes .tflite models for tests, so that no TensorFlow is needed: subgraphs of tensors and operators."""

from typing import Any

import flatbuffers
import numpy as np
import pytest
from numpy.typing import NDArray

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

TYPES = schema.TensorType
KINDS = {
    "float32": TYPES.FLOAT32,
    "float16": TYPES.FLOAT16,
    "int8": TYPES.INT8,
    "int16": TYPES.INT16,
    "int32": TYPES.INT32,
    "uint8": TYPES.UINT8,
}


class Model:
    """A file in the making: what its subgraphs share."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.codes: list[tuple[str, int]] = []  # operators in use and their versions
        self.buffers = [schema.BufferT()]  # the first is empty, for all tensors without content

    def graph(self) -> "Graph":
        self.graphs.append(Graph(self))
        return self.graphs[-1]

    def buffer(self, content: bytes) -> int:
        self.buffers.append(schema.BufferT())
        self.buffers[-1].data = np.frombuffer(content, np.uint8)
        return len(self.buffers) - 1

    def code(self, name: str, version: int) -> int:
        if (name, version) not in self.codes:
            self.codes.append((name, version))
        return self.codes.index((name, version))

    def content(self) -> bytes:
        model = schema.ModelT()
        model.version, model.buffers, model.operatorCodes = 3, self.buffers, []
        model.subgraphs = [graph.packed() for graph in self.graphs]
        for name, version in self.codes:
            new = schema.OperatorCodeT()
            new.builtinCode, new.version = getattr(schema.BuiltinOperator, name.split()[0]), version
            new.customCode = name.partition(" ")[2] or None
            new.deprecatedBuiltinCode = min(new.builtinCode, 127)
            model.operatorCodes.append(new)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Graph:
    """A subgraph; a tensor is its number in it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(self, shape: tuple[int, ...], kind: str = "float32", *, variable: bool = False) -> int:
        new = schema.TensorT()
        new.name, new.shape, new.type, new.isVariable = f"t{len(self.tensors)}", list(shape), KINDS[kind], variable
        self.tensors.append(new)
        return len(self.tensors) - 1

    def scaled(self, number: int, scale: Any, zero: int = 0) -> int:
        """Give a tensor a quantization."""
        new = self.tensors[number].quantization = schema.QuantizationParametersT()
        new.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
        new.zeroPoint = [zero] * len(new.scale)
        return number

    def constant(self, array: NDArray[Any], scale: Any = None, zero: int = 0) -> int:
        number = self.tensor(array.shape, array.dtype.name)
        self.tensors[number].buffer = self.model.buffer(np.ascontiguousarray(array).tobytes())
        return number if scale is None else self.scaled(number, scale, zero)

    def add(self, name: str, inputs: list[int], outputs: list[int], options: Any = None, version: int = 1) -> Any:
        new = schema.OperatorT()
        new.opcodeIndex, new.inputs, new.outputs = self.model.code(name, version), inputs, outputs
        if options is not None:
            new.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            new.builtinOptions = options
        self.operators.append(new)
        return new

    def packed(self) -> Any:
        new = schema.SubGraphT()
        new.tensors, new.operators = self.tensors, self.operators
        new.inputs, new.outputs = self.inputs, self.outputs
        return new


def options(kind: str, **values: Any) -> Any:
    """Return an options table."""
    new = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        assert hasattr(new, name), name
        setattr(new, name, value)
    return new
