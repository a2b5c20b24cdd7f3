"""The graph of a LiteRT file as a whole: what is refused at sight, and constants that it unpacks itself."""

from collections.abc import Container
from dataclasses import replace

from edge_lstm.convert.formats.litert.file import Graph
from edge_lstm.errors import WeightsError

LSTMS = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM")
LOOP = (
    "an LSTM written as a loop or in pieces has these, not LiteRT's LSTM operator. Keras 3 writes so; convert its "
    ".keras file instead, or write the .tflite with Keras 2 (package tf-keras, TF_USE_LEGACY_KERAS=1), a batch of 1 "
    "and without Flex operators, which gives UNIDIRECTIONAL_SEQUENCE_LSTM"
)
LOOPS = (
    "WHILE",
    "CALL_ONCE",
    "IF",
    "SPLIT",
    "SPLIT_V",
    "UNPACK",
    "PACK",
    "CONCATENATION",
    "VAR_HANDLE",
    "BATCH_MATMUL",
)
REASONS = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": "it reads the sequence from its end, too, which a stream does not have",
    "BIDIRECTIONAL_SEQUENCE_RNN": "it reads the sequence from its end, too, which a stream does not have",
    "REVERSE_V2": "it turns the sequence around, which a stream can't",
    "REVERSE_SEQUENCE": "it turns the sequence around, which a stream can't",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "a plain recurrent layer, not an LSTM",
    "RNN": "a plain recurrent layer, not an LSTM",
    "SVDF": "a filter over a window, not an LSTM",
}


def folded(graph: Graph) -> Graph:
    """Return the graph with each DEQUANTIZE of a constant done: its output is the constant."""
    tensors, kept = list(graph.tensors), []
    for operator in graph.operators:
        if operator.kind == "DEQUANTIZE" and len(operator.inputs) == len(operator.outputs) == 1:
            found = graph.tensor(operator.inputs[0], operator.where)
            into = graph.tensor(operator.outputs[0], operator.where)
            if found.data is not None:
                if found.shape != into.shape or into.type != "float32" or into.data is not None:
                    message = f"{operator.where}: {found.shape} becomes {into.type} {into.shape}"
                    raise WeightsError(message)
                tensors[operator.outputs[0]] = replace(found, variable=into.variable)
                continue
        kept.append(operator)
    return replace(graph, tensors=tensors, operators=kept)


def check_kinds(graph: Graph, read: Container[str]) -> None:
    """Raise for what is not read: operators, further subgraphs, further inputs or outputs."""
    for operator in graph.operators:
        if operator.kind in LOOPS or operator.kind.startswith("CUSTOM Flex"):
            raise WeightsError(f"{operator.where}: {LOOP}")
    for operator in graph.operators:
        if operator.kind not in read:
            why = REASONS.get(operator.kind, "not among the operators that are read: LSTM, dense layers, a scaler")
            raise WeightsError(f"{operator.where}: {why}")
    if graph.subgraphs != 1:
        message = f"{graph.subgraphs} subgraphs, expected one; convert one signature only"
        raise WeightsError(message)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        message = (
            f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs, expected one each; the state stays inside"
        )
        raise WeightsError(message)
    if not any(operator.kind in LSTMS for operator in graph.operators):
        message = f"no LSTM operator among its {len(graph.operators)}"
        raise WeightsError(message)


def check_taken(graph: Graph) -> None:
    """Raise for a constant that nothing takes, so that nothing of the file is left out."""
    taken = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        taken.update(operator.inputs, operator.outputs)
    for number, tensor in enumerate(graph.tensors):
        if number not in taken and tensor.data is not None:
            message = f"tensor {tensor.name!r} holds numbers that no operator takes; write the file again"
            raise WeightsError(message)
