"""One function per Keras layer: its settings and arrays, as part of the model that is being built."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_lstm.convert.formats.keras import activations as keras_activations
from edge_lstm.convert.formats.keras.builder import Affine, Builder
from edge_lstm.convert.formats.keras.cells import cudnn_lstm, lstm, rnn
from edge_lstm.convert.formats.keras.hdf5 import Array
from edge_lstm.convert.formats.keras.settings import Layer, Settings, layer_of, refuse
from edge_lstm.convert.formats.keras.variables import Variables
from edge_lstm.convert.model import MAX_UNITS, Dense, Matrix

EPSILON = 1e-7  # keras.config.epsilon(): the least standard deviation that Normalization divides by
Handler = Callable[[Builder, Layer, Variables], None]


def apply(builder: Builder, layer: Layer, variables: Variables) -> None:
    """Read one layer into the model that is being built.

    Raises:
        WeightsError: a layer, setting or array that is not known here, or can't be streamed.
    """
    handler = _HANDLERS.get(layer.kind)
    if handler is None:
        refuse(f"{layer.where} can't be imported: known are {', '.join(sorted(_HANDLERS))}")
    if builder.ended:
        refuse(f"{layer.where} stands behind {builder.ended}, which must be the last")
    handler(builder, layer, variables)
    variables.done()
    if _precision(layer.config.get("dtype")) not in (None, "float32", "float64"):
        builder.notes.append(f"{layer.where} computes in {_precision(layer.config['dtype'])!r:.80} in Keras")


def _precision(policy: Any) -> Any:
    """Return the name of a dtype policy, of the one that was quantized if it is such."""
    inside = policy.get("config") if isinstance(policy, dict) else None
    return inside.get("name", inside.get("source_name")) if isinstance(inside, dict) else policy


def floats(array: Array, where: str) -> Array:
    """Return an array of floats in float64; refuse any other."""
    if array.dtype.kind != "f":
        refuse(f"{where} is {array.dtype}, expected floats; save the model as float32")
    return array.astype(np.float64)


def _identity(builder: Builder, layer: Layer, variables: Variables) -> None:
    Settings(layer).done()


def _dense(builder: Builder, layer: Layer, variables: Variables) -> None:
    _add_dense(builder, layer, variables, "")


def _add_dense(builder: Builder, layer: Layer, variables: Variables, place: str) -> None:
    if not builder.layers:
        refuse(f"{layer.where} stands before the LSTM; only a scaler can")
    settings = Settings(layer)
    units, use_bias = settings.size("units"), settings.flag("use_bias", True)
    activation = keras_activations.named(settings.raw("activation", "linear"), builder.major, layer.where)
    settings.done()
    quantized = _quantized(layer)
    roles = ["kernel", *(["bias"] if use_bias else []), *(["kernel_scale"] if quantized else [])]
    arrays = dict(zip(roles, variables.take(place, roles), strict=True))
    kernel = arrays["kernel"]
    if kernel.shape != (builder.width, units) or units > MAX_UNITS:
        refuse(
            f"{layer.where}: kernel has shape {kernel.shape}, expected {(builder.width, units)}, at most {MAX_UNITS}"
        )
    bias = floats(arrays["bias"], f"{layer.where}: bias") if use_bias else np.zeros(units)
    if bias.shape != (units,):
        refuse(f"{layer.where}: bias has shape {bias.shape}, expected {(units,)}")
    weight = _integers(arrays, layer) if quantized else Matrix.of_floats(floats(kernel.T, f"{layer.where}: kernel"))
    weight, bias = builder.absorb(weight, bias)
    builder.head.append(Dense(layer.name, weight, bias, activation))


def _quantized(layer: Layer) -> bool:
    """Tell whether the layer's kernel is int8; other quantizations are refused."""
    policy = layer.config.get("dtype")
    inside = policy.get("config") if isinstance(policy, dict) else None
    mode = inside.get("mode") if isinstance(inside, dict) else None
    if mode not in (None, "int8"):
        refuse(f"{layer.where} is quantized as {mode!r:.80}, expected int8 or floats")
    return mode == "int8"


def _integers(arrays: dict[str, Array], layer: Layer) -> Matrix:
    """Return int8 weights; Keras divides by its scale, so ours is one over it."""
    kernel, scale = arrays["kernel"], floats(arrays["kernel_scale"], f"{layer.where}: kernel_scale")
    if kernel.dtype != np.int8:
        refuse(f"{layer.where}: kernel is {kernel.dtype}, expected int8, as its dtype says")
    if scale.shape != kernel.shape[1:] or not ((scale > 1e-15) & (scale < 1e15)).all():
        refuse(f"{layer.where}: kernel_scale is not {kernel.shape[1]} numbers > 0")
    return Matrix.of_integers(kernel.T, 1.0 / scale)


