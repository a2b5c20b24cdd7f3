"""LiteRT (TensorFlow Lite), int8 weights and float activations ("dynamic range"), one thread, XNNPACK as by default.

Two ways to build the step, both with the state inside: its LSTM operator, and a cell of one fully connected layer and
elementwise operators, which XNNPACK runs.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from bench.peers.lstm import F32, Lstm, random_lstm
from bench.peers.tflite import TYPES, Graph, Model


def lstm_model(lstm: Lstm, rows: int) -> bytes:
    """Return UNIDIRECTIONAL_SEQUENCE_LSTM over a sequence of one; its state is in variable tensors."""
    hidden, width = lstm.weight_hh.shape[1], lstm.weight_ih.shape[1]
    model = Model()
    g = model.graph()
    x, out = g.tensor((1, rows, width)), g.tensor((1, rows, hidden))
    g.inputs, g.outputs = [x], [out]
    inputs = [x]
    inputs += [g.weight(part) for part in np.split(lstm.weight_ih, 4)]  # i, f, g, o here, too
    inputs += [g.weight(part) for part in np.split(lstm.weight_hh, 4)]
    inputs += [-1] * 3  # peepholes
    inputs += [g.constant(part) for part in np.split(lstm.bias, 4)]
    inputs += [-1] * 2  # projection
    inputs += [g.tensor((rows, hidden), variable=True) for _ in range(2)]
    inputs += [-1] * 4  # normalization of the gates
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction, options.timeMajor = schema.ActivationFunctionType.TANH, True
    g.add("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [out], options, version=2)  # 2: hybrid
    return model.content()


def cell_model(lstm: Lstm, rows: int) -> bytes:
    """Return the cell; h and c are resource variables, which the first run sets to zero."""
    hidden, width = lstm.weight_hh.shape[1], lstm.weight_ih.shape[1]
    model = Model()
    g, start = model.graph(), model.graph()
    x = g.tensor((rows, width))

    def handle(graph: Graph, name: str) -> int:
        out, options = graph.tensor((), TYPES.RESOURCE), schema.VarHandleOptionsT()
        options.container, options.sharedName = "", name
        graph.add("VAR_HANDLE", [], [out], options)
        return out

    def computed(name: str, *inputs: int, options: object = None) -> int:
        out = g.tensor((rows, hidden))
        g.add(name, list(inputs), [out], options)
        return out

    def add(a: int, b: int) -> int:
        return computed("ADD", a, b, options=schema.AddOptionsT())

    def mul(a: int, b: int) -> int:
        return computed("MUL", a, b, options=schema.MulOptionsT())

    once = schema.CallOnceOptionsT()
    once.initSubgraphIndex = 1
    g.add("CALL_ONCE", [], [], once)
    for name in "hc":
        zeros = start.constant(np.zeros((rows, hidden), np.float32))
        start.add("ASSIGN_VARIABLE", [handle(start, name), zeros], [], schema.AssignVariableOptionsT())

    kept = [handle(g, name) for name in "hc"]
    h, c = (computed("READ_VARIABLE", k, options=schema.ReadVariableOptionsT()) for k in kept)
    xh, gates = g.tensor((rows, width + hidden)), g.tensor((rows, 4 * hidden))
    concatenation, split = schema.ConcatenationOptionsT(), schema.SplitOptionsT()
    concatenation.axis, split.numSplits = 1, 4
    g.add("CONCATENATION", [x, h], [xh], concatenation)
    weight = g.weight(np.hstack([lstm.weight_ih, lstm.weight_hh]))
    dense = schema.FullyConnectedOptionsT()
    g.add("FULLY_CONNECTED", [xh, weight, g.constant(lstm.bias)], [gates], dense, version=3)  # 3: hybrid
    parts = [g.tensor((rows, hidden)) for _ in range(4)]
    g.add("SPLIT", [g.constant(np.array(1, np.int32)), gates], parts, split)
    i, f, o = (computed("LOGISTIC", parts[k]) for k in (0, 1, 3))
    c_out = add(mul(f, c), mul(i, computed("TANH", parts[2])))
    h_out = mul(o, computed("TANH", c_out))
    for k, new in zip(kept, (h_out, c_out), strict=True):
        g.add("ASSIGN_VARIABLE", [k, new], [], schema.AssignVariableOptionsT())
    g.inputs, g.outputs = [x], [h_out]
    return model.content()


class LiteRtCell:
    """The cell."""

    name = "LiteRT int8 cell"
    tolerance = 0.05
    make = staticmethod(cell_model)

    def __init__(self, input_size: int, hidden_size: int, rows: int) -> None:
        content = self.make(random_lstm(input_size, hidden_size), rows)
        self.interpreter = Interpreter(model_content=content, num_threads=1)
        self.interpreter.allocate_tensors()
        self.invoke = self.interpreter.invoke  # the step without its input and output
        (x,), (h,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.x, self.h = x["index"], h["index"]

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H)."""
        # a little cheaper than the views of tensor(), which must not be kept while it runs
        self.interpreter.set_tensor(self.x, x)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.h)


class LiteRtLstm(LiteRtCell):
    """The LSTM operator."""

    name = "LiteRT int8 LSTM"
    make = staticmethod(lstm_model)

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H)."""
        return super().step(x[None])[0]
