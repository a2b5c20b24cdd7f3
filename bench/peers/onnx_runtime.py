"""ONNX Runtime: its LSTM operator in float32, and quantized as ``quantize_dynamic`` does it.

Buffers are bound once and the state goes to and fro between two of them, so that nothing is copied or allocated per
step; ``session.run`` with NumPy feeds takes 3 us more.
"""

import itertools
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper, save
from onnxruntime.quantization import QuantType, quantize_dynamic

from bench.peers.lstm import F32, Lstm, random_lstm

ORDER = (0, 3, 1, 2)  # ONNX has the gates as i, o, f, c


def model(lstm: Lstm, rows: int) -> ModelProto:
    """Return a model of one LSTM step with its state as input and output."""
    width, hidden = lstm.weight_ih.shape[1], lstm.weight_hh.shape[1]
    weight_ih, weight_hh, bias = (np.concatenate([np.split(a, 4)[k] for k in ORDER])[None] for a in lstm)
    tensors = {"W": weight_ih, "R": weight_hh, "B": np.concatenate([bias, np.zeros_like(bias)], 1)}
    state = [1, rows, hidden]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "h_out", "c_out"], hidden_size=hidden)],
        "step",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows, width]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, state),
            helper.make_tensor_value_info("c", TensorProto.FLOAT, state),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, state) for name in ("h_out", "c_out")],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(path: Path) -> ort.InferenceSession:
    """Return a session of one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OrtFloat:
    """Float32."""

    name = "ONNX Runtime f32"
    tolerance = 1e-4

    def __init__(self, input_size: int, hidden_size: int, rows: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            save(model(random_lstm(input_size, hidden_size), rows), path)
            self.session = session(self.prepare(path))
        self.x = np.zeros((rows, input_size), np.float32)
        h, c = (np.zeros((2, rows, hidden_size), np.float32) for _ in range(2))
        there_and_back = [(self.bind(h[k], c[k], h[1 - k], c[1 - k]), h[1 - k]) for k in range(2)]
        self.turns = itertools.cycle(there_and_back)

    def prepare(self, path: Path) -> Path:
        """Return the model to run, made of the float one."""
        return path

    def bind(self, h: F32, c: F32, h_out: F32, c_out: F32) -> ort.IOBinding:
        """Return a binding that reads and writes these arrays in place."""

        def value(array: F32) -> ort.OrtValue:
            return ort.OrtValue.ortvalue_from_numpy(array[None])  # on the CPU the memory is shared

        binding = self.session.io_binding()
        for name, array in {"x": self.x, "h": h, "c": c}.items():
            binding.bind_ortvalue_input(name, value(array))
        for name, array in {"h_out": h_out, "c_out": c_out}.items():
            binding.bind_ortvalue_output(name, value(array))
        return binding

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H)."""
        binding, h = next(self.turns)
        self.x[:] = x
        self.session.run_with_iobinding(binding)
        return h


class OrtInt8(OrtFloat):
    """Weights int8, activations quantized step by step."""

    name = "ONNX Runtime int8"
    tolerance = 0.05

    def prepare(self, path: Path) -> Path:
        """Quantize the model."""
        quantized = path.with_name("quantized.onnx")
        logging.disable(logging.WARNING)  # it recommends a pass that changes nothing in a model of one operator
        quantize_dynamic(path, quantized, weight_type=QuantType.QInt8)
        logging.disable(logging.NOTSET)
        return quantized
