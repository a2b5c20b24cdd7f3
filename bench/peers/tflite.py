"""Writes .tflite models, so that no TensorFlow is needed: subgraphs of tensors and operators."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

F32 = NDArray[np.float32]
TYPES = schema.TensorType
KINDS = {"float32": TYPES.FLOAT32, "int8": TYPES.INT8, "int32": TYPES.INT32}


def quantize(weight: F32) -> tuple[NDArray[np.int8], float]:
    """Return int8 weights and their scale: symmetric, one scale per matrix, as the converter's dynamic range does."""
    scale = float(np.abs(weight).max()) / 127
    return np.round(weight / scale).astype(np.int8), scale


class Model:
    """A file in the making: what its subgraphs share."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.codes: list[tuple[str, int]] = []  # operators in use and their versions
        self.buffers = [schema.BufferT()]  # the first is empty, for all tensors without content

    def graph(self) -> "Graph":
        """Add a subgraph; the first is the main one."""
        self.graphs.append(Graph(self))
        return self.graphs[-1]

    def buffer(self, content: bytes) -> int:
        """Add content; return its number."""
        self.buffers.append(schema.BufferT())
        self.buffers[-1].data = np.frombuffer(content, np.uint8)
        return len(self.buffers) - 1

    def code(self, name: str, version: int) -> int:
        """Return the number of an operator in the file's list."""
        if (name, version) not in self.codes:
            self.codes.append((name, version))
        return self.codes.index((name, version))

    def content(self) -> bytes:
        """Return the file."""
        model = schema.ModelT()
        model.version, model.buffers, model.operatorCodes = 3, self.buffers, []
        model.subgraphs = [graph.packed() for graph in self.graphs]
        for name, version in self.codes:
            new = schema.OperatorCodeT()
            new.builtinCode, new.version = getattr(schema.BuiltinOperator, name), version
            new.deprecatedBuiltinCode = min(new.builtinCode, 127)
            model.operatorCodes.append(new)
        builder = flatbuffers.Builder(1 << 20)
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

    def tensor(self, shape: tuple[int, ...], kind: int = TYPES.FLOAT32, *, variable: bool = False) -> int:
        """Add a tensor that is computed, given, or (a variable) kept from step to step by its operator."""
        new = schema.TensorT()
        new.name, new.shape, new.type, new.isVariable = f"t{len(self.tensors)}", list(shape), kind, variable
        self.tensors.append(new)
        return len(self.tensors) - 1

    def constant(self, array: NDArray[Any], scale: float | None = None) -> int:
        """Add a constant; with a scale it is a quantized weight."""
        number = self.tensor(array.shape, KINDS[array.dtype.name])
        new = self.tensors[number]
        new.buffer = self.model.buffer(array.tobytes())
        if scale is not None:
            new.quantization = schema.QuantizationParametersT()
            new.quantization.scale, new.quantization.zeroPoint = [scale], [0]
        return number

    def weight(self, weight: F32) -> int:
        """Add a weight matrix, quantized."""
        return self.constant(*quantize(weight))

    def add(self, name: str, inputs: list[int], outputs: list[int], options: Any = None, version: int = 1) -> None:
        """Add an operator; an input of -1 is left out."""
        new = schema.OperatorT()
        new.opcodeIndex, new.inputs, new.outputs = self.model.code(name, version), inputs, outputs
        if options is not None:
            new.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            new.builtinOptions = options
        self.operators.append(new)

    def packed(self) -> Any:
        """Return the subgraph as the schema has it."""
        new = schema.SubGraphT()
        new.tensors, new.operators = self.tensors, self.operators
        new.inputs, new.outputs = self.inputs, self.outputs
        return new