def _time_distributed(builder: Builder, layer: Layer, variables: Variables) -> None:
    settings = Settings(layer)
    inner = layer_of(settings.raw("layer"), layer.where)
    settings.done()
    if inner.kind != "Dense":
        refuse(f"{layer.where} holds {inner.where}, expected a Dense")
    if not builder.sequence:
        refuse(f"{layer.where} stands behind a layer that hands on the last row only")
    _add_dense(builder, inner, variables, "layer")


def _activation(builder: Builder, layer: Layer, variables: Variables) -> None:
    builder.activate(keras_activations.of_layer(layer, builder.major), layer)


def _normalization(builder: Builder, layer: Layer, variables: Variables) -> None:
    settings = Settings(layer)
    settings.expect("invert", (False,), "an inverted normalization would scale the inputs up, not down")
    settings.expect("axis", ([-1], [2], -1, 2, (), [], None), "only one mean per channel can be streamed")
    mean, variance = (_values(settings.raw(key, None), key, layer) for key in ("mean", "variance"))
    settings.done()
    if (mean is None) != (variance is None):
        refuse(f"{layer.where} has a mean or a variance, expected both or none")
    if mean is None or variance is None:
        mean, variance, _ = variables.take("", ("mean", "variance", "count"))
    mean, variance = (floats(np.atleast_1d(array), layer.where).ravel() for array in (mean, variance))
    if not (variance >= 0).all() or mean.shape != variance.shape:
        refuse(f"{layer.where}: mean and variance are not numbers of one size, or a variance is negative")
    k = 1.0 / np.maximum(np.sqrt(variance), EPSILON)
    builder.scale(Affine(k, -mean * k, layer.where), layer)


def _values(value: Any, key: str, layer: Layer) -> Array | None:
    """Return numbers of the configuration, nested as they may be."""
    if value is None:
        return None
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        value = value["config"].get("value")  # an array, as Keras 3 serializes it
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        refuse(f"{layer.where}: {key} is {value!r:.80}, expected numbers")


def _rescaling(builder: Builder, layer: Layer, variables: Variables) -> None:
    settings = Settings(layer)
    k, t = (_values(settings.raw(key), key, layer) for key in ("scale", "offset"))
    settings.done()
    if k is None or t is None or (k.size != t.size and 1 not in (k.size, t.size)):
        refuse(f"{layer.where}: scale and offset are not numbers of one size")
    k, t = np.broadcast_arrays(k.ravel(), t.ravel())
    builder.scale(Affine(k, t, layer.where), layer)


def _batch_normalization(builder: Builder, layer: Layer, variables: Variables) -> None:
    settings = Settings(layer)
    last = 2 if builder.sequence else 1
    settings.expect("axis", (-1, last, [-1], [last]), "only one mean per channel can be streamed")
    settings.expect("renorm", (False,), "batch renormalization has arrays of its own; leave it off")
    epsilon = settings.number("epsilon", 1e-3)
    scale, center = settings.flag("scale", True), settings.flag("center", True)
    settings.done()
    roles = [*(["gamma"] if scale else []), *(["beta"] if center else []), "moving_mean", "moving_variance"]
    arrays = [floats(array, layer.where).ravel() for array in variables.take("", roles)]
    mean, variance = arrays[-2:]
    if len({array.size for array in arrays}) > 1 or epsilon < 0 or not (variance + epsilon > 0).all():
        refuse(f"{layer.where}: its arrays are not of one size, or a variance is negative")
    k = (arrays[0] if scale else np.ones(mean.size)) / np.sqrt(variance + epsilon)
    beta = arrays[int(scale)] if center else np.zeros(mean.size)
    builder.normalize(Affine(k, beta - mean * k, layer.where), layer)


def _flatten(builder: Builder, layer: Layer, variables: Variables) -> None:
    settings = Settings(layer)
    settings.expect("data_format", ("channels_last", None), "only channels_last can be streamed")
    settings.done()
    _row_only(builder, layer)


def _reshape(builder: Builder, layer: Layer, variables: Variables) -> None:
    settings = Settings(layer)
    target = settings.raw("target_shape")
    settings.done()
    _row_only(builder, layer)
    if not isinstance(target, list) or not all(type(size) is int for size in target):
        refuse(f"{layer.where}: target_shape is {target!r:.80}, expected whole numbers")
    if len(target) != 1:
        builder.ended = layer.where
        builder.notes.append(f"{layer.where} to {target!r:.80} is left out: its values stay one row, in their order")


def _row_only(builder: Builder, layer: Layer) -> None:
    if builder.sequence:
        refuse(f"{layer.where} mixes the rows of a window; set return_sequences of the last LSTM to False")


_HANDLERS: dict[str, Handler] = {
    "LSTM": lstm,
    "RNN": rnn,
    "CuDNNLSTM": cudnn_lstm,
    "Dense": _dense,
    "TimeDistributed": _time_distributed,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "BatchNormalization": _batch_normalization,
    "Flatten": _flatten,
    "Reshape": _reshape,
    **dict.fromkeys(keras_activations.LAYERS, _activation),
    # identities at inference
    **dict.fromkeys(("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout"), _identity),
    "ActivityRegularization": _identity,
    "Identity": _identity,
}
