"""One step of a network of any layers on one row (docs/numerics.md, section 4.2).

Written for one row and one unit at a time, so that the CPU and a CUDA device share it; ``lstm.py`` is faster at what
it can do, and gives the same bits.
"""

import math

import numpy as np

from edge_lstm.core.cache import formula, jit
from edge_lstm.core.layers import (
    ACTIVE,
    CELL_CLIP,
    CLIPPED,
    CODE,
    ELU,
    GATE_CLIP,
    I16,
    INNER_CLIP,
    INNER_STEPS,
    INPUT_CLIP,
    INPUT_STEPS,
    INPUTS,
    KINDS,
    LARGE,
    LEAKY_RELU,
    NORMED,
    NUMBERS,
    OUTPUT_CLIP,
    OUTPUT_STEPS,
    OUTPUTS,
    PARAMS,
    PEEPHOLES,
    PROJECTED,
    PROJECTION_CLIP,
    SIGMOID,
    SOFTPLUS,
    SOFTSIGN,
    TANH,
    UNITS,
    Room,
    Rooms,
    Stack,
)
from edge_lstm.core.maths import clip, exp64, fma, gated32, log64, quantize, sigmoid32, tanh32
from edge_lstm.core.table import F32

ONE, ZERO = np.float32(1.0), np.float32(0.0)
NORM_FLOOR = 1e-8
STRAIGHT = np.float32(30.0)  # from here on softplus is its argument, to the last bit


@formula
def _elu(x: np.float32, a: np.float32, b: np.float32) -> np.float32:
    if x > ZERO:
        return b * x
    return b * np.float32(np.float64(a) * (exp64(np.float64(x)) - 1.0))


@formula
def _softplus(x: np.float32) -> np.float32:
    if x > STRAIGHT:
        return x
    return np.float32(log64(1.0 + exp64(np.float64(x))))


@formula
def _curved(kind: int, a: np.float32, b: np.float32, x: np.float32) -> np.float32:
    """Return one of the functions that are seldom met in a cell."""
    if kind == LEAKY_RELU:
        return x if x > ZERO else a * x
    if kind == SOFTSIGN:
        return x / (ONE + abs(x))
    if kind == ELU:
        return _elu(x, a, b)
    if kind == SOFTPLUS:
        return _softplus(x)
    return x * sigmoid32(x)


@formula
def function(kind: int, a: np.float32, b: np.float32, low: np.float32, high: np.float32, x: np.float32) -> np.float32:
    """Return an activation of ``x``, at most ``LARGE``."""
    if kind == SIGMOID:
        return sigmoid32(x)
    if kind == CLIPPED:
        return clip(fma(a, x, b), low, high)
    y = a * tanh32(b * x) if kind == TANH else _curved(kind, a, b, x)
    return clip(y, -LARGE, LARGE)


@jit
def _apply(stack: Stack, layer: int, which: int, x: np.float32) -> np.float32:
    p = stack.limits[layer, PARAMS + 4 * which : PARAMS + 4 * which + 4]
    return function(stack.layers[layer, KINDS + which], p[0], p[1], p[2], p[3], x)


@jit
def _is_usual(stack: Stack, layer: int, which: int) -> bool:
    """Tell whether a gate is a sigmoid and what it lets through a tanh, which take one division together."""
    kinds, p = stack.layers[layer, KINDS : KINDS + 3], stack.limits[layer, PARAMS + 4 * which : PARAMS + 4 * which + 2]
    return kinds[0] == SIGMOID and kinds[which] == TANH and p[0] == ONE and p[1] == ONE


@jit
def _keep(values: F32, n: int, bound: np.float32, steps: np.float32, q: I16) -> None:
    """Quantize ``n`` values."""
    for k in range(n):
        q[k] = quantize(clip(values[k], -bound, bound), steps)


@jit
def _dot(code: I16, at: int, q: I16, n: int) -> np.int32:
    row = code[at : at + n]  # an index into a slice is never negative: the loop becomes vector instructions
    total = np.int32(0)
    for k in range(n):
        total = np.int32(total + np.int32(row[k]) * np.int32(q[k]))
    return total


