"""A network that is more than plain LSTM layers and a linear head, as a bundle describes it (docs/numerics.md, 4.2)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I16 = NDArray[np.int16]

FUNCTIONS = ("sigmoid", "tanh", "clipped", "leaky_relu", "softsign", "elu", "softplus", "swish")
SIGMOID, TANH, CLIPPED, LEAKY_RELU, SOFTSIGN, ELU, SOFTPLUS, SWISH = range(8)
LARGE = np.float32(1e15)  # what no value goes beyond, so that products of two stay finite


class Function(NamedTuple):
    """An activation: its index in ``FUNCTIONS`` and the numbers that its formula takes."""

    kind: int
    a: float = 1.0
    b: float = 1.0
    low: float = -float(LARGE)
    high: float = float(LARGE)


class Cell(NamedTuple):
    """An LSTM layer. H units, I inputs, R outputs: H, or what the projection makes of them.

    Scales are divided by the quantization steps per unit of the activations that they meet.
    """

    weight_ih: I16  # (4H, I)
    scale_ih: F32  # (4H,)
    weight_hh: I16  # (4H, R)
    scale_hh: F32  # (4H,)
    bias: F32  # (4H,)
    weight_hr: I16  # (R, H); (0, H) without a projection
    scale_hr: F32  # (R,)
    bias_hr: F32  # (R,)
    peephole: F32  # (3, H) of i, f, o; (0, H) for none
    norm: F32  # (4, H) factors of layer normalization; (0, H) for none
    start_h: F32  # (R,) what a stream starts from
    start_c: F32  # (H,)
    functions: tuple[Function, Function, Function]  # of the gates, the candidate, the cell state
    output_clip: float  # bound of the outputs, where they are quantized
    inner_clip: float  # bound of what the projection takes
    gate_clip: float = float(LARGE)
    cell_clip: float = float(LARGE)
    projection_clip: float = float(LARGE)


class Dense(NamedTuple):
    """A dense layer."""

    weight: I16  # (O, I)
    scale: F32  # (O,)
    bias: F32  # (O,)
    function: Function
    active: int  # the first so many outputs go through the function
    input_clip: float  # bound of the inputs, where they are quantized


class Layers(NamedTuple):
    """The network, layer by layer."""

    cells: tuple[Cell, ...]
    head: tuple[Dense, ...]  # at least one
    input_clip: np.float32
    input_k: np.float32  # quantization steps per unit of input
    steps: np.float32  # quantization steps from 0 to a bound: 127 or 32767


class Stack(NamedTuple):
    """``Layers`` as kernels read them: the LSTM layers, then the dense ones; n layers in all."""

    code: I16  # every matrix, row after row
    numbers: F32  # every vector
    layers: NDArray[np.int64]  # (n, COLUMNS)
    limits: F32  # (n, LIMITS)
    cells: int  # how many are LSTM layers


# columns of Stack.layers
INPUTS, UNITS, OUTPUTS, CODE, NUMBERS, PEEPHOLES, NORMED, PROJECTED, ACTIVE, KINDS = range(10)
COLUMNS = 12  # KINDS are three
# columns of Stack.limits; STEPS follows each bound at which something is quantized
INPUT_CLIP, INPUT_STEPS, OUTPUT_CLIP, OUTPUT_STEPS, INNER_CLIP, INNER_STEPS, GATE_CLIP, CELL_CLIP, PROJECTION_CLIP, PARAMS = range(10)  # fmt: skip  # noqa: E501
LIMITS = 21  # PARAMS are a, b, low, high of three functions


class Room(NamedTuple):
    """Room for the step of one row; N is the widest of anything."""

    inputs: I16  # (N,) quantized
    outputs: I16  # (N,) quantized outputs of the layer, before the step
    gates: F32  # (4N,)
    values: F32  # (N,)


class Rooms(NamedTuple):
    """Room for R rows; few arrays, since a CUDA kernel takes only so many."""

    shorts: I16  # (R, 2N)
    floats: F32  # (R, 5N)


def widest(layers: Layers) -> int:
    """Return the largest number of inputs, units or outputs of any layer."""
    return max(
        *(cell.weight_ih.shape[1] for cell in layers.cells),
        *(len(cell.bias) // 4 for cell in layers.cells),
        *(cell.weight_hh.shape[1] for cell in layers.cells),
        *(size for dense in layers.head for size in dense.weight.shape),
    )


def new_rooms(layers: Layers, rows: int) -> Rooms:
    """Return room for ``rows`` rows."""
    n = widest(layers)
    return Rooms(np.zeros((rows, 2 * n), np.int16), np.zeros((rows, 5 * n), np.float32))


def steps_per(steps: float | np.float32, bound: float) -> np.float32:
    """Return the quantization steps per unit of an activation that has so many of them up to its bound."""
    return np.float32(float(steps) / float(bound))


def pack(layers: Layers) -> Stack:
    """Lay a network out for kernels."""
    steps = layers.steps
    code: list[NDArray[Any]] = []
    numbers: list[NDArray[Any]] = []
    rows: list[list[int]] = []
    limits: list[list[Any]] = []

    def kinds(functions: tuple[Function, ...]) -> list[int]:
        return [f.kind for f in functions]

    def params(functions: tuple[Function, ...]) -> list[float]:
        return [number for f in functions for number in f[1:]]

    def place() -> list[int]:
        return [sum(part.size for part in parts) for parts in (code, numbers)]

    clip, k = float(layers.input_clip), layers.input_k
    for cell in layers.cells:
        hidden, outputs = cell.weight_hr.shape[1], cell.weight_hh.shape[1]
        parts = [cell.weight_hr.shape[0], cell.peephole.shape[0], cell.norm.shape[0]]
        rows.append([cell.weight_ih.shape[1], hidden, outputs, *place(), parts[1], parts[2], parts[0], 0])
        rows[-1] += kinds(cell.functions)
        bounds = [v for bound in (cell.output_clip, cell.inner_clip) for v in (bound, steps_per(steps, bound))]
        limits.append([clip, k, *bounds, cell.gate_clip, cell.cell_clip, cell.projection_clip, *params(cell.functions)])
        code += [cell.weight_ih, cell.weight_hh, cell.weight_hr]
        numbers += [
            cell.scale_ih, cell.scale_hh, cell.bias, cell.peephole, cell.norm,
            cell.scale_hr, cell.bias_hr, cell.start_h, cell.start_c,
        ]  # fmt: skip
        clip, k = cell.output_clip, steps_per(steps, cell.output_clip)
    for dense in layers.head:
        outputs, inputs = dense.weight.shape
        functions = (dense.function,) * 3
        rows.append([inputs, outputs, outputs, *place(), 0, 0, 0, dense.active, *kinds(functions)])
        limits.append([dense.input_clip, steps_per(steps, dense.input_clip), *[1.0] * 4, *[float(LARGE)] * 3])
        limits[-1] += params(functions)
        code.append(dense.weight)
        numbers += [dense.scale, dense.bias]
    return Stack(
        code=np.concatenate([part.ravel() for part in code]),
        numbers=np.concatenate([part.ravel() for part in numbers]).astype(np.float32),
        layers=np.array(rows, np.int64),
        limits=np.array(limits, np.float32),
        cells=len(layers.cells),
    )
