"""Chains of operators for the tests of LiteRT files: LSTMs between operators that move axes, and random ones."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.convert.tflite_files import options
from tests.convert.tflite_lstm import Chain, Layer, random_layer

STEPS = 1000


def layer(inputs: int = 3, hidden: int = 8) -> Layer:
    return random_layer(np.random.default_rng(11), inputs, hidden)


def put(chain: Chain, name: str, shape: tuple[int, ...], values: Any, **settings: Any) -> Chain:
    """Add an operator with one constant of int32."""
    table = options(settings.pop("kind"), **settings) if settings else None
    return chain.step(name, shape, chain.graph.constant(np.array(values, np.int32)), options=table)


def sequence() -> Chain:
    """Return an LSTM over 12 rows."""
    return Chain().input((1, 12, 3)).lstm(layer())


def transposed() -> Chain:
    chain = put(Chain().input((12, 1, 3)), "TRANSPOSE", (1, 12, 3), [1, 0, 2])
    return put(chain.lstm(layer()), "RESHAPE", (12, 8), [12, -1])


def rows_alone() -> Chain:
    chain = put(Chain().input((12, 3)), "RESHAPE", (1, 12, 3), [1, 12, 3])
    chain = put(chain.lstm(layer()), "GATHER", (1, 8), 11, kind="Gather", axis=1)
    return put(chain, "RESHAPE", (1, 8), [1, -1])


def squeezed(chain: Chain, shape: tuple[int, ...], *axes: int) -> Chain:
    return chain.step("SQUEEZE", shape, options=options("Squeeze", squeezeDims=list(axes)))


def one_row() -> Chain:
    return squeezed(put(Chain().input((1, 3)), "EXPAND_DIMS", (1, 1, 3), 1).lstm(layer()), (1, 8), 0)


def dense(chain: Chain, width: int) -> Chain:
    return chain.dense(np.eye(width, dtype=np.float32), None, keep=True)


def scaled(name: str, value: float, *, first: bool = True) -> Chain:
    chain = Chain().input((1, 12, 3))
    constant = chain.graph.constant(np.full(3, value, np.float32))
    return chain.step(name, (1, 12, 3), constant, options=options(name.title()), first=first).lstm(layer())


MOVED: dict[str, Callable[[], Chain]] = {"transpose": transposed, "rows alone": rows_alone, "one row": one_row}
REFUSED: dict[str, Callable[[], Chain]] = {
    "one channel": lambda: put(Chain().input((1, 12, 1)).lstm(layer(1, 1)), "RESHAPE", (1, 12), [1, 12]),
    "flattened": lambda: put(sequence(), "RESHAPE", (1, 96), [1, -1]),
    "channels moved": lambda: put(sequence(), "TRANSPOSE", (1, 8, 12), [0, 2, 1]),
    "first step": lambda: put(sequence(), "GATHER", (1, 8), 0, kind="Gather", axis=1),
    "after the last step": lambda: put(sequence().last_step(), "EXPAND_DIMS", (1, 1, 8), 1).lstm(layer(8)),
    "squeezed at will": lambda: squeezed(sequence(), (12, 8)),
    "dense before": lambda: dense(Chain().input((1, 12, 3)), 3).lstm(layer()),
    "dense between": lambda: dense(sequence(), 8).lstm(layer(8)),
    "negative scaler": lambda: scaled("MUL", -1.0),
    "turned scaler": lambda: scaled("SUB", 1.0, first=False),
}


def random_chain(seed: int) -> Chain:
    """Return a random file: 1 to 3 LSTM layers of every form, with scalers, heads, windows."""
    rng = np.random.default_rng(seed)

    def some(share: float) -> bool:
        return bool(rng.random() < share)

    kind = "LSTM" if seed % 6 == 5 else "UNIDIRECTIONAL_SEQUENCE_LSTM"
    window = 1 if kind == "LSTM" else (-1, 1, 25, STEPS)[seed % 4]
    chain = Chain("float16" if some(0.25) else "float32", time_major=some(0.4))
    width = int(rng.integers(1, 7))
    if kind == "LSTM":
        chain.input((1, width))
    else:
        time, batch = (0, 1) if chain.time_major else (1, 0)
        shape = [1, 1, width]
        shape[time] = max(window, 1)
        signature = list(shape)
        if window == -1:
            signature[time], signature[batch] = -1, -1 if some(0.5) else 1
        chain.input(tuple(shape), tuple(signature))
    if some(0.5):
        values = (0.5 + rng.random((2, width))).astype(np.float32)
        names = (("SUB", "DIV"), ("SUB", "MUL"), ("ADD", "MUL"), ("MUL", "ADD"))[seed % 4]
        for name, value in zip(names, values, strict=True):
            chain.step(name, chain.shape, chain.graph.constant(value), options=options(name.title()))
    for _ in range(rng.integers(1, 4)):
        form: dict[str, Any] = {name: some(0.4) for name in ("coupled", "peephole", "norm", "projection_bias")}
        form["activation"] = ("TANH", "TANH", "TANH", "RELU6", "RELU_N1_TO_1")[rng.integers(5)]
        form["projection"] = int(rng.integers(2, 6)) if some(0.4) else 0
        form |= {"cell_clip": 0.5 if some(0.2) else 0.0, "projection_clip": 0.3 if some(0.3) else 0.0}
        hidden = int(rng.integers(6 if form["norm"] else 2, 20))  # of two units, normalization leaves only the sign
        layer = random_layer(rng, chain.shape[-1], hidden, form.pop("projection"), **form)
        chain.lstm(layer, kind)
    if window == 25 and not chain.time_major and some(0.7):
        chain.last_step()
    random_head(chain, rng)
    return chain


def random_head(chain: Chain, rng: np.random.Generator) -> None:
    """Add 0 to 2 dense layers, an activation, and an output that is scaled back."""
    keep = bool(rng.random() < 0.5)
    for _ in range(rng.integers(0, 3)):
        weight = rng.normal(size=(rng.integers(1, 6), chain.shape[-1])).astype(np.float32)
        bias = rng.normal(size=len(weight)).astype(np.float32) if rng.random() < 0.7 else None
        chain.dense(weight, bias, ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")[rng.integers(4)], keep=keep)
    last = ("", "LOGISTIC", "TANH", "SOFTMAX", "scale")[rng.integers(5)]
    if last == "scale":
        for name, value in (("MUL", 3.0), ("ADD", -0.5)):
            constant = chain.graph.constant(np.full(chain.shape[-1], value, np.float32))
            chain.step(name, chain.shape, constant, options=options(name.title()), first=name == "MUL")
    elif last:
        table = options("Softmax", beta=1.0) if last == "SOFTMAX" else None
        chain.step(last, chain.shape, options=table)
