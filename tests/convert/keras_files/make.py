"""Writes the files of Keras 2 in this folder; see README.md."""

import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import h5py
import numpy as np
import tf_keras as keras
from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

HERE = Path(__file__).parent
L = keras.layers
ROWS, INPUTS, WINDOW = 60, 3, 12
random = np.random.default_rng(2)


def filled(model: keras.Model) -> keras.Model:
    """Give every weight a random value; variances and factors stay positive."""
    for layer in model.layers:
        values = [random.uniform(-0.6, 0.6, w.shape).astype(np.float32) for w in layer.get_weights()]
        if isinstance(layer, L.BatchNormalization):
            values = [np.abs(v) + 0.2 for v in values]
        if not isinstance(layer, L.Normalization):
            layer.set_weights(values)
    return model


def last_of_windows(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return model.predict(x.reshape(-1, WINDOW, INPUTS), verbose=0)


def main() -> None:
    x = random.standard_normal((ROWS, INPUTS)).astype(np.float32)
    outputs = {"x": x}
    normalization = L.Normalization()
    normalization.adapt(random.normal(3.0, 2.0, (200, WINDOW, INPUTS)))
    sequential = filled(
        keras.Sequential(
            [
                L.Input((WINDOW, INPUTS)),
                normalization,
                L.LSTM(5, recurrent_activation="hard_sigmoid", activation="softsign", dropout=0.1),
                L.Dense(3, use_bias=False),
                L.BatchNormalization(),
                L.LeakyReLU(0.1),
            ]
        )
    )
    outputs["sequential"] = last_of_windows(sequential, x)
    sequential.save(HERE / "sequential.h5")

    trained = filled(keras.Sequential([L.Input((WINDOW, INPUTS)), L.LSTM(3, recurrent_activation="hard_sigmoid")]))
    trained.compile("sgd", "mse")
    trained.fit(x.reshape(-1, WINDOW, INPUTS), np.zeros((ROWS // WINDOW, 3)), verbose=0)
    outputs["trained"] = last_of_windows(trained, x)
    trained.save(HERE / "trained.keras")
    trained.save(HERE / "trained.h5")

    for name, cell in (("stateful.keras", L.LSTMCell(4)), ("stacked.h5", [L.LSTMCell(4), L.LSTMCell(3)])):
        rnn = L.RNN(cell, return_sequences=True, stateful=True, batch_input_shape=(1, 1, INPUTS))
        stateful = filled(keras.Sequential([rnn, L.TimeDistributed(L.Dense(2, activation="swish"))]))
        rows = [stateful.predict(row[None, None], verbose=0)[0] for row in x]
        outputs[name.partition(".")[0]] = np.concatenate(rows)
        stateful.save(HERE / name)

    inputs = keras.Input((None, INPUTS))
    functional = filled(keras.Model(inputs, L.Dense(2)(L.LSTM(4, return_sequences=True)(inputs))))
    outputs["functional"] = functional.predict(x[None], verbose=0)[0]
    functional.save(HERE / "functional.h5")
    functional.save_weights(HERE / "numbered.weights.h5")
    functional.save_weights(HERE / "named_weights.h5")

    # cuDNN needs a GPU; what its weights mean is what Keras itself makes of them for an LSTM
    cudnn = filled(keras.Sequential([L.Input((None, INPUTS)), CuDNNLSTM(4, return_sequences=True), L.Dense(2)]))
    cudnn.save(HERE / "cudnn.h5")
    plain = keras.Sequential([L.Input((None, INPUTS)), L.LSTM(4, return_sequences=True), L.Dense(2)])
    with h5py.File(HERE / "cudnn.h5") as file:
        keras.src.saving.legacy.hdf5_format.load_weights_from_hdf5_group(file["model_weights"], plain)
    outputs["cudnn"] = plain.predict(x[None], verbose=0)[0]
    np.savez(HERE / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
