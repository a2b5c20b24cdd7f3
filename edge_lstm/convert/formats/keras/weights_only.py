"""What a file of weights alone says of its model, and what has to be assumed."""

import re
from collections.abc import Sequence

from edge_lstm.convert.formats.keras.chain import Chain
from edge_lstm.convert.formats.keras.hdf5 import Array, Contents
from edge_lstm.convert.formats.keras.settings import Layer, refuse
from edge_lstm.convert.formats.keras.variables import TOP_LEVEL, container, leaf
from edge_lstm.convert.model import GATES

ASSUMED = (
    "a file of weights alone does not say what its layers compute: assumed are Keras' defaults (tanh and sigmoid in "
    "the LSTM, a linear dense layer, forward in time, no window); save the whole model, model.save('model.keras'), to "
    "be sure"
)
_ADVICE = "save the whole model instead: model.save('model.keras')"
_IDENTITIES = {
    "dropout": "Dropout",
    "spatial_dropout1d": "SpatialDropout1D",
    "gaussian_noise": "GaussianNoise",
    "input_layer": "InputLayer",
    "input": "InputLayer",
}
_BY_PLACE = {
    **_IDENTITIES,
    "lstm": "LSTM",
    "cu_dnnlstm": "CuDNNLSTM",
    "dense": "Dense",
    "normalization": "Normalization",
}
_ORDER = ("InputLayer", "Normalization", "LSTM", "CuDNNLSTM", "Dense", *_IDENTITIES.values())


def by_place(contents: Contents) -> Chain:
    """Return the layers in the layout of Keras 3, whose groups are named after the classes.

    Raises:
        WeightsError: the names do not tell the order of the layers, or what they compute.
    """
    top = container(contents) or refuse("the weights have no group of layers")
    found = []
    for group in contents.children(top):
        name, number = _numbered(group)
        kind = _BY_PLACE.get(name) or refuse(f"a file of weights alone does not say what {group!r} is; {_ADVICE}")
        within = contents.within(f"{top}/{group}")
        told = contents.text(f"{top}/{group}/vars", "name") or group
        found.append((_ORDER.index(kind), number, Layer(kind, told, _config(kind, list(within.arrays.values()), told))))
    found.sort(key=lambda one: one[:2])
    return _checked([layer for _, _, layer in found])


def by_name(contents: Contents) -> Chain:
    """Return the layers in the layout of Keras 2, which lists them in order, under the names their authors gave them.

    Raises:
        WeightsError: the names and shapes do not tell what a layer is.
    """
    layers = []
    for name in contents.names("", "layer_names") or ():
        within = contents.within(name)
        names = within.names("", "weight_names") or []
        arrays = [within.arrays[path] for path in names if path in within.arrays]
        kind = _kind(name, [leaf(path) for path in names], arrays)
        layers.append(Layer(kind, name, _config(kind, arrays, name)))
    if any(layer.kind == "LSTM" for layer in layers):
        _require_default_sigmoid(contents)
    return _checked(layers)


def _require_default_sigmoid(contents: Contents) -> None:
    version = re.match(r"(\d+)\.(\d+)", contents.text("", "keras_version") or "")
    if version is None or (int(version[1]), int(version[2])) < (2, 3):
        refuse(
            "weights alone, of a Keras before 2.3, where an LSTM's default gate was hard_sigmoid in one version and "
            f"sigmoid in another; {_ADVICE}"
        )


def _numbered(group: str) -> tuple[str, int]:
    """Return ("lstm", 2) of "lstm_2"."""
    match = re.fullmatch(r"(.+?)(?:_(\d{1,4}))?", group)
    return (match[1], int(match[2] or 0)) if match else (group, 0)


def _kind(name: str, roles: Sequence[str], arrays: Sequence[Array]) -> str:
    known = {
        ("kernel", "bias"): "Dense",
        ("kernel",): "Dense",
        ("mean", "variance", "count"): "Normalization",
        ("kernel", "recurrent_kernel"): "LSTM",
        ("kernel", "recurrent_kernel", "bias"): "LSTM",
    }
    kind = known.get(tuple(roles)) or (None if roles else _IDENTITIES.get(_numbered(name)[0]))
    if kind is None or len(arrays) != len(roles):
        refuse(f"a file of weights alone does not say what layer {name!r} with {list(roles)} is; {_ADVICE}")
    if kind == "LSTM" and len(arrays) == 3 and arrays[1].ndim and arrays[2].shape == (2 * GATES * arrays[1].shape[0],):
        return "CuDNNLSTM"
    return kind


def _config(kind: str, arrays: Sequence[Array], name: str) -> dict[str, object]:
    """Return the settings that the arrays' shapes tell, and the defaults of those that a layer must have."""
    biased = {"use_bias": any(array.ndim == 1 for array in arrays)}
    widths = [array.shape[1] for array in arrays if array.ndim == 2]
    if kind not in ("LSTM", "CuDNNLSTM", "Dense"):
        return {}
    if not widths:
        refuse(f"layer {name!r} has no matrix of weights")
    if kind == "Dense":
        return {"units": widths[0], **biased}
    config: dict[str, object] = {"units": widths[0] // GATES, "return_sequences": True}
    return (
        config if kind == "CuDNNLSTM" else config | biased | {"activation": "tanh", "recurrent_activation": "sigmoid"}
    )


def _checked(layers: Sequence[Layer]) -> Chain:
    if sum(layer.kind == "Dense" for layer in layers) > 1:
        refuse(f"weights alone, with several dense layers whose activations they do not say; {_ADVICE}")
    if len({layer.kind for layer in layers if layer.kind in ("LSTM", "CuDNNLSTM")}) > 1:
        refuse(f"weights alone, of LSTM and CuDNNLSTM layers, whose order they do not say; {_ADVICE}")
    body = tuple(layer for layer in layers if layer.kind != "InputLayer")
    return Chain(tuple(layers), body, None)


__all__ = ["ASSUMED", "TOP_LEVEL", "by_name", "by_place"]
