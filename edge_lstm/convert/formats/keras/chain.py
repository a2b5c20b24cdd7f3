"""The layers of a Keras configuration in the order in which a row passes them."""

from dataclasses import dataclass
from typing import Any

from edge_lstm.convert.formats.keras.refused import refuse_known
from edge_lstm.convert.formats.keras.settings import Layer, layer_of, refuse

MAX_LAYERS = 256
INPUT = "InputLayer"


@dataclass(frozen=True)
class Chain:
    """A model's layers.

    Attributes:
        stored: all of them, in the order of the file, which names the weights' groups.
        layers: in the order of the stream, without the input.
        shape: (batch, rows, inputs) of the input, each None if open; or None if the file does not say.
    """

    stored: tuple[Layer, ...]
    layers: tuple[Layer, ...]
    shape: tuple[int | None, int | None, int | None] | None


def chain(config: Any) -> Chain:
    """Return the layers of a Sequential model, or of a Functional one that is a chain.

    Raises:
        WeightsError: it is neither.
    """
    if not isinstance(config, dict):
        refuse("the model's configuration is not a JSON object")
    kind, body = config.get("class_name"), config.get("config")
    if kind == "Sequential":
        # a list alone until Keras 2.2.2
        return _sequential(body if isinstance(body, list) else _list(body, "layers"))
    if kind in ("Functional", "Model"):
        return _functional(body)
    refuse(f"the model is a {kind!r:.80}, expected a Sequential or Functional one, whose layers the file says")


def _list(body: Any, key: str) -> list[Any]:
    found = body.get(key) if isinstance(body, dict) else None
    if not isinstance(found, list) or len(found) > MAX_LAYERS:
        refuse(f"the model's configuration has no list of at most {MAX_LAYERS} as its {key}")
    return found


def _layers(entries: list[Any]) -> list[Layer]:
    layers = [layer_of(entry, "the model") for entry in entries]
    for layer in layers:
        refuse_known(layer)
    names = [layer.name for layer in layers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        refuse(f"two layers are named {twice!r}")
    return layers


def _sequential(entries: list[Any]) -> Chain:
    layers = _layers(entries)
    if any(layer.kind == INPUT for layer in layers[1:]):
        refuse("an InputLayer stands behind other layers")
    body = [layer for layer in layers if layer.kind != INPUT]
    # a Sequential model does not count its InputLayer among its layers
    return Chain(tuple(body), tuple(body), _shape(layers[0]) if layers else None)


def _functional(body: Any) -> Chain:
    entries = _list(body, "layers")
    layers = _layers(entries)
    by_name = {layer.name: layer for layer in layers}
    feeds = {layer.name: _source(entry, layer) for layer, entry in zip(layers, entries, strict=True)}
    ends = [_end(body, key) for key in ("input_layers", "output_layers")]
    order: list[str] = []
    at: str | None = ends[1]
    while at is not None:
        if at not in by_name or at in order:
            refuse(f"the configuration's connections lead to {at!r}, which is no layer, or in a circle")
        order.append(at)
        at = feeds[at]
    aside = next((layer for layer in layers if layer.name not in order), None)
    if aside is not None:
        refuse(f"{aside.where} is not on the way from the input to the output; a model with branches is not streamed")
    first = by_name[order[-1]]
    if first.kind != INPUT or first.name != ends[0] or sum(layer.kind == INPUT for layer in layers) > 1:
        refuse(f"the chain begins at {first.where}, expected its one InputLayer")
    return Chain(tuple(layers), tuple(by_name[name] for name in reversed(order[:-1])), _shape(first))


def _end(body: Any, key: str) -> str:
    """Return the one layer at an end: ["a", 0, 0], or a list of one such."""
    ends = _list(body, key)
    if ends and isinstance(ends[0], str):
        ends = [ends]
    if len(ends) != 1:
        refuse(f"the model has {len(ends)} {key}, expected one: a stream has one input and one output")
    return _history(ends[0], f"the model's {key}")


def _history(value: Any, where: str) -> str:
    """Return the layer of (layer, call, output), the first output of its only call."""
    if not isinstance(value, list) or len(value) < 3 or not isinstance(value[0], str):
        refuse(f"{where}: a connection is {value!r:.80}, expected [layer, 0, 0]")
    if value[1:3] != [0, 0]:
        refuse(
            f"{where} takes output {value[2]!r:.20} of call {value[1]!r:.20} of {value[0]!r}, "
            "only the first is streamed"
        )
    return str(value[0])


def _source(entry: dict[str, Any], layer: Layer) -> str | None:
    """Return the name of the layer that one is fed by, None for an input."""
    nodes = entry.get("inbound_nodes")
    if not isinstance(nodes, list):
        refuse(f"{layer.where} does not say what it is fed by")
    if not nodes:
        return None
    if len(nodes) > 1:
        refuse(f"{layer.where} is used {len(nodes)} times; a shared layer is not streamed")
    node = nodes[0]
    return _node_of_keras_3(node, layer) if isinstance(node, dict) else _node_of_keras_2(node, layer)


def _node_of_keras_3(node: dict[str, Any], layer: Layer) -> str:
    arguments, options = node.get("args"), node.get("kwargs")
    tensor = arguments[0] if isinstance(arguments, list) and len(arguments) == 1 else None
    inside = tensor.get("config") if isinstance(tensor, dict) else None
    if not isinstance(inside, dict) or not isinstance(options, dict):
        refuse(f"{layer.where} takes several inputs; a model with branches is not streamed")
    _plain(options, layer)
    return _history(inside.get("keras_history"), layer.where)


def _node_of_keras_2(node: Any, layer: Layer) -> str:
    tensors = [node] if isinstance(node, list) and node and isinstance(node[0], str) else node
    if not isinstance(tensors, list) or len(tensors) != 1:
        refuse(f"{layer.where} takes several inputs; a model with branches is not streamed")
    source = _history(tensors[0], layer.where)
    _plain(tensors[0][3] if len(tensors[0]) > 3 else {}, layer)
    return source


def _plain(options: Any, layer: Layer) -> None:
    """Refuse a call with more than its input: an initial state, a mask, dropout that stays on."""
    given = options if isinstance(options, dict) else {"its call": options}
    told = [key for key, value in given.items() if value not in (None, False)]
    if told:
        refuse(f"{layer.where} is called with {told[0]}, which a stream does not have")


def _shape(layer: Layer) -> tuple[int | None, int | None, int | None] | None:
    config = layer.config
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 3 or not all(_is_size(size) for size in shape):
        refuse(f"{layer.where} takes the shape {shape!r:.80}, expected (batch, rows, inputs)")
    return shape[0], shape[1], shape[2]


def _is_size(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31)