@jit
def _pre(stack: Stack, layer: int, room: Room) -> None:
    """Fill ``room.gates`` with the gates' sums, biased unless they are to be normalized."""
    plan, numbers = stack.layers[layer], stack.numbers
    inputs, outputs, rows = plan[INPUTS], plan[OUTPUTS], 4 * plan[UNITS]
    at, code = plan[NUMBERS], plan[CODE]
    for r in range(rows):
        x = np.float32(_dot(stack.code, code + r * inputs, room.inputs, inputs))
        s = np.float32(_dot(stack.code, code + rows * inputs + r * outputs, room.outputs, outputs))
        bias = ZERO if plan[NORMED] else numbers[at + 2 * rows + r]
        room.gates[r] = fma(x, numbers[at + r], fma(s, numbers[at + rows + r], bias))


@jit
def _normalize(gate: F32, factor: F32, bias: F32) -> None:
    """Normalize a gate over its units (Ba, Kiros and Hinton 2016), as LiteRT does."""
    count = np.float64(gate.shape[0])
    total = 0.0
    for j in range(gate.shape[0]):
        total += np.float64(gate[j])
    mean = total / count
    square = 0.0
    for j in range(gate.shape[0]):
        d = np.float64(gate[j]) - mean
        square = fma(d, d, square)
    inverse = 1.0 / math.sqrt(square / count + NORM_FLOOR)
    for j in range(gate.shape[0]):
        d = (np.float64(gate[j]) - mean) * inverse
        gate[j] = np.float32(fma(d, np.float64(factor[j]), np.float64(bias[j])))


@jit
def _finish(stack: Stack, layer: int, which: int, peephole: int, c: F32, room: Room) -> None:
    """Bring a gate to what its function takes: peephole (-1: none) on ``c``, normalization, clip."""
    plan, numbers = stack.layers[layer], stack.numbers
    units, bound = plan[UNITS], stack.limits[layer, GATE_CLIP]
    gate = room.gates[which * units : (which + 1) * units]
    at = plan[NUMBERS] + 12 * units  # behind two scales and a bias
    if plan[PEEPHOLES] and peephole >= 0:
        weight = numbers[at + peephole * units : at + (peephole + 1) * units]
        for j in range(units):
            gate[j] = fma(weight[j], c[j], gate[j])
    at += plan[PEEPHOLES] * units
    if plan[NORMED]:
        bias = plan[NUMBERS] + (8 + which) * units
        _normalize(gate, numbers[at + which * units : at + (which + 1) * units], numbers[bias : bias + units])
    for j in range(units):
        gate[j] = clip(gate[j], -bound, bound)


@jit
def _write(stack: Stack, layer: int, c: F32, room: Room) -> None:
    """Let the cell state forget and take in."""
    units, bound = stack.layers[layer, UNITS], stack.limits[layer, CELL_CLIP]
    i, f, g = room.gates[:units], room.gates[units : 2 * units], room.gates[2 * units : 3 * units]
    if _is_usual(stack, layer, 1):
        for j in range(units):
            c[j] = clip(fma(sigmoid32(f[j]), c[j], gated32(i[j], g[j])), -bound, bound)
    else:
        for j in range(units):
            new = _apply(stack, layer, 0, i[j]) * _apply(stack, layer, 1, g[j])
            c[j] = clip(fma(_apply(stack, layer, 0, f[j]), c[j], new), -bound, bound)


@jit
def _read(stack: Stack, layer: int, c: F32, room: Room, values: F32) -> None:
    """Fill ``values`` with what the output gate lets through of the cell state."""
    units = stack.layers[layer, UNITS]
    o = room.gates[3 * units : 4 * units]
    if _is_usual(stack, layer, 2):
        for j in range(units):
            values[j] = gated32(o[j], c[j])
    else:
        for j in range(units):
            values[j] = _apply(stack, layer, 0, o[j]) * _apply(stack, layer, 2, c[j])


