"""UNIDIRECTIONAL_SEQUENCE_LSTM and LSTM (full kernel) of LiteRT: their tensors, and what real numbers they stand for.

What each integer means is what the kernels make of it (tflite/kernels/lstm_eval.cc, lstm.cc,
unidirectional_sequence_lstm.cc and internal/reference/portable_tensor_utils.cc in google-ai-edge/LiteRT). With 8-bit
activations: a bias counts in steps of input scale * weight scale, or, where the gates are normalized, of the
normalization's scale * 2^-10; a projection's bias in steps of its weights' scale * the scale of intermediate 4.
"""

import numpy as np

from edge_lstm.convert.formats.litert.file import Graph, Operator, Tensor
from edge_lstm.convert.formats.litert.tensors import Source, refused
from edge_lstm.convert.model import LINEAR, RELU, RELU6, TANH, Activation, Floats, Lstm, Matrix, stacked

OPTIONS = {"UNIDIRECTIONAL_SEQUENCE_LSTM": 71, "LSTM": 14}
FUSED = {0: LINEAR, 1: RELU, 2: Activation("clipped", 1.0, 0.0, -1.0, 1.0), 3: RELU6, 4: TANH}
FUSED_NAMES = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
INPUT_WEIGHTS, RECURRENT_WEIGHTS, PEEPHOLES, BIASES, NORMS = 1, 5, 9, 12, 20  # the first tensor of each
PROJECTION, PROJECTION_BIAS, OUTPUT_STATE, CELL_STATE = 16, 17, 18, 19
NORM_BIAS_STEP = 2.0**-10


def time_major(operator: Operator) -> bool:
    """Return whether a UNIDIRECTIONAL_SEQUENCE_LSTM has time on axis 0."""
    return operator.options is not None and operator.kind != "LSTM" and bool(operator.options.integer(3, "B"))


def lstm(graph: Graph, operator: Operator, width: int) -> Lstm:
    """Return the layer that an operator is.

    Args:
        graph: of the file.
        operator: UNIDIRECTIONAL_SEQUENCE_LSTM or LSTM.
        width: channels of its input.

    Raises:
        WeightsError: a form of it that is not read; says why.
    """
    source = _source(graph, operator)
    activation, cell_clip, projection_clip = _settings(source)
    weight_ih, weight_hh = _gates(source, INPUT_WEIGHTS), _gates(source, RECURRENT_WEIGHTS)
    if weight_ih.shape[1] != width:
        raise refused(operator.where, f"its weights take {weight_ih.shape[1]} channels, its input has {width}")
    outputs = weight_hh.shape[1]
    projection = source.matrix(PROJECTION) if source.given(PROJECTION) else None
    _check_states(source, outputs)
    if source.integer:
        _check_scales(source, projection is not None, projection_clip)
    return Lstm(
        name=operator.where,
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        bias=_bias(source),
        candidate=activation,
        output=activation,
        peephole=_peepholes(source, outputs),
        norm=_norm(source),
        weight_hr=projection,
        bias_hr=_projection_bias(source, outputs),
        cell_clip=cell_clip,
        projection_clip=projection_clip if projection is not None else 0.0,
    )


def _source(graph: Graph, operator: Operator) -> Source:
    if len(operator.inputs) not in (20, 24) or len(operator.outputs) not in (1, 4):
        found = f"{len(operator.inputs)} inputs and {len(operator.outputs)} outputs"
        raise refused(operator.where, f"{found}, expected 20 or 24 and 1 (the full kernel; the basic one is not read)")
    if operator.options is not None and operator.options_type != OPTIONS[operator.kind]:
        raise refused(operator.where, f"options of type {operator.options_type}, expected {OPTIONS[operator.kind]}")
    present = [at < len(operator.inputs) and operator.inputs[at] >= 0 for at in range(24)]
    coupled = not present[INPUT_WEIGHTS]
    first = (INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES)
    if any(present[at] == coupled for at in first) or not all(present[at + k] for at in first for k in (1, 2, 3)):
        raise refused(operator.where, "weights or biases of some gates are missing")
    state = graph.tensor(operator.inputs[0], operator.where)
    if state.type not in ("float32", "int8"):
        raise refused(operator.where, f"its input is {state.type}, expected float32 or int8")
    hidden = graph.tensor(operator.inputs[INPUT_WEIGHTS + 1], operator.where).shape[:1]
    if not hidden:
        raise refused(operator.where, "its input weights are not a matrix")
    return Source(graph, operator, operator.options, hidden[0], state.type == "int8", coupled)


def _settings(source: Source) -> tuple[Activation, float, float]:
    """Return the activation, the cell's clip and the projection's."""
    where, options = source.operator.where, source.options
    code = options.integer(0, "b") if options else 0
    clips = [options.real(field) if options else 0.0 for field in (1, 2)]
    sequence = source.operator.kind != "LSTM"
    if options and not sequence and options.integer(3, "b"):
        raise refused(where, "the basic kernel, whose weights are joined in one matrix, is not read; convert as full")
    if options and sequence and options.integer(5, "B"):
        raise refused(where, "diagonal recurrent weights are not read; convert with full matrices")
    if code not in FUSED or code == 0:
        # the kernel leaves the cell's output unset for NONE
        raise refused(where, f"activation {FUSED_NAMES.get(code, code)}, expected TANH, RELU, RELU6 or RELU_N1_TO_1")
    if source.integer and code != 4:
        raise refused(where, f"activation {FUSED_NAMES[code]} in integers, where LiteRT computes TANH whatever it says")
    if source.integer and len(source.operator.intermediates) != 5:
        found = len(source.operator.intermediates)
        raise refused(where, f"{found} intermediate tensors, expected 5: 8-bit gates (8x8_8) are not read")
    if not all(np.isfinite(clip) and clip >= 0 for clip in clips):
        raise refused(where, f"clips of {clips[0]} and {clips[1]}, expected >= 0")
    return FUSED[code], clips[0], clips[1]


