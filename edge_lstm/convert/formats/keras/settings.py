"""A Keras layer and its settings: each one is asked for, known to be without meaning at inference, or refused."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from edge_lstm.errors import WeightsError

_WEIGHTS = ("kernel", "recurrent", "bias", "beta", "gamma", "moving_mean", "moving_variance", "activity")
# Names, and what acts while training only. unit_forget_bias says what the bias was before training, and the weights are
# those after it; implementation, unroll and return_state change how the same numbers are computed or handed out.
IGNORED = frozenset(
    {
        "name", "trainable", "dtype", "seed", "batch_input_shape", "batch_shape", "input_shape", "input_dim",
        "input_length", "batch_size", "sparse", "ragged", "optional", "dropout", "recurrent_dropout", "rate",
        "noise_shape", "stddev", "l1", "l2", "unit_forget_bias", "implementation", "unroll", "return_state",
        "zero_output_for_mask", "quantization_config", "momentum", "renorm_clipping", "renorm_momentum",
        "synchronized",
        *(f"{weight}_{what}" for weight in _WEIGHTS for what in ("initializer", "regularizer", "constraint")),
    }
)  # fmt: skip
_MISSING = object()


def refuse(message: str) -> NoReturn:
    """Raise it as a WeightsError."""
    raise WeightsError(message)


@dataclass(frozen=True)
class Layer:
    """One layer of the configuration."""

    kind: str
    name: str
    config: dict[str, Any] = field(repr=False)

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"layer {self.name!r} ({self.kind})"


def layer_of(entry: Any, inside: str) -> Layer:
    """Return the layer that a serialized object stands for.

    Raises:
        WeightsError: it is no layer, or one that is not Keras' own.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        refuse(f"{inside}: an entry of its layers is no layer with a configuration")
    kind, module, registered = entry.get("class_name"), entry.get("module"), entry.get("registered_name")
    config = entry["config"]
    name = config.get("name", entry.get("name", kind))
    if not isinstance(kind, str) or not isinstance(name, str):
        refuse(f"{inside}: a layer without class or name")
    own = module is None or (isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras"))
    if not own or registered not in (None, kind):
        refuse(
            f"layer {name!r} is a class of its author's ({registered or kind}), not one of Keras', and its code is not "
            "run; build the model from Keras' own layers"
        )
    return Layer(kind, name, config)


class Settings:
    """A layer's configuration, read once; ``done`` refuses what nobody asked for."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._left = {key: value for key, value in layer.config.items() if key not in IGNORED}

    def raw(self, key: str, default: Any = _MISSING) -> Any:
        """Return a setting as it is."""
        value = self._left.pop(key, default)
        if value is _MISSING:
            refuse(f"{self._layer.where} does not say its {key}")
        return value

    def flag(self, key: str, default: Any = _MISSING) -> bool:
        """Return a truth value."""
        value = self.raw(key, default)
        if isinstance(value, bool):
            return value
        refuse(f"{self._layer.where}: {key} is {value!r:.80}, expected true or false")

    def size(self, key: str) -> int:
        """Return a positive whole number."""
        value = self.raw(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        refuse(f"{self._layer.where}: {key} is {value!r:.80}, expected a whole number > 0")

    def number(self, key: str, default: Any = _MISSING) -> float:
        """Return a finite number; one that Keras wrapped as an array is unwrapped."""
        value = self.raw(key, default)
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            value = value["config"].get("value")
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        refuse(f"{self._layer.where}: {key} is {value!r:.80}, expected a finite number")

    def expect(self, key: str, allowed: Iterable[Any], why: str) -> None:
        """Refuse the layer if a setting that may be left out is none of those allowed."""
        allowed = list(allowed)
        value = self.raw(key, allowed[0])
        if not any(value is one or (type(value) is type(one) and value == one) for one in allowed):
            refuse(f"{self._layer.where}: {key} is {value!r:.80}; {why}")

    def done(self) -> None:
        """Refuse settings that nobody asked for."""
        if self._left:
            refuse(f"{self._layer.where} has settings that are not known here: {sorted(map(str, self._left))[:8]}")
