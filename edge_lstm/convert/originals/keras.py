"""The original Keras, run beside an imported model."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.keras.reader import source
from edge_lstm.convert.model import LINEAR, SIGMOID, TANH, Floats, Model
from edge_lstm.errors import WeightsError

PREFIXES = 10  # of a sequence, whose last outputs are compared where the file gives only the last


def run(path: Path, model: Model, x: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Run Keras and our mathematics on the same rows.

    From a zero state each: over the whole sequence if the file allows any length; over windows that follow each other
    if it has one; over prefixes of the sequence if it allows any length but gives the last output only.

    Args:
        path: the file that the model was read from; ``read`` has accepted it, so it holds no code.
        model: what was read.
        x: (n, I) rows in the units of the file.

    Returns:
        Keras' outputs (computed in float32) and ours, each (m, O).

    Raises:
        WeightsError: Keras is not installed, or does not load the file; or fewer rows than a window.
    """
    found = source(path)
    keras = _keras_2() if found.major == 2 else _keras_3()
    try:
        network = _rebuilt(keras, path, model) if found.config is None else keras.models.load_model(path, compile=False)
    except Exception as error:  # whatever a version of Keras says of the file
        message = f"{keras.__name__} {keras.__version__} does not load it: {error!s:.300}"
        raise WeightsError(message) from None
    x = np.asarray(x, np.float64)
    if model.stateful:
        return _stateful(network, x), mathematics.run(model, x)
    if model.window:
        return _windows(network, model, x)
    return _open(network, model, x)


def _keras_2() -> Any:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    try:
        import tf_keras
    except ImportError:
        raise WeightsError("Keras 2 is not installed: pip install tensorflow tf-keras, to run the original") from None
    return tf_keras


def _keras_3() -> Any:
    backends = [one for one in ("tensorflow", "torch", "jax") if importlib.util.find_spec(one)]
    os.environ.setdefault("KERAS_BACKEND", backends[0] if backends else "numpy")
    try:
        import keras
    except ImportError:
        raise WeightsError("Keras 3 is not installed: pip install keras torch, to run the original") from None
    return keras


def _rebuilt(keras: Any, path: Path, model: Model) -> Any:
    """Return the network that a file of weights alone is assumed to be of, its weights loaded by Keras itself."""
    layers = [keras.Input((None, model.input_size))]
    if model.scaler is not None:
        layers.append(keras.layers.Normalization())
    for layer in model.layers:
        _require_default((layer.gate, layer.candidate) == (SIGMOID, TANH))
        layers.append(keras.layers.LSTM(layer.hidden_size, return_sequences=True, use_bias=bool(np.any(layer.bias))))
    for dense in model.head:
        _require_default(dense.activation == LINEAR)
        layers.append(keras.layers.Dense(len(dense.bias), use_bias=bool(np.any(dense.bias))))
    network = keras.Sequential(layers)
    network.load_weights(path)
    return network


def _require_default(condition: bool) -> None:
    if not condition:
        raise WeightsError("weights alone, of a model that is not Keras' default")


def _predict(network: Any, x: Floats) -> Floats:
    """Return the outputs (batch, ..., O) for x (batch, rows, I)."""
    try:
        return np.asarray(network.predict_on_batch(x.astype(np.float32)), np.float64)
    except Exception as error:  # a CuDNNLSTM without a GPU, for one
        message = f"Keras does not run it on this machine: {error!s:.300}"
        raise WeightsError(message) from None


def _stateful(network: Any, x: Floats) -> Floats:
    """Return each call's outputs for the first of the network's streams; the others get the same."""
    batch, rows, _ = network.input_shape
    rows = rows or 1
    calls = x[: len(x) // rows * rows].reshape(-1, 1, rows, x.shape[1])
    outputs = [_predict(network, np.repeat(call, batch or 1, 0))[0] for call in calls]
    return np.concatenate([np.atleast_2d(one) for one in outputs])


def _windows(network: Any, model: Model, x: Floats) -> tuple[Floats, Floats]:
    windows = x[: len(x) // model.window * model.window].reshape(-1, model.window, x.shape[1])
    if not len(windows):
        message = f"{len(x)} rows, expected at least one window of {model.window}"
        raise WeightsError(message)
    theirs = _predict(network, windows)
    ours = np.stack([mathematics.run(model, window) for window in windows])
    if not _is_sequence(network):
        ours = ours[:, -1]
    return theirs.reshape(-1, model.output_size), ours.reshape(-1, model.output_size)


def _open(network: Any, model: Model, x: Floats) -> tuple[Floats, Floats]:
    ours = mathematics.run(model, x)
    if _is_sequence(network):
        return _predict(network, x[None])[0], ours
    ends = np.unique(np.linspace(1, len(x), PREFIXES).astype(int))
    theirs = [_predict(network, x[None, :end]).reshape(-1) for end in ends]
    return np.stack(theirs), ours[ends - 1]


def _is_sequence(network: Any) -> bool:
    """Tell whether the last recurrent layer hands on every row."""
    recurrent = [layer for layer in network.layers if hasattr(layer, "return_sequences")]
    return bool(recurrent[-1].return_sequences)
