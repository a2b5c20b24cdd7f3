"""The LSTM that every peer computes: random weights, a NumPy reference in float64, and the check against it."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
STEPS = 5


class Lstm(NamedTuple):
    """One layer in PyTorch's gate order i, f, g, o."""

    weight_ih: F32  # (4H, I)
    weight_hh: F32  # (4H, H)
    bias: F32  # (4H,)


class Peer(Protocol):
    """One layer of LSTM in one library, with a state for each row."""

    name: str
    tolerance: float  # largest difference of h from the reference after a few steps

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H), overwritten by a later call."""


def random_lstm(input_size: int, hidden_size: int) -> Lstm:
    """Return weights as PyTorch draws them for an untrained layer, always the same."""
    rng = np.random.default_rng(0)
    bound = hidden_size**-0.5

    def draw(*shape: int) -> F32:
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    return Lstm(draw(4 * hidden_size, input_size), draw(4 * hidden_size, hidden_size), draw(4 * hidden_size))


def random_inputs(n: int, rows: int, input_size: int) -> list[F32]:
    """Return ``n`` inputs (rows, I)."""
    rng = np.random.default_rng(1)
    return list(rng.normal(0, 1, (n, rows, input_size)).astype(np.float32))


def reference(lstm: Lstm, inputs: list[F32]) -> NDArray[np.float64]:
    """Return h (rows, H) after the inputs, from a zero state, in float64."""
    w_ih, w_hh, bias = (array.astype(np.float64) for array in lstm)
    h = c = np.zeros((len(inputs[0]), w_hh.shape[1]))
    for x in inputs:
        i, f, g, o = np.split(x @ w_ih.T + h @ w_hh.T + bias, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    return h


def check(peer: Peer, input_size: int, hidden_size: int, rows: int) -> float:
    """Run a fresh peer a few steps, so that nothing wrong is timed; return the largest error of h.

    Raises:
        ValueError: it computes something else.
    """
    inputs = random_inputs(STEPS, rows, input_size)
    for x in inputs:
        h = peer.step(x)
    worst = float(np.abs(h - reference(random_lstm(input_size, hidden_size), inputs)).max())
    if not worst <= peer.tolerance:
        message = f"{peer.name} {input_size}/{hidden_size} x {rows}: h is off by {worst}, expected {peer.tolerance}"
        raise ValueError(message)
    return worst
