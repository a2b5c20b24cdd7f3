"""What can be wrong in a .tflite file: changes to the fixtures, each with words of the sentence that refuses it."""

import copy
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LSTM, SECOND, SLICE, DENSE = range(4)  # operators of the fixtures


def changed(source: Path, change: Callable[[Any], Any]) -> bytes:
    """Return a file with something about it changed, in the objects of the schema."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    import flatbuffers

    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes()))
    change(file)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(file.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def op(file: Any, number: int) -> Any:
    return file.subgraphs[0].operators[number]


def tensor(file: Any, number: int, at: int) -> Any:
    """Return the tensor of an operator's input."""
    return file.subgraphs[0].tensors[op(file, number).inputs[at]]


def fill(file: Any, number: int, at: int, content: bytes) -> None:
    """Give an operator's input a content of its own."""
    new = type(file.buffers[0])()
    new.data = np.frombuffer(content, np.uint8)
    file.buffers.append(new)
    tensor(file, number, at).buffer = len(file.buffers) - 1


def numbers(value: float, count: int) -> bytes:
    return np.full(count, value, np.float32).tobytes()


def kind(file: Any, number: int, code: int) -> None:
    new = file.operatorCodes[op(file, number).opcodeIndex]
    new.builtinCode, new.deprecatedBuiltinCode = code, min(code, 127)


def put(target: Any, **values: Any) -> None:
    for name, value in values.items():
        assert hasattr(target, name), name
        setattr(target, name, value)


def put_input(file: Any, number: int, at: int, value: int) -> None:
    inputs = list(op(file, number).inputs)
    inputs[at] = value
    op(file, number).inputs = inputs


def shape(file: Any, number: int, at: int, *sizes: int) -> None:
    tensor(file, number, at).shape = list(sizes)


def quantization(file: Any, number: int, at: int, **values: Any) -> None:
    put(tensor(file, number, at).quantization, **values)


def swap_inputs(file: Any, number: int, a: int, b: int) -> None:
    inputs = list(op(file, number).inputs)
    inputs[a], inputs[b] = inputs[b], inputs[a]
    op(file, number).inputs = inputs


def add_orphan(file: Any) -> None:
    new = copy.copy(tensor(file, LSTM, 1))
    new.name = b"orphan"
    file.subgraphs[0].tensors.append(new)


def sparse(file: Any) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    tensor(file, LSTM, 1).sparsity = schema.SparsityParametersT()


def external(file: Any) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    group = schema.ExternalBufferGroupT()
    group.name = b"/etc/passwd"
    file.externalBufferGroups = [group]


def softmax(beta: float) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
        kind(file, DENSE, schema.BuiltinOperator.SOFTMAX)
        put(
            op(file, DENSE),
            builtinOptions=schema.SoftmaxOptionsT(),
            builtinOptionsType=9,
            inputs=op(file, DENSE).inputs[:1],
        )
        op(file, DENSE).builtinOptions.beta = beta

    return change


def times_a_thousand(file: Any) -> None:
    file.subgraphs[0].operators[LSTM + 1 : LSTM + 1] = [op(file, LSTM)] * 1000


