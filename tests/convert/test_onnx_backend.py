"""The ONNX project's own cases: each passes, or is refused for a reason that is written down here."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edge_lstm.convert import mathematics  # noqa: E402
from edge_lstm.convert.formats.onnx.reader import follow, read  # noqa: E402
from edge_lstm.convert.model import Lstm, Model  # noqa: E402
from edge_lstm.errors import WeightsError  # noqa: E402

PASS = ("defaults", "with_initial_bias", "with_peepholes", "batchwise")
EXPECTED: dict[str, str | None] = {
    **{f"test_lstm_{name}": None for name in PASS},
    "test_lstm_reverse": "backwards",
    "test_lstm_bidirectional": "bidirectional",
    **{
        f"test_{cell}_{name}": "another kind of recurrent cell"
        for cell in ("gru", "simple_rnn")
        for name in ("defaults", "with_initial_bias", "batchwise", "reverse", "bidirectional")
    },
    **dict.fromkeys(("test_gru_seq_length", "test_rnn_seq_length"), "another kind of recurrent cell"),
    **{f"test_reversesequence_{name}": "end of the sequence" for name in ("time", "batch", "bfloat16")},
}
BY_WORD = {
    "loop": "control flow",
    "scan": "control flow",
    # a case is made of these nodes, or takes or gives such values
    "sequence": "sequences of tensors|control flow|not a tensor of floats|is of a kind that is not supported",
}
WORDS = ("lstm", "gru", "rnn", "reversesequence", "scan", "loop", "sequence")


def _cases() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in ("node", "real", "simple", "pytorch-converted", "pytorch-operator"):
            found += [case for case in load_model_tests(kind=kind) if any(word in case.name for word in WORDS)]
    return found


def _frozen(case: Any) -> tuple[Any, list[np.ndarray], list[np.ndarray]]:
    """Return the case's model with all inputs but the first as initializers, and its inputs and outputs."""
    if case.model is not None:
        model, (inputs, outputs) = onnx.ModelProto.FromString(case.model.SerializeToString()), case.data_sets[0]
    else:
        folder = Path(case.model_dir)
        model = onnx.load(folder / "model.onnx")
        inputs, outputs = ([], [])
    if case.model is not None and all(isinstance(value, np.ndarray) for value in inputs):
        names = [value.name for value in model.graph.input]
        for name, value in list(zip(names, inputs, strict=True))[1:]:
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
            model.graph.input.remove(next(given for given in model.graph.input if given.name == name))
    return model, inputs, outputs


CASES = _cases()


def test_all_recurrent_cases_are_there() -> None:
    names = {case.name for case in CASES}
    assert set(EXPECTED) <= names
    recurrent = {name for name in names if any(word in name for word in ("lstm", "gru", "rnn"))}
    assert recurrent <= set(EXPECTED)
    passing = sum(reason is None for reason in EXPECTED.values())
    assert (passing, len(EXPECTED) - passing) == (4, 17)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Any, tmp_path: Path) -> None:
    model, inputs, outputs = _frozen(case)
    path = tmp_path / "case.onnx"
    path.write_bytes(model.SerializeToString())
    word = next((word for word in BY_WORD if word in case.name), "")
    reason = EXPECTED[case.name] if case.name in EXPECTED else BY_WORD[word]
    if reason is not None:
        with pytest.raises(WeightsError, match=reason):
            read(path)
        return
    found, x = read(path), inputs[0]
    (node,) = model.graph.node
    layout = next((a.i for a in node.attribute if a.name == "layout"), 0)
    sequences = x if layout else x.swapaxes(0, 1)
    runs = [_run(found, sequence.astype(np.float64)) for sequence in sequences]
    names = [name for name in node.output if name]
    assert [value.name for value in model.graph.output] == names
    for name, expected in zip(names, outputs, strict=True):
        got = np.stack([run[name] for run in runs])  # (batch, [steps,] H)
        laid = expected if layout else np.moveaxis(expected, -2, 0)  # batch first
        np.testing.assert_allclose(got.reshape(laid.shape), laid, rtol=case.rtol, atol=case.atol)
    assert follow(path).output.features == found.output_size


def _run(model: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    state = mathematics.fresh(model)
    y = mathematics.run(model, x, state)
    assert isinstance(model.layers[0], Lstm)
    return {"Y": y, "Y_h": state.r[-1], "Y_c": state.c[-1]}