@jit
def _project(stack: Stack, layer: int, h: F32, room: Room) -> None:
    """Make the layer's outputs of what its units give, in ``room.values``."""
    plan, limits, numbers = stack.layers[layer], stack.limits[layer], stack.numbers
    units, outputs = plan[UNITS], plan[OUTPUTS]
    at = plan[NUMBERS] + (12 + plan[PEEPHOLES] + plan[NORMED]) * units
    code = plan[CODE] + 4 * units * (plan[INPUTS] + outputs)
    _keep(room.values, units, limits[INNER_CLIP], limits[INNER_STEPS], room.inputs)
    for k in range(outputs):
        total = np.float32(_dot(stack.code, code + k * units, room.inputs, units))
        y = fma(total, numbers[at + k], numbers[at + outputs + k])
        h[k] = clip(y, -limits[PROJECTION_CLIP], limits[PROJECTION_CLIP])


@jit
def _cell(stack: Stack, layer: int, h: F32, c: F32, room: Room) -> None:
    """Advance one LSTM layer, whose quantized inputs are in ``room``."""
    plan, limits = stack.layers[layer], stack.limits[layer]
    _keep(h, plan[OUTPUTS], limits[OUTPUT_CLIP], limits[OUTPUT_STEPS], room.outputs)
    _pre(stack, layer, room)
    _finish(stack, layer, 0, 0, c, room)
    _finish(stack, layer, 1, 1, c, room)
    _finish(stack, layer, 2, -1, c, room)
    _write(stack, layer, c, room)
    _finish(stack, layer, 3, 2, c, room)
    if plan[PROJECTED]:
        _read(stack, layer, c, room, room.values)
        _project(stack, layer, h, room)
    else:
        _read(stack, layer, c, room, h)


@jit
def _dense(stack: Stack, layer: int, out: F32, room: Room) -> None:
    """Fill ``out`` from ``room.inputs``."""
    plan, numbers = stack.layers[layer], stack.numbers
    inputs, at = plan[INPUTS], plan[NUMBERS]
    for k in range(plan[OUTPUTS]):
        total = np.float32(_dot(stack.code, plan[CODE] + k * inputs, room.inputs, inputs))
        y = fma(total, numbers[at + k], numbers[at + plan[OUTPUTS] + k])
        if k < plan[ACTIVE]:
            y = _apply(stack, layer, 0, y)
        out[k] = clip(y, -LARGE, LARGE)


@jit
def start(stack: Stack, h: F32, c: F32, first: int) -> None:
    """Put a copy of a row's state, (K*L, U) from layer ``first`` on, to where a stream starts from."""
    for layer in range(stack.cells):
        plan = stack.layers[layer]
        units, outputs = plan[UNITS], plan[OUTPUTS]
        at = plan[NUMBERS] + (12 + plan[PEEPHOLES] + plan[NORMED]) * units + 2 * plan[PROJECTED]
        for k in range(outputs):
            h[first + layer, k] = stack.numbers[at + k]
        for k in range(units):
            c[first + layer, k] = stack.numbers[at + outputs + k]


@jit
def room_of(rooms: Rooms, r: int) -> Room:
    """Return the room of row ``r``."""
    shorts, floats = rooms.shorts[r], rooms.floats[r]
    n = shorts.shape[0] // 2
    return Room(shorts[:n], shorts[n:], floats[: 4 * n], floats[4 * n :])


@jit
def step(stack: Stack, h: F32, c: F32, first: int, u: F32, out: F32, room: Room) -> None:
    """Run the network on one row.

    Args:
        h: (K*L, U) changed in place from layer ``first`` on, as ``c`` is.
        u: (I,) inputs.
        out: (O,) the last layer's outputs.
        room: of one row.
    """
    last = stack.layers.shape[0] - 1
    _keep(u, stack.layers[0, INPUTS], stack.limits[0, INPUT_CLIP], stack.limits[0, INPUT_STEPS], room.inputs)
    for layer in range(stack.cells):
        _cell(stack, layer, h[first + layer], c[first + layer], room)
        following = layer + 1
        bound, steps = stack.limits[following, INPUT_CLIP], stack.limits[following, INPUT_STEPS]
        _keep(h[first + layer], stack.layers[layer, OUTPUTS], bound, steps, room.inputs)
    for layer in range(stack.cells, last):
        _dense(stack, layer, room.values, room)
        bound, steps = stack.limits[layer + 1, INPUT_CLIP], stack.limits[layer + 1, INPUT_STEPS]
        _keep(room.values, stack.layers[layer, OUTPUTS], bound, steps, room.inputs)
    _dense(stack, last, out, room)