HUGE = 2**31 - 1
FLOAT_CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "version 2": (lambda f: put(f, version=2), "version 2"),
    "no subgraph": (lambda f: put(f, subgraphs=[]), "no subgraph"),
    "two subgraphs": (lambda f: f.subgraphs.append(f.subgraphs[0]), "2 subgraphs"),
    "two outputs": (lambda f: put(f.subgraphs[0], outputs=[32, 30]), "2 outputs"),
    "no inputs": (lambda f: put(f.subgraphs[0], inputs=[]), "0 inputs"),
    "input out of range": (lambda f: put(f.subgraphs[0], inputs=[4000]), "4000"),
    "output elsewhere": (lambda f: put(f.subgraphs[0], outputs=[30]), "output"),
    "output is negative": (lambda f: put(f.subgraphs[0], outputs=[-7]), "output"),
    "no operators": (lambda f: put(f.subgraphs[0], operators=[]), "no LSTM"),
    "no operator codes": (lambda f: put(f, operatorCodes=[]), "kind 0"),
    "operator code out of range": (lambda f: put(op(f, LSTM), opcodeIndex=99), "99"),
    "no buffers": (lambda f: put(f, buffers=[]), "buffer"),
    "buffer out of range": (lambda f: put(tensor(f, LSTM, 1), buffer=10**6), "buffer 1000000"),
    "buffer elsewhere": (lambda f: put(f.buffers[tensor(f, LSTM, 1).buffer], offset=4096, size=96), "2 GB"),
    "external buffers": (external, "other files"),
    "bidirectional": (lambda f: kind(f, LSTM, 52), "BIDIRECTIONAL_SEQUENCE_LSTM.*end"),
    "plain recurrent": (lambda f: kind(f, LSTM, 35), "UNIDIRECTIONAL_SEQUENCE_RNN.*not an LSTM"),
    "svdf": (lambda f: kind(f, LSTM, 27), "SVDF"),
    "convolution": (lambda f: kind(f, SLICE, 3), "CONV_2D"),
    "reversed": (lambda f: kind(f, SLICE, 105), "REVERSE_V2.*turns"),
    "flex": (lambda f: (kind(f, SLICE, 32), put(f.operatorCodes[1], customCode=b"FlexWhile")), "TF_USE_LEGACY"),
    "custom": (lambda f: (kind(f, SLICE, 32), put(f.operatorCodes[1], customCode=b"Secret\n")), "CUSTOM Secret"),
    "unknown operator": (lambda f: kind(f, SLICE, 9999), "kind 9999"),
    "custom options": (lambda f: put(op(f, LSTM), customOptions=[1, 2, 3]), "custom options"),
    "large custom options": (lambda f: put(op(f, LSTM), largeCustomOptionsOffset=5), "newer schema"),
    "options of another": (lambda f: put(op(f, LSTM), builtinOptionsType=8), "options of type 8"),
    "activation none": (lambda f: put(op(f, LSTM).builtinOptions, fusedActivationFunction=0), "NONE"),
    "activation sign bit": (lambda f: put(op(f, LSTM).builtinOptions, fusedActivationFunction=5), "SIGN_BIT"),
    "activation unknown": (lambda f: put(op(f, LSTM).builtinOptions, fusedActivationFunction=77), "77"),
    "negative clip": (lambda f: put(op(f, LSTM).builtinOptions, cellClip=-1.0), "clip"),
    "clip nan": (lambda f: put(op(f, LSTM).builtinOptions, projClip=float("nan")), "clip"),
    "clip inf": (lambda f: put(op(f, LSTM).builtinOptions, cellClip=float("inf")), "clip"),
    "diagonal": (lambda f: put(op(f, LSTM).builtinOptions, diagonalRecurrentTensors=True), "diagonal"),
    "time major": (lambda f: put(op(f, LSTM).builtinOptions, timeMajor=True), "batch"),
    "five inputs": (lambda f: put(op(f, LSTM), inputs=[0, 17, 18, 19, 20]), "5 inputs"),
    "forget weights missing": (lambda f: put_input(f, LSTM, 2, -1), "missing"),
    "input recurrent weights missing": (lambda f: put_input(f, LSTM, 5, -1), "missing"),
    "bias missing": (lambda f: put_input(f, LSTM, 15, -1), "missing"),
    "one peephole": (lambda f: put_input(f, LSTM, 10, op(f, LSTM).inputs[12]), "peepholes"),
    "some normalization": (lambda f: put_input(f, LSTM, 21, op(f, LSTM).inputs[12]), "normalization"),
    "projection bias alone": (lambda f: put_input(f, LSTM, 17, op(f, LSTM).inputs[12]), "projection bias"),
    "projection of a vector": (lambda f: put_input(f, LSTM, 16, op(f, LSTM).inputs[12]), "matrix"),
    "state missing": (lambda f: put_input(f, LSTM, 18, -1), "state is missing"),
    "state constant": (lambda f: put(tensor(f, LSTM, 18), isVariable=False), "not a variable"),
    "state of a batch": (lambda f: shape(f, LSTM, 18, 8, 16), "batch of 1"),
    "state shared": (lambda f: put_input(f, LSTM, 18, op(f, LSTM).inputs[19]), "twice"),
    "state of the other layer": (lambda f: put_input(f, SECOND, 18, op(f, LSTM).inputs[18]), "twice"),
    "state int64": (lambda f: put(tensor(f, LSTM, 18), type=4), "int64"),
    "weights out of range": (lambda f: put_input(f, LSTM, 1, 5000), "5000"),
    "weights are computed": (lambda f: put_input(f, SECOND, 1, 28), "constant"),
    "weights too few": (lambda f: fill(f, LSTM, 1, bytes(20)), "bytes"),
    "weights too many": (lambda f: fill(f, LSTM, 1, bytes(2000)), "bytes"),
    "weights nan": (lambda f: fill(f, LSTM, 1, numbers(np.nan, 32)), "finite"),
    "weights inf": (lambda f: fill(f, LSTM, 6, numbers(np.inf, 256)), "finite"),
    "bias nan": (lambda f: fill(f, LSTM, 13, numbers(np.nan, 16)), "finite"),
    "dense nan": (lambda f: fill(f, DENSE, 1, numbers(np.nan, 32)), "finite"),
    "weights int32": (lambda f: put(tensor(f, LSTM, 1), type=2), "int32"),
    "weights int4": (lambda f: put(tensor(f, LSTM, 1), type=17), "int4"),
    "weights of type 99": (lambda f: put(tensor(f, LSTM, 1), type=99), "type 99"),
    "weights strings": (lambda f: put(tensor(f, LSTM, 1), type=5), "type 5"),
    "bias int32": (lambda f: put(tensor(f, LSTM, 13), type=2), "int32"),
    "weights sparse": (sparse, "sparse"),
    "weights external": (lambda f: put(tensor(f, LSTM, 1), externalBuffer=3), "external"),
    "weights transposed": (lambda f: shape(f, LSTM, 1, 2, 16), "shape"),
    "weights of rank 1": (lambda f: shape(f, LSTM, 1, 32), "matrix"),
    "weights of rank 9": (lambda f: shape(f, LSTM, 1, 16, 2, 1, 1, 1, 1, 1, 1, 1), "list of 9"),
    "weights of huge shape": (lambda f: shape(f, LSTM, 1, HUGE, HUGE), "bytes"),
    "weights of negative shape": (lambda f: shape(f, LSTM, 1, -16, -2), "shape"),
    "weights of no rows": (lambda f: (shape(f, LSTM, 2, 0, 2), fill(f, LSTM, 2, b"")), "content|bytes"),
    "gates and recurrent weights swapped": (lambda f: swap_inputs(f, LSTM, 1, 5), "shape"),
    "bias and weights swapped": (lambda f: swap_inputs(f, LSTM, 3, 14), "matrix|shape"),
    "layers swapped": (lambda f: swap_inputs(f, SECOND, 0, 1), "branches|alone"),
    "input a constant": (lambda f: put_input(f, LSTM, 0, 17), "branches|alone"),
    "orphan": (add_orphan, "orphan.*no operator takes"),
    "input of a batch": (lambda f: put(f.subgraphs[0].tensors[0], shape=[4, 12, 2]), "batch of 1"),
    "input of huge channels": (lambda f: put(f.subgraphs[0].tensors[0], shape=[1, 12, HUGE]), "channels"),
    "input of no channels": (lambda f: put(f.subgraphs[0].tensors[0], shape=[1, 12, 0]), "channels"),
    "input of rank 0": (lambda f: put(f.subgraphs[0].tensors[0], shape=[]), "shape"),
    "input of other channels": (lambda f: put(f.subgraphs[0].tensors[0], shape=[1, 12, 5]), "channels"),
    "input of strings": (lambda f: put(f.subgraphs[0].tensors[0], type=5), "type 5"),
    "output of another shape": (lambda f: put(f.subgraphs[0].tensors[32], shape=[1, 7]), "output of shape"),
    "slice of the first step": (lambda f: fill(f, SLICE, 1, struct.pack("<3i", 0, 0, 0)), "picks some"),
    "slice of channels": (lambda f: put(op(f, SLICE).builtinOptions, beginMask=1, endMask=1), "picks some"),
    "slice that turns": (lambda f: fill(f, SLICE, 3, struct.pack("<3i", 1, -1, -1)), "picks some"),
    "slice with an ellipsis": (lambda f: put(op(f, SLICE).builtinOptions, ellipsisMask=2), "ellipsis"),
    "slice by floats": (lambda f: put(tensor(f, SLICE, 1), type=0), "int32"),
    "softmax of another heat": (softmax(2.0), "beta"),
    "dense shuffled": (lambda f: put(op(f, DENSE).builtinOptions, weightsFormat=1), "shuffled"),
    "dense of other width": (lambda f: shape(f, DENSE, 1, 16, 2), "channels"),
    "dense bias of other size": (lambda f: put_input(f, DENSE, 2, op(f, LSTM).inputs[12]), "a bias of shape"),
    "a thousand layers": (times_a_thousand, "twice|batch|alone"),
}
INT8_CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "scale zero": (lambda f: quantization(f, LSTM, 1, scale=[0.0]), "positive"),
    "scale negative": (lambda f: quantization(f, LSTM, 1, scale=[-1.0]), "positive"),
    "scale nan": (lambda f: quantization(f, LSTM, 1, scale=[float("nan")]), "finite"),
    "scale per row": (lambda f: quantization(f, LSTM, 1, scale=[0.1] * 16, zeroPoint=[0] * 16), "scale per row"),
    "scales of no axis": (lambda f: quantization(f, DENSE, 1, quantizedDimension=1), "axis 1"),
    "scale missing": (lambda f: quantization(f, LSTM, 1, scale=[], zeroPoint=[]), "scale"),
    "zero point of weights": (lambda f: quantization(f, LSTM, 1, zeroPoint=[3]), "zero point"),
    "zero points too many": (lambda f: quantization(f, LSTM, 1, zeroPoint=[0, 0]), "zero points"),
    "bias of other scale": (lambda f: quantization(f, LSTM, 13, scale=[0.5]), "bias with scale 0.5"),
    "dense bias of other scale": (lambda f: quantization(f, DENSE, 2, scale=[0.5, 0.5]), "input times weights"),
    "state of other scale": (lambda f: quantization(f, LSTM, 18, scale=[0.5]), "different scales"),
    "cell of odd scale": (lambda f: quantization(f, LSTM, 19, scale=[0.0003]), "power of two"),
    "cell of coarse scale": (lambda f: quantization(f, LSTM, 19, scale=[0.25]), "power of two"),
    "no intermediates": (lambda f: put(op(f, LSTM), intermediates=[]), "0 intermediate"),
    "eight-bit gates": (lambda f: put(op(f, LSTM), intermediates=list(range(12))), "8x8_8"),
    "relu in integers": (lambda f: put(op(f, LSTM).builtinOptions, fusedActivationFunction=1), "TANH whatever"),
    "float weights": (lambda f: (put(tensor(f, LSTM, 1), type=0), fill(f, LSTM, 1, bytes(128))), "float32 weights"),
    "input without scale": (lambda f: put(f.subgraphs[0].tensors[0], quantization=None), "scale"),
    "input of 16 bits": (lambda f: put(f.subgraphs[0].tensors[0], type=7), "int16"),
}
