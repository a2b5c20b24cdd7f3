"""Random Keras models of what can be imported."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

from typing import Any

import keras
import numpy as np
import torch

torch.set_num_threads(1)  # small networks
L = keras.layers
CELL = ("tanh", "tanh", "softsign", "hard_tanh", "elu", "sigmoid")
GATE = ("sigmoid", "sigmoid", "hard_sigmoid")
DENSE = (
    "linear", "relu", "tanh", "sigmoid", "hard_sigmoid", "elu", "selu", "softplus", "softsign", "swish", "silu",
    "relu6", "leaky_relu", "hard_tanh",
)  # fmt: skip


class Draw:
    """One random architecture; ``Draw(seed).model`` is built and filled."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.inputs = int(self.random.integers(1, 7))
        self.kind = ("open", "window", "stateful")[seed % 3]
        self.window = {"open": None, "window": int(self.random.integers(2, 30)), "stateful": 1}[self.kind]
        self.sequence = bool(seed % 2)
        self.model = filled(self._model(functional=self.random.random() < 0.4), self.random)

    def pick(self, values: Any) -> Any:
        return values[int(self.random.integers(len(values)))]

    def _model(self, functional: bool) -> Any:
        batch = 1 if self.kind == "stateful" else None
        start = keras.Input(batch_shape=(batch, self.window, self.inputs))
        body = [*self._scalers(), *self._recurrent(), *self._head()]
        if not functional:
            return keras.Sequential([start, *body])
        at = start
        for layer in body:
            at = layer(at)
        return keras.Model(start, at)

    def _scalers(self) -> list[Any]:
        kind = self.pick(("none", "given", "adapted", "rescaling", "batch"))
        if kind == "given":
            return [L.Normalization(mean=list(range(self.inputs)), variance=[2.5] * self.inputs)]
        if kind == "adapted":
            layer = L.Normalization()
            layer.adapt(self.random.normal(2.0, 3.0, (64, self.inputs)))
            return [layer]
        return {"none": [], "rescaling": [L.Rescaling(0.5, 0.25)], "batch": [L.BatchNormalization()]}[kind]

    def _recurrent(self) -> list[Any]:
        options = {"stateful": self.kind == "stateful"}
        if self.random.random() < 0.2:
            cells = [L.LSTMCell(self._units(), **self._cell()) for _ in range(int(self.random.integers(1, 4)))]
            return [L.RNN(cells if len(cells) > 1 else cells[0], return_sequences=self.sequence, **options)]
        count, found = int(self.random.integers(1, 4)), []
        for k in range(count):
            sequence = self.sequence or k < count - 1
            found.append(L.LSTM(self._units(), return_sequences=sequence, **self._cell(), **options))
            found += self.pick(([], [], [L.Dropout(0.3)], [L.BatchNormalization()], [L.GaussianNoise(0.1)]))
        if isinstance(found[-1], L.BatchNormalization):
            found.append(L.Dense(self._units()))
        return found

    def _units(self) -> int:
        return int(self.random.integers(1, 25))

    def _cell(self) -> dict[str, Any]:
        return {
            "activation": self.pick(CELL),
            "recurrent_activation": self.pick(GATE),
            "use_bias": self.random.random() < 0.8,
            "dropout": self.pick((0.0, 0.2)),
        }

    def _head(self) -> list[Any]:
        found: list[Any] = [] if self.sequence else self.pick(([], [L.Flatten()]))
        for _ in range(int(self.random.integers(0, 3))):
            activation = L.LeakyReLU(0.1) if self.random.random() < 0.1 else self.pick(DENSE)
            dense = L.Dense(self._units(), activation=activation, use_bias=self.random.random() < 0.8)
            found.append(L.TimeDistributed(dense) if self.sequence and self.random.random() < 0.4 else dense)
        layers = (
            [],
            [L.ReLU(max_value=2.0)],
            [L.ELU(0.5)],
            [L.Activation("tanh")],
            [L.Dense(5), L.Softmax()],
            [L.ReLU()],
        )
        found += self.pick(layers)
        if found and isinstance(found[-1], L.Softmax):
            return found
        end = [L.Dense(4), L.BatchNormalization(), L.LeakyReLU(0.2)] if self.random.random() < 0.3 else [L.Dense(3)]
        return [*found, *end, *([] if self.sequence else self.pick(([], [L.Reshape((-1,))])))]


def filled(model: Any, random: np.random.Generator) -> Any:
    """Give every weight a random value, small enough that errors die out; variances and factors are positive."""
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            continue
        values = []
        for w in layer.get_weights():
            if w.dtype.kind == "f":
                w = random.uniform(-1.0, 1.0, w.shape) / np.sqrt(w.shape[0] if w.ndim > 1 else 4.0)
            values.append(w)
        if isinstance(layer, L.BatchNormalization):
            values = [np.abs(v) + 0.2 for v in values]
        layer.set_weights(values)
    return model
