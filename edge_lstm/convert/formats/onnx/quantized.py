"""Nodes of quantized models: integer weights stay what they are; rounding of activations is left out and noted."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert.formats.onnx.chain import affine
from edge_lstm.convert.formats.onnx.head import dense
from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.formats.onnx.values import Constant, Dynamic, Stream, Value
from edge_lstm.convert.model import Floats

ROUNDING = "the file's runtime rounds activations to integers as it runs; the model here does not"


def _grid(node: Node, shape: tuple[int, ...], indices: tuple[int, int], axis: int) -> tuple[Floats, NDArray[Any]]:
    """Return scale and zero point, each of that shape."""
    scale, zero = node.needed(indices[0]).real, node.constant(indices[1])
    parts: list[NDArray[Any]] = [scale, np.zeros(scale.shape, np.int8) if zero is None else zero.values]
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        node.refuse("has a scale that is not positive")
    for k, part in enumerate(parts):
        if part.size == 1:
            parts[k] = np.broadcast_to(part.reshape(()), shape)
        elif part.ndim == 1 and -len(shape) <= axis < len(shape) and part.size == shape[axis]:
            parts[k] = np.broadcast_to(
                np.expand_dims(part, [j for j in range(len(shape)) if j != axis % len(shape)]), shape
            )
        else:
            node.refuse(
                f"has a scale or zero point of shape {part.shape} for axis {axis} of {shape}, expected one each"
            )
    return np.asarray(parts[0], np.float64), parts[1]


def _rounding(node: Node) -> tuple[Any, ...]:
    """Return the scale and zero point that a stream is rounded by."""
    scale, zero = node.needed(1).real, node.constant(2)
    if scale.size != 1 or not (np.isfinite(scale).all() and (scale > 0).all()):
        node.refuse("rounds the stream by several scales, or one that is not positive")
    return float(scale.ravel()[0]), 0 if zero is None else int(zero.values.ravel()[0])


def _attributes(node: Node) -> int:
    for name in ("saturate", "output_dtype", "precision"):
        node.attribute(name, "INT")
    if node.attribute("block_size", "INT", 0):
        node.refuse("has scales by block; one per output, or one for all, can be kept")
    return int(node.attribute("axis", "INT", 1))


def dequantize_linear(node: Node) -> list[Value]:
    """DequantizeLinear, of weights or of a rounded stream."""
    axis, value = _attributes(node), node.at(0)
    if isinstance(value, Constant):
        if value.values.dtype.kind not in "iu" or value.scale is not None:
            node.refuse(f"takes {value.values.dtype}, expected integers")
        return [Constant(value.values, *_grid(node, value.values.shape, (1, 2), axis))]
    if not isinstance(value, Stream) or value.rounded is None:
        node.refuse("takes something that is not quantized")
    if value.rounded != _rounding(node):
        node.refuse("has another scale or zero point than what its input was quantized by")
    return [replace(value, rounded=None)]


def quantize_linear(node: Node) -> list[Value]:
    """QuantizeLinear, of weights or of the stream."""
    axis, value = _attributes(node), node.at(0)
    if isinstance(value, Constant):
        return [_quantized(node, value, axis)]
    stream = node.stream()
    node.note(ROUNDING)
    return [replace(stream, rounded=_rounding(node), inner=None)]


def _quantized(node: Node, value: Constant, axis: int) -> Constant:
    """Return integers, in single precision and to even as the operator says."""
    scale, zero = _grid(node, value.values.shape, (1, 2), axis)
    kind = np.dtype(np.uint8) if node.constant(2) is None else zero.dtype
    if kind.kind not in "iu" or kind.itemsize > 1:
        node.refuse(f"makes integers of type {kind}, expected 8 bits")
    limits = np.iinfo(kind)
    steps = np.rint(value.real.astype(np.float32) / scale.astype(np.float32)).astype(np.float64)
    if not np.isfinite(steps).all():
        node.refuse("quantizes numbers that are not finite")
    return Constant(np.clip(steps + zero, limits.min, limits.max).astype(kind))


def dynamic_quantize_linear(node: Node) -> list[Value]:
    """DynamicQuantizeLinear: the stream, with the scale and zero point found as it runs."""
    stream = node.stream()
    node.note(ROUNDING)
    scale, zero = (Dynamic(node.name, kind, np.ones(1)) for kind in ("scale", "zero point"))
    return [replace(stream, rounded=(node.name,), inner=None), scale, zero]


def _weights(node: Node, index: int, zero_index: int, columns_first: bool = True) -> Constant:
    """Return integer weights (outputs, inputs) of scale 1."""
    weight, zero = node.needed(index), node.constant(zero_index)
    if weight.values.ndim != 2 or weight.values.dtype.itemsize > 1 or weight.values.dtype.kind not in "iu":
        node.refuse(f"has weights of {weight.values.dtype} {weight.values.shape}, expected two axes of 8-bit integers")
    parts = weight.map(np.transpose) if columns_first else weight
    shape = parts.values.shape
    zeros = np.zeros(1, np.int8) if zero is None else zero.values.reshape(-1, 1)
    if zeros.size not in (1, shape[0]):
        node.refuse(f"has {zeros.size} zero points for {shape[0]} outputs")
    return Constant(parts.values, np.ones(shape), np.broadcast_to(zeros, shape))


def matmul_integer(node: Node) -> list[Value]:
    """MatMulInteger of a dynamically quantized stream."""
    value, zero = node.at(0), node.at(2)
    if not isinstance(value, Stream) or not isinstance(zero, Dynamic) or value.rounded != (zero.of,):
        node.refuse("takes something else than a dynamically quantized stream and its zero point")
    after = dense(node, replace(value, rounded=None), _weights(node, 1, 3).matrix(f"{node.name}: B"))
    return [replace(after, owes=Dynamic(zero.of, "scale", np.ones(1)))]


def _scaled(node: Node, stream: Stream, weight: Constant, indices: tuple[int, int | None]) -> Stream:
    """Return the stream after weights of a scale, and integers of a bias in the scale of the sums."""
    scale = node.needed(indices[0]).real.ravel()
    if scale.size not in (1, weight.values.shape[0]) or not (np.isfinite(scale).all() and (scale > 0).all()):
        node.refuse(f"has {scale.size} weight scales for {weight.values.shape[0]} outputs, or one that is not positive")
    return affine(node, dense(node, stream, weight.matrix(f"{node.name}: B")), scale, np.zeros(1))


def dynamic_quantize_matmul(node: Node) -> list[Value]:
    """DynamicQuantizeMatMul: A, B, B's scale, B's zero point, bias."""
    stream = node.stream()
    node.note(ROUNDING)
    after = _scaled(node, stream, _weights(node, 1, 3), (2, None))
    bias = node.constant(4)
    return [after if bias is None else _biased(node, after, bias.real.ravel())]


def matmul_integer_to_float(node: Node) -> list[Value]:
    """MatMulIntegerToFloat: A, B, A's scale, B's scale, A's zero point, B's zero point, bias."""
    value, of = node.at(0), node.at(2)
    if not isinstance(value, Stream) or not isinstance(of, Dynamic) or value.rounded != (of.of,):
        node.refuse("takes something else than a dynamically quantized stream and its scale")
    after = _scaled(node, replace(value, rounded=None), _weights(node, 1, 5), (3, None))
    bias = node.constant(6)
    return [after if bias is None else _biased(node, after, bias.real.ravel())]


def _biased(node: Node, stream: Stream, bias: Floats) -> Stream:
    if bias.size not in (1, stream.features):
        node.refuse(f"has {bias.size} biases for {stream.features} outputs")
    return affine(node, stream, np.ones(1), bias)


def _integer_input(node: Node) -> Stream:
    value = node.at(0)
    if not isinstance(value, Stream) or value.rounded is None or value.rounded != _rounding(node):
        node.refuse("takes something else than the stream quantized by its scale and zero point")
    return replace(value, rounded=None)


def qlinear_matmul(node: Node) -> list[Value]:
    """QLinearMatMul: A, its scale and zero point, B's, the output's."""
    after = _scaled(node, _integer_input(node), _weights(node, 3, 5), (4, None))
    return [_requantized(node, after, 6)]


def qgemm(node: Node) -> list[Value]:
    """QGemm of ONNX Runtime: as QLinearMatMul, with a bias of integers in the scale of the sums."""
    if node.attribute("transA", "INT", 0) or node.attribute("alpha", "FLOAT", 1.0) != 1.0:
        node.refuse("transposes the stream or has an alpha other than 1")
    columns_first = not node.attribute("transB", "INT", 0)
    stream = _integer_input(node)
    after = _scaled(node, stream, _weights(node, 3, 5, columns_first), (4, None))
    bias = node.constant(6)
    if bias is not None:
        after = _biased(node, after, bias.real.ravel() * node.needed(1).real.ravel() * node.needed(4).real.ravel())
    return [_requantized(node, after, 7)]


def _requantized(node: Node, stream: Stream, index: int) -> Stream:
    scale = node.constant(index)
    if scale is None:
        return stream
    zero = node.needed(index + 1)
    if scale.values.size != 1 or zero.values.size != 1:
        node.refuse("rounds its outputs by several scales")
    return replace(stream, rounded=(float(scale.real.ravel()[0]), int(zero.values.ravel()[0])))
