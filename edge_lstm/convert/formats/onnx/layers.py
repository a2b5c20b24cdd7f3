"""LSTM nodes: from ONNX's layouts and gate order i, o, f, c to ours."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_lstm.convert.formats.onnx.activations import activations
from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import Carried, Constant, Stream, Value, features_axis, length
from edge_lstm.convert.model import TANH, Activation, Floats, Lstm, Matrix, stacked

SATURATED = 9.0  # tanh beyond is 1 in float32  # tanh beyond is 1 in float32


def _forward(node: Node) -> None:
    direction = node.attribute("direction", "STRING", "forward")
    if direction == "reverse":
        node.refuse("reads the sequence backwards (direction 'reverse'): it needs the future, so it can't be streamed")
    if direction == "bidirectional":
        node.refuse("is bidirectional: it needs the future, so it can't be streamed; train a forward one")
    if direction != "forward":
        node.refuse(f"has direction {direction!r}, expected 'forward'")


def _ours(matrix: Matrix) -> Matrix:
    """Return rows i, o, f, c as i, f, g, o."""
    hidden = matrix.shape[0] // 4
    return matrix.rows(np.concatenate([np.arange(k * hidden, (k + 1) * hidden) for k in (0, 2, 3, 1)]))


def _coupled(matrix: Matrix) -> Matrix:
    """Return it with -i for f."""
    i, _, g, o = (slice(k * matrix.shape[0] // 4, (k + 1) * matrix.shape[0] // 4) for k in range(4))
    return stacked([matrix.rows(i), matrix.rows(i, -1), matrix.rows(g), matrix.rows(o)])


@dataclass(frozen=True)
class Weights:
    """W (4H, I) and R (4H, H) of a node, rows as ONNX orders them."""

    ih: Constant
    hh: Constant


def _one_direction(node: Node, constant: Constant, what: str, rank: int) -> Constant:
    if constant.values.ndim != rank or constant.values.shape[0] != 1:
        node.refuse(f"has {what} of shape {constant.values.shape}, expected {rank} axes, the first of one direction")
    return constant.map(lambda a: a[0])


def lstm(node: Node) -> list[Value]:
    """LSTM, of any version."""
    _forward(node)
    w, r = (_one_direction(node, node.needed(k), name, 3) for k, name in ((1, "W"), (2, "R")))
    if node.version < 7 and node.attribute("output_sequence", "INT", 0) not in (0, 1):
        node.refuse("has an output_sequence that is neither 0 nor 1")
    return _layer(node, Weights(w, r))


def dynamic_quantize_lstm(node: Node) -> list[Value]:
    """DynamicQuantizeLSTM of ONNX Runtime, whose weights are (1, I, 4H) integers."""
    _forward(node)
    found = []
    for at, name, scales in ((1, "W", 8), (2, "R", 10)):
        integers, scale, zero = (node.needed(k) for k in (at, scales, scales + 1))
        if integers.scale is not None or integers.values.dtype.name not in ("int8", "uint8"):
            node.refuse(f"has {name} of {integers.values.dtype}, expected integers of 8 bits")
        values = _one_direction(node, integers, name, 3).values
        columns = values.shape[1]
        parts = []
        for what, part in (("scale", scale.real), ("zero point", zero.values)):
            if part.size not in (1, columns) or part.ndim not in (0, 1, 2):
                node.refuse(f"has a {what} of {name} of shape {part.shape}, expected (1,) or (1, {columns})")
            parts.append(np.broadcast_to(part.reshape(1, -1), values.shape))
        found.append(Constant(values, np.asarray(parts[0], np.float64), parts[1]).map(lambda a: a.T))
    node.note("the file's runtime rounds each layer's inputs to 8 bits as it runs; the model here does not")
    return _layer(node, Weights(found[0], found[1]))


def _layer(node: Node, weights: Weights) -> list[Value]:
    x, layout = node.stream(), node.attribute("layout", "INT", 0)
    if layout not in (0, 1):
        node.refuse(f"has layout {layout}, expected 0 or 1")
    time, batch = _steps(node, x, bool(layout))
    layer = _parts(node, weights, time, batch)
    inputs = layer.input_size
    if x.features not in (0, inputs):  # 0: the file leaves it open
        node.refuse(f"takes {inputs} inputs (the columns of W), but gets {x.features}")
    scaled = max(x.chain.mean.size, x.chain.scale.size)
    if not x.chain.layers and scaled not in (1, inputs):
        node.refuse(f"takes {inputs} inputs, the scaler before it has {scaled}")
    chain = x.chain._replace(layers=(*x.chain.layers, layer), time=time, batch=batch)
    hidden, at = layer.hidden_size, len(x.chain.layers)
    along = features_axis(hidden)
    y = (batch, time, (), along) if layout else (time, (), batch, along)
    last = (batch, (), along) if layout else ((), batch, along)
    return [
        Stream(y, hidden, chain),
        Stream(last, hidden, chain, state=(at, "h")),
        Stream(last, hidden, chain, state=(at, "c")),
    ]


def _steps(node: Node, x: Stream, batch_first: bool) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    if len(x.axes) != 3:
        node.refuse(f"takes a tensor of {len(x.axes)} axes, expected 3")
    if x.state is not None and x.state[1] == "c":
        node.refuse("takes the cell state of a layer as its input, which is not supported")
    if x.chain.head:
        node.refuse(f"stands after {x.chain.head[-1].name}; between LSTM layers there can be nothing that computes")
    batch, time = (x.axes[0], x.axes[1]) if batch_first else (x.axes[1], x.axes[0])
    if x.axes[2] != x.along:
        node.refuse("does not take the last axis of the graph's input as the values of a row")
    if len(time) > 1:
        node.refuse("steps along an axis of steps and batch together")
    if x.chain.layers and (time, batch) != (x.chain.time, x.chain.batch):
        node.refuse("steps along another axis than the layer before it, or sees only its last step")
    return time, batch


def _parts(node: Node, weights: Weights, time: Any, batch: Any) -> Lstm:
    f, g, h = activations(node)
    w, r = (_ours(part.matrix(f"{node.name}: {what}")) for part, what in ((weights.ih, "W"), (weights.hh, "R")))
    hidden = r.shape[1]
    _fits(node, w.shape[0], r.shape[0], hidden)
    bias, peephole = _bias(node, hidden), _peephole(node, hidden)
    if node.attribute("input_forget", "INT", 0):
        exact = f.kind == "sigmoid" or (f.kind == "clipped" and (f.b, f.low, f.high) == (0.5, 0.0, 1.0))
        if not exact:
            node.refuse("couples forget and input gate, which is kept only for Sigmoid, or HardSigmoid of beta 0.5")
        w, r = _coupled(w), _coupled(r)
        bias = np.concatenate([bias[:hidden], -bias[:hidden], bias[2 * hidden :]])
        peephole = None if peephole is None else peephole[[0, 0, 2]] * np.array([[1.0], [-1.0], [1.0]])
        node.note(f"{node.name} couples its gates; the rows of its forget gate are those of the input gate, negated")
    clip = _clip(node, h)
    _whole(node, 1 if not time else length(time))
    initial = _initial(node, hidden, batch)
    return Lstm(node.name, w, r, bias, f, g, h, peephole, gate_clip=clip, initial=initial)


def _fits(node: Node, rows: int, recurrent: int, hidden: int) -> None:
    size = node.attribute("hidden_size", "INT", hidden)
    if size != hidden or not rows == recurrent == 4 * hidden:
        node.refuse(
            f"has {rows} rows of W, {recurrent} of R, {hidden} columns of R, hidden_size {size}: expected 4 H, H"
        )


def _clip(node: Node, output: Activation) -> float:
    clip = float(node.attribute("clip", "FLOAT", 0.0))
    if not (np.isfinite(clip) and clip >= 0):
        node.refuse(f"has a clip of {clip}, expected one above 0")
    if clip and not (output == TANH and clip >= SATURATED):
        node.note(f"{node.name}: clip {clip:g} bounds what f and g take, not what h takes: as ONNX Runtime has it")
    return clip


def _flat(node: Node, index: int, what: str, count: int) -> Floats | None:
    constant = node.constant(index)
    if constant is None:
        return None
    if constant.values.shape != (1, count):
        node.refuse(f"has {what} of shape {constant.values.shape}, expected (1, {count})")
    return np.array(constant.real[0])


def _bias(node: Node, hidden: int) -> Floats:
    both = _flat(node, 3, "B", 8 * hidden)
    if both is None:
        return np.zeros(4 * hidden)
    return np.ascontiguousarray(both.reshape(2, 4, hidden).sum(0)[[0, 2, 3, 1]].ravel())


def _peephole(node: Node, hidden: int) -> Floats | None:
    values = _flat(node, 7, "P", 3 * hidden)
    return None if values is None else np.ascontiguousarray(values.reshape(3, hidden)[[0, 2, 1]])


def _whole(node: Node, steps: int) -> None:
    """Refuse sequences that end early."""
    lengths = node.constant(4)
    if lengths is not None and not (lengths.values == steps).all():
        node.refuse("has sequence_lens that end sequences early; a stream has no end: leave them out")


def _initial(node: Node, hidden: int, batch: Any) -> tuple[Floats, Floats] | None:
    """Return constant states; those that the caller passes start at zero, as a stream does."""
    h, c = (_state(node, k, hidden) for k in (5, 6))
    carried = [isinstance(node.at(k), Carried) for k in (5, 6)]
    if carried[0] != carried[1]:
        node.refuse("gets one of its two states from the caller and not the other")
    if (h is None or not h.any()) and (c is None or not c.any()):
        return None
    zeros = np.zeros(hidden)
    return (zeros if h is None else h, zeros if c is None else c)


def _state(node: Node, index: int, hidden: int) -> Floats | None:
    if node.at(index) is None or isinstance(node.at(index), Carried):
        return None
    values = node.needed(index).values
    if values.ndim != 3 or values.shape[2] != hidden or 1 not in values.shape[:2]:
        node.refuse(
            f"has an initial state of shape {values.shape}, expected {hidden} values (an LSTM with a projection, which "
            "ONNX does not have, may have been exported as this; it is not what was trained)"
        )
    # an expanded axis holds one row, however long it is
    rows = values[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in values.strides[:2])].reshape(
        -1, hidden
    )
    if not (rows == rows[0]).all():
        node.refuse("has another initial state for each sequence of a batch; a stream has one")
    return np.asarray(rows[0], np.float64).copy()
