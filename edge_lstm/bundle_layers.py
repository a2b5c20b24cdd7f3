"""What a bundle says of a network that is more than plain LSTM layers and a linear head (weights/README.md)."""

import math
from typing import Any, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_lstm.core import layers as core
from edge_lstm.errors import WeightsError

Tensors = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[type[np.generic], tuple[int, ...]]]
Kind = Literal["sigmoid", "tanh", "clipped", "leaky_relu", "softsign", "elu", "softplus", "swish"]

LARGE = 1e15  # core.LARGE in float64
SMALLEST_CLIP = 1e-6
MAX_UNITS, MAX_DENSE = 2048, 8
LARGEST_INTEGER = 255


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An activation: what ``a``, ``b``, ``low`` and ``high`` are to each kind, docs/numerics.md says."""

    kind: Kind
    a: float = 1.0
    b: float = 1.0
    low: float = -LARGE
    high: float = LARGE


SIGMOID, TANH, LINEAR = Function("sigmoid"), Function("tanh"), Function("clipped", 1.0, 0.0)


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One LSTM layer.

    Attributes:
        output_size: of the projection; 0 for none.
        output_clip: bound of its outputs, where they are quantized.
        inner_clip: bound of what the projection takes, where it is quantized.
        gate_clip: 0 for none, as the other two.
        initial: a stream starts from a state that the bundle holds.
    """

    hidden_size: int
    output_size: int = 0
    gate: Function = SIGMOID
    candidate: Function = TANH
    output: Function = TANH
    peephole: bool = False
    norm: bool = False
    initial: bool = False
    output_clip: float = 1.0
    inner_clip: float = 1.0
    gate_clip: float = 0.0
    cell_clip: float = 0.0
    projection_clip: float = 0.0

    @property
    def outputs(self) -> int:
        """R: what the next layer and the next step take in."""
        return self.output_size or self.hidden_size


