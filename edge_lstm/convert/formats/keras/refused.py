"""Layers that can't be streamed, and why."""

from edge_lstm.convert.formats.keras.settings import Layer, refuse

_WHOLE = "needs the whole window at once; a stream has one row at a time"
REASONS = {
    "Bidirectional": "its backward half reads the future; train the model with plain LSTM layers",
    "GRU": "it is another cell; train the model with LSTM layers",
    "CuDNNGRU": "it is another cell; train the model with LSTM layers",
    "SimpleRNN": "it is another cell; train the model with LSTM layers",
    "ConvLSTM1D": "it convolves; train the model with LSTM layers",
    "ConvLSTM2D": "it convolves; train the model with LSTM layers",
    "Conv1D": _WHOLE,
    "MaxPooling1D": _WHOLE,
    "AveragePooling1D": _WHOLE,
    "GlobalMaxPooling1D": _WHOLE,
    "GlobalAveragePooling1D": _WHOLE,
    "Attention": _WHOLE,
    "AdditiveAttention": _WHOLE,
    "MultiHeadAttention": _WHOLE,
    "Embedding": "its inputs are words, not measured values",
    "Masking": "it skips rows by their value; in a stream every row counts, so leave it out",
    "RepeatVector": "an encoder-decoder answers after a whole window, many rows for one; train a model that gives one "
    "output per row",
    "LayerNormalization": "it depends on each row's own mean; leave it out, or use BatchNormalization",
    "Lambda": "its function is code, and code from a file is not run; use a layer of Keras",
    "Sequential": "it is a model inside the model; put its layers into one",
    "Functional": "it is a model inside the model; put its layers into one",
    "Model": "it is a model inside the model; put its layers into one",
    "PReLU": "its slopes per unit have no counterpart here; use LeakyReLU",
    "GetItem": "to take the last row, leave return_sequences of the last LSTM off instead",
    "Add": "a model with branches is not streamed",
    "Concatenate": "a model with branches is not streamed",
}


def refuse_known(layer: Layer) -> None:
    """Refuse a layer of which is known why it can't be streamed.

    Raises:
        WeightsError: it is one.
    """
    why = REASONS.get(layer.kind)
    if why is not None:
        refuse(f"{layer.where} can't be imported: {why}")
