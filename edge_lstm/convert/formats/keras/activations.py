"""Keras' activations, by the names and settings that its configurations have."""

from typing import Any

from edge_lstm.convert.formats.keras.settings import Layer, Settings, layer_of, refuse
from edge_lstm.convert.model import LINEAR, RELU, RELU6, SIGMOID, SOFTMAX, TANH, Activation, hard_sigmoid

SELU = Activation("elu", 1.6732632423543772, 1.0507009873554805)
HARD_TANH = Activation("clipped", 1.0, 0.0, -1.0, 1.0)
SLOPE_OF_NAME = 0.2  # of "leaky_relu" by name, in Keras 2 and 3 alike
_BY_NAME = {
    "linear": LINEAR,
    "relu": RELU,
    "relu6": RELU6,
    "tanh": TANH,
    "hard_tanh": HARD_TANH,
    "sigmoid": SIGMOID,
    "softmax": SOFTMAX,
    "elu": Activation("elu"),
    "selu": SELU,
    "softplus": Activation("softplus"),
    "softsign": Activation("softsign"),
    "swish": Activation("swish"),
    "silu": Activation("swish"),
    "leaky_relu": Activation("leaky_relu", SLOPE_OF_NAME),
}
LAYERS = frozenset({"Activation", "ReLU", "LeakyReLU", "ELU", "Softmax"})


def named(value: Any, major: int, where: str) -> Activation:
    """Return the activation that a configuration's value stands for.

    Args:
        value: a name, None, or a serialized function or layer.
        major: of the Keras that wrote it: hard_sigmoid is 0.2 x + 0.5 in Keras 2 and x / 6 + 0.5 in Keras 3.
        where: the layer, for messages.

    Raises:
        WeightsError: a function that is not known, or code.
    """
    if isinstance(value, dict):
        if value.get("class_name") in LAYERS:
            return of_layer(layer_of(value, where), major)
        value = _function(value, where)
    if value is None:
        return LINEAR
    if value == "hard_sigmoid":
        return hard_sigmoid(0.2, 0.5) if major == 2 else hard_sigmoid(1.0 / 6.0, 0.5)
    found = _BY_NAME.get(value) if isinstance(value, str) else None
    return found or refuse(
        f"{where}: activation {value!r:.80} has no counterpart here; known are hard_sigmoid, "
        f"{', '.join(sorted(_BY_NAME))}"
    )


def _function(value: dict[str, Any], where: str) -> Any:
    """Return the name in a serialized function of Keras' own."""
    module, registered, name = value.get("module"), value.get("registered_name"), value.get("config")
    own = isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras")
    if value.get("class_name") != "function" or not own or registered not in (None, "function", name):
        refuse(
            f"{where}: its activation is a function of its author's ({registered or value.get('class_name')!r:.80}); "
            "code from a file is not run. Use one of Keras' own"
        )
    return name


def of_layer(layer: Layer, major: int) -> Activation:
    """Return what a layer that is only an activation computes.

    Raises:
        WeightsError: its settings have no counterpart here.
    """
    settings = Settings(layer)
    found = _OF_LAYER[layer.kind](settings, major, layer.where)
    settings.done()
    return found


def _relu(settings: Settings, _: int, where: str) -> Activation:
    ceiling = settings.raw("max_value", None)
    slope = settings.number("negative_slope", 0.0)
    settings.expect("threshold", (0.0, 0, None), "only a threshold of 0 has a counterpart here")
    if ceiling is None:
        return Activation("leaky_relu", slope) if slope else RELU
    if slope or not isinstance(ceiling, int | float) or not 0 < ceiling < 1e15:
        refuse(f"{where}: max_value {ceiling!r:.80} with negative_slope {slope} has no counterpart here")
    return Activation("clipped", 1.0, 0.0, 0.0, float(ceiling))


def _leaky_relu(settings: Settings, major: int, _: str) -> Activation:
    return Activation("leaky_relu", settings.number("alpha" if major == 2 else "negative_slope", 0.3))


def _softmax(settings: Settings, _: int, __: str) -> Activation:
    settings.expect("axis", (-1,), "only a softmax over the last axis can be streamed")
    return SOFTMAX


_OF_LAYER = {
    "Activation": lambda settings, major, where: named(settings.raw("activation"), major, where),
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": lambda settings, _, __: Activation("elu", settings.number("alpha", 1.0)),
    "Softmax": _softmax,
}