class Dense(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A dense layer; ``input_clip`` bounds its inputs, where they are quantized."""

    output_size: int
    function: Function = LINEAR
    input_clip: float = 1.0


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


def check(cells: tuple[Cell, ...], dense: tuple[Dense, ...]) -> None:
    """Refuse sizes and bounds that can't be; raises WeightsError."""
    _require(0 < len(dense) <= MAX_DENSE, f"{len(dense)} dense layers, expected 1 to {MAX_DENSE}")
    sizes = [("hidden_size", cell.hidden_size) for cell in cells]
    sizes += [("output_size", cell.outputs) for cell in cells]
    sizes += [("output_size", one.output_size) for one in dense]
    for field, size in sizes:
        _require(0 < size <= MAX_UNITS, f"{field} is {size}, expected 1 to {MAX_UNITS}")
    clips = [clip for cell in cells for clip in (cell.output_clip, cell.inner_clip)]
    for clip in (*clips, *(one.input_clip for one in dense)):
        _require(SMALLEST_CLIP <= clip <= LARGE, f"a bound is {clip}, expected {SMALLEST_CLIP:g} to {LARGE:g}")
    for cell in cells:
        for clip in (cell.gate_clip, cell.cell_clip, cell.projection_clip):
            _require(0.0 <= clip <= LARGE, f"a clip is {clip}, expected 0 to {LARGE:g}")
    functions = [f for cell in cells for f in (cell.gate, cell.candidate, cell.output)]
    for f in (*functions, *(one.function for one in dense)):
        numbers = (f.a, f.b, f.low, f.high)
        fits = all(math.isfinite(v) and abs(v) <= LARGE for v in numbers) and f.low <= f.high
        _require(fits, f"a {f.kind} has numbers out of bounds: {numbers}")


def shapes(cells: tuple[Cell, ...], dense: tuple[Dense, ...], inputs: int) -> Shapes:
    """Return dtype and shape of every tensor; of a matrix int8, where int16 may stand too."""
    f4, i1 = np.float32, np.int8
    found: Shapes = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        found[name] = (i1, (rows, columns))
        found[f"{name}.scale"] = (f4, (rows,))

    width = inputs
    for k, cell in enumerate(cells):
        hidden, outputs = cell.hidden_size, cell.outputs
        matrix(f"weight_ih_l{k}", 4 * hidden, width)
        matrix(f"weight_hh_l{k}", 4 * hidden, outputs)
        found[f"bias_l{k}"] = (f4, (4 * hidden,))
        if cell.peephole:
            found[f"peephole_l{k}"] = (f4, (3, hidden))
        if cell.norm:
            found[f"norm_l{k}"] = (f4, (4, hidden))
        if cell.output_size:
            matrix(f"weight_hr_l{k}", outputs, hidden)
            found[f"bias_hr_l{k}"] = (f4, (outputs,))
        if cell.initial:
            found |= {f"h_0_l{k}": (f4, (outputs,)), f"c_0_l{k}": (f4, (hidden,))}
        width = outputs
    for k, one in enumerate(dense):
        name = dense_name(k, len(dense))
        matrix(f"{name}.weight", one.output_size, width)
        found[f"{name}.bias"] = (f4, (one.output_size,))
        width = one.output_size
    return found


def dense_name(k: int, of: int) -> str:
    """Return what the tensors of dense layer ``k`` are called: the last one is the head."""
    return "head" if k == of - 1 else f"dense_{k}"


def _function(f: Function) -> core.Function:
    return core.Function(core.FUNCTIONS.index(f.kind), f.a, f.b, f.low, f.high)


def build(
    cells: tuple[Cell, ...], dense: tuple[Dense, ...], tensors: Tensors,
    input_clip: float, steps: np.float32, active: int,
) -> core.Layers:  # fmt: skip
    """Return the network as the core takes it; ``active`` outputs of the last layer go through its function."""

    def integers(name: str) -> NDArray[np.int16]:
        return tensors[name].astype(np.int16)

    def vector(name: str, *shape: int) -> NDArray[np.float32]:
        return cast(NDArray[np.float32], tensors.get(name, np.zeros(shape, np.float32)))

    def scale(name: str, bound: float) -> NDArray[np.float32]:
        return cast(NDArray[np.float32], tensors[f"{name}.scale"] / core.steps_per(float(steps), bound))

    built, clip = [], input_clip
    for k, cell in enumerate(cells):
        hidden, outputs, projected = cell.hidden_size, cell.outputs, cell.output_size > 0
        built.append(
            core.Cell(
                weight_ih=integers(f"weight_ih_l{k}"),
                scale_ih=scale(f"weight_ih_l{k}", clip),
                weight_hh=integers(f"weight_hh_l{k}"),
                scale_hh=scale(f"weight_hh_l{k}", cell.output_clip),
                bias=tensors[f"bias_l{k}"],
                weight_hr=integers(f"weight_hr_l{k}") if projected else np.zeros((0, hidden), np.int16),
                scale_hr=scale(f"weight_hr_l{k}", cell.inner_clip) if projected else np.zeros(0, np.float32),
                bias_hr=vector(f"bias_hr_l{k}", 0),
                peephole=vector(f"peephole_l{k}", 0, hidden),
                norm=vector(f"norm_l{k}", 0, hidden),
                start_h=vector(f"h_0_l{k}", outputs),
                start_c=vector(f"c_0_l{k}", hidden),
                functions=(_function(cell.gate), _function(cell.candidate), _function(cell.output)),
                output_clip=cell.output_clip,
                inner_clip=cell.inner_clip,
                gate_clip=cell.gate_clip or LARGE,
                cell_clip=cell.cell_clip or LARGE,
                projection_clip=cell.projection_clip or LARGE,
            )
        )
        clip = cell.output_clip
    head = []
    for k, one in enumerate(dense):
        name = dense_name(k, len(dense))
        head.append(
            core.Dense(
                weight=integers(f"{name}.weight"),
                scale=scale(f"{name}.weight", one.input_clip),
                bias=tensors[f"{name}.bias"],
                function=_function(one.function),
                active=active if k == len(dense) - 1 else one.output_size,
                input_clip=one.input_clip,
            )
        )
    return core.Layers(
        tuple(built), tuple(head), np.float32(input_clip), core.steps_per(float(steps), input_clip), steps
    )
