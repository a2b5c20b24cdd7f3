"""Which function understands which operator, and why others are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_lstm.convert.formats.onnx import arithmetic, axes, head, layers, passing, picks, quantized
from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import Constant, Value


def _constant(node: Node) -> list[Value]:
    given: dict[str, Any] = {
        "value": node.attribute("value", "TENSOR"),
        **{
            f"value_{kind.lower()}": node.attribute(f"value_{kind.lower()}", kind)
            for kind in ("FLOAT", "FLOATS", "INT", "INTS")
        },
    }
    found = [v for v in given.values() if v is not None]
    if len(found) != 1:
        node.refuse("holds no number, several, or text")
    return [Constant(np.asarray(found[0]))]


Handler = Callable[[Node], list[Value]]

_ELEMENTWISE = ["Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh"]

ONNX: dict[str, Handler] = {
    "BatchNormalization": arithmetic.batch_normalization,
    "Cast": passing.cast,
    "Clip": head.clip,
    "Concat": picks.concat,
    "Constant": _constant,
    "ConstantOfShape": passing.filled,
    "DequantizeLinear": quantized.dequantize_linear,
    "Dropout": passing.dropout,
    "DynamicQuantizeLinear": quantized.dynamic_quantize_linear,
    "Expand": passing.expand,
    "Flatten": axes.flatten,
    "Gather": picks.gather,
    "Gemm": head.gemm,
    "Identity": passing.same,
    "LSTM": layers.lstm,
    "MatMul": head.matmul,
    "MatMulInteger": quantized.matmul_integer,
    "PRelu": head.prelu,
    "QLinearMatMul": quantized.qlinear_matmul,
    "QuantizeLinear": quantized.quantize_linear,
    "Reshape": axes.reshape,
    "Shape": passing.shape,
    "Slice": picks.slices,
    "Softmax": head.softmax,
    "Split": picks.split,
    "Squeeze": axes.squeeze,
    "Swish": head.swish,
    "Tile": passing.tile,
    "Transpose": axes.transpose,
    "Unsqueeze": axes.unsqueeze,
    **{kind: arithmetic.arithmetic(kind) for kind in ("Add", "Sub", "Mul", "Div")},
    **{kind: head.elementwise(kind) for kind in _ELEMENTWISE},
}

OPERATORS: dict[str, dict[str, Handler]] = {
    "": ONNX,
    "ai.onnx.ml": {"Scaler": arithmetic.scaler},
    "com.microsoft": {
        "DequantizeLinear": quantized.dequantize_linear,
        "DynamicQuantizeLSTM": layers.dynamic_quantize_lstm,
        "DynamicQuantizeMatMul": quantized.dynamic_quantize_matmul,
        "MatMulIntegerToFloat": quantized.matmul_integer_to_float,
        "QGemm": quantized.qgemm,
        "QuantizeLinear": quantized.quantize_linear,
    },
}

OUTPUTS = {"LSTM": 3, "DynamicQuantizeLSTM": 3, "DynamicQuantizeLinear": 3}

_CONTROL = "is control flow, whose steps can't be followed; export the LSTM as LSTM nodes"
_OTHER_CELL = "is another kind of recurrent cell than an LSTM; only LSTM layers can be streamed"
_BACKWARDS = "needs the end of the sequence before its beginning; a stream has no end"
_SEQUENCE = "handles sequences of tensors, not a stream of rows"
_SEVERAL_STEPS = "computes one value from several time steps; only LSTM layers may look back"
REASONS = {
    **dict.fromkeys(("Loop", "Scan", "If"), _CONTROL),
    **dict.fromkeys(("GRU", "RNN"), _OTHER_CELL),
    **dict.fromkeys(("ReverseSequence",), _BACKWARDS),
    **dict.fromkeys(("SequenceMap", "SequenceInsert", "SequenceConstruct", "SplitToSequence"), _SEQUENCE),
    **dict.fromkeys(("SequenceEmpty", "SequenceAt", "ConcatFromSequence"), _SEQUENCE),
    **dict.fromkeys(("OptionalGetElement", "OptionalHasElement", "Optional"), _SEQUENCE),
    **dict.fromkeys(("Conv", "Attention", "MultiHeadAttention", "MaxPool", "AveragePool"), _SEVERAL_STEPS),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum", "GlobalAveragePool", "CumSum"), _SEVERAL_STEPS),
}