def _gates(source: Source, first: int) -> Matrix:
    """Return the four gates' weights; those of a coupled input gate are the forget gate's, negated."""
    parts = [source.matrix(first + gate) for gate in range(source.coupled, 4)]
    if len({part.shape for part in parts}) > 1 or parts[0].shape[0] != source.hidden:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise refused(source.operator.where, f"the gates' weights differ in shape: {shapes}")
    if len({part.is_integer for part in parts}) > 1:
        raise refused(source.operator.where, "the weights of some gates are integers, of others floats")
    return stacked([parts[0].rows(slice(None), -1), *parts] if source.coupled else parts)


def _vectors(source: Source, first: int, steps: tuple[float | None, ...], negate: bool = True) -> list[Floats]:
    """Return one vector per gate; that of a coupled input gate is the forget gate's, negated if so told."""
    start = int(source.coupled)
    parts = [source.vector(first + k, source.hidden, steps[k]) for k in range(start, len(steps))]
    return [-parts[0] if negate else parts[0], *parts] if source.coupled else parts


def _bias(source: Source) -> Floats:
    steps: tuple[float | None, ...] = (None,) * 4
    if source.integer and source.given(NORMS + 1):
        steps = tuple(source.scale(NORMS + k) * NORM_BIAS_STEP for k in range(4))
    elif source.integer:
        steps = tuple(source.scale(0) * source.scale(INPUT_WEIGHTS + k) for k in range(4))
    return np.concatenate(_vectors(source, BIASES, steps))


def _family(source: Source, first: int, last: int, what: str) -> bool:
    """Return whether an optional family of tensors is there; it has to be for all gates or none."""
    there = {source.given(at) for at in range(first + source.coupled, last)}
    if len(there) > 1 or (source.coupled and source.given(first)):
        raise refused(source.operator.where, f"{what} of some gates, expected all (of those that have weights) or none")
    return there == {True}


def _peepholes(source: Source, outputs: int) -> Floats | None:
    if not _family(source, PEEPHOLES, PEEPHOLES + 3, "peepholes"):
        return None
    if source.integer and outputs != source.hidden:
        why = (
            "peepholes with a projection in integers, where LiteRT's kernel drops peepholes past the projection's size"
        )
        raise refused(source.operator.where, why)
    return np.stack(_vectors(source, PEEPHOLES, (None,) * 3))


def _norm(source: Source) -> Floats | None:
    if not _family(source, NORMS, NORMS + 4, "layer normalization"):
        return None
    return np.stack(_vectors(source, NORMS, (None,) * 4, negate=False))


def _projection_bias(source: Source, outputs: int) -> Floats | None:
    if not source.given(PROJECTION_BIAS):
        return None
    if not source.given(PROJECTION):
        raise refused(source.operator.where, "a projection bias without a projection")
    step = None
    if source.integer:
        step = source.scale(PROJECTION) * _hidden(source).scale[0]
    return source.vector(PROJECTION_BIAS, outputs, step)


def _hidden(source: Source) -> Tensor:
    """Return intermediate 4, which says how the cell's output is rounded before the projection."""
    tensor = source.graph.tensor(source.operator.intermediates[4], f"{source.operator.where}, intermediate 4")
    if len(tensor.scale) != 1:
        raise refused(source.operator.where, "intermediate 4 has no scale, so the cell's output has no meaning")
    return tensor


def _check_states(source: Source, outputs: int) -> None:
    """Raise unless both states are kept from call to call, start at zero and are one row."""
    types = ("int8", "int16") if source.integer else ("float32", "float32")
    for at, size, kind in ((OUTPUT_STATE, outputs, types[0]), (CELL_STATE, source.hidden, types[1])):
        where = f"{source.operator.where}, input {at}"
        if not source.given(at):
            raise refused(where, "the state is missing")
        tensor = source.tensor(at)
        if not tensor.variable:
            raise refused(where, f"tensor {tensor.name!r} is not a variable, so the state would come from elsewhere")
        if tensor.data is not None and tensor.data.any():
            raise refused(where, f"tensor {tensor.name!r} does not start at zero")
        if tensor.shape not in ((1, size), (size,)):
            raise refused(where, f"a state of shape {tensor.shape}, expected {(1, size)}; convert with a batch of 1")
        if tensor.type != kind and tensor.data is None:
            raise refused(where, f"a state of {tensor.type}, expected {kind}")


def _check_scales(source: Source, projected: bool, projection_clip: float) -> None:
    """Raise unless the scales of the activations agree, as LiteRT takes for granted."""
    where, operator = source.operator.where, source.operator
    state, cell = source.tensor(OUTPUT_STATE), source.tensor(CELL_STATE)
    alike = [state, source.graph.tensor(operator.outputs[0], where), *([] if projected else [_hidden(source)])]
    found = ", ".join(f"{tensor.name!r} {tensor.scale} {tensor.zero}" for tensor in alike)
    if len({(tensor.scale, tensor.zero) for tensor in alike}) > 1 or len(state.scale) != 1:
        raise refused(where, f"its output and its state have different scales or zero points: {found}")
    if len(cell.scale) != 1 or any(cell.zero) or np.frexp(cell.scale[0])[0] != 0.5 or cell.scale[0] > 2.0**-9:
        raise refused(where, f"a cell state with scale {cell.scale}, expected a power of two of at most 2^-9")
    if projected and projection_clip and any(state.zero):
        why = "a clip of the projection with a zero point, where LiteRT clips the integers around 0, not the numbers"
        raise refused(where, why)
