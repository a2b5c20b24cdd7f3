"""NumPy, float32, by hand."""

import numpy as np

from bench.peers.lstm import F32, random_lstm


class NumpyFloat:
    """One product with both matrices, then the gates."""

    name = "NumPy f32"
    tolerance = 1e-4

    def __init__(self, input_size: int, hidden_size: int, rows: int) -> None:
        lstm = random_lstm(input_size, hidden_size)
        # sigmoid(x) = (1 + tanh(x / 2)) / 2 makes one call of tanh do for three gates; their rows are halved here
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), hidden_size)
        self.weight = np.ascontiguousarray((np.hstack([lstm.weight_ih, lstm.weight_hh]) * half[:, None]).T)
        self.bias = lstm.bias * half
        self.input_size, self.hidden_size = input_size, hidden_size
        self.xh = np.zeros((rows, input_size + hidden_size), np.float32)
        self.h = self.xh[:, input_size:]
        self.c = np.zeros((rows, hidden_size), np.float32)
        self.gates = np.empty((rows, 4 * hidden_size), np.float32)

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H)."""
        hidden, gates = self.hidden_size, self.gates
        self.xh[:, : self.input_size] = x
        np.matmul(self.xh, self.weight, out=gates)
        gates += self.bias
        np.tanh(gates, out=gates)
        i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
        self.c *= 0.5 + 0.5 * f
        self.c += (0.5 + 0.5 * i) * g
        np.multiply(0.5 + 0.5 * o, np.tanh(self.c), out=self.h)
        return self.h
