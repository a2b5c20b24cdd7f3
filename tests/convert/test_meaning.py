"""What outputs mean: what is inferred, what is said, what is refused."""

from typing import Any

import pytest

from edge_lstm.convert.meaning import Choice, Meaning, meaning
from edge_lstm.convert.model import LINEAR, SIGMOID, SOFTMAX, TANH, Activation
from edge_lstm.errors import WeightsError
from tests.convert.handmade import NAMES, dense, np, plain


def of(outputs: int, activation: Activation = LINEAR, **choice: Any) -> Meaning:
    head = dense(np.random.default_rng(0), 8, outputs, activation)
    return meaning(plain(head=(head,)), NAMES, Choice(**choice))


@pytest.mark.parametrize(
    ("outputs", "activation", "choice", "found", "note"),
    [
        (3, LINEAR, {}, Meaning("forecast", (0, 1, 2), (0, 1, 2), 1), "taken for a forecast (the default)"),
        (3, TANH, {}, Meaning("forecast", (0, 1, 2), (0, 1, 2), 1), "the default"),
        (3, SIGMOID, {}, Meaning("forecast", (0, 1, 2), (0, 1, 2), 1), "the default"),
        (3, LINEAR, {"ahead": 7}, Meaning("forecast", (0, 1, 2), (0, 1, 2), 7), ""),
        (9, LINEAR, {"horizon": 3}, Meaning("forecast", (6, 7, 8), (0, 1, 2), 3), "3 steps of 3 channels each; judged"),
        (9, LINEAR, {"horizon": 2, "ahead": 4}, Meaning("forecast", (3, 4, 5), (0, 1, 2), 5), "judged by step 2"),
        (
            4, LINEAR, {"targets": ("power", "flow"), "horizon": 2},
            Meaning("forecast", (2, 3), (2, 0), 2), "2 steps of 2 channels",
        ),
        (3, LINEAR, {"head": "reconstruction"}, Meaning("reconstruction", (0, 1, 2), (0, 1, 2), 0), ""),
        (1, LINEAR, {"head": "reconstruction", "targets": ("power",)}, Meaning("reconstruction", (0,), (2,), 0), ""),
        (
            1, SIGMOID, {}, Meaning("classification", (0,), (), 0, ("anomaly",), ("anomaly",)),
            "taken for a classification (a sigmoid at the end)",
        ),
        (1, SIGMOID, {"targets": ("flow",)}, Meaning("forecast", (0,), (0,), 1), "the default"),
        (
            1, SIGMOID, {"classes": ("fine",), "normal": ("fine",)},
            Meaning("classification", (0,), (), 0, ("fine",), ()), "",
        ),
        (
            2, SOFTMAX, {"normal": ("0",)}, Meaning("classification", (0, 1), (), 0, ("0", "1"), ("1",)),
            "a softmax at the end",
        ),
        (
            3, LINEAR, {"classes": ("a", "b", "c"), "normal": ("c", "a")},
            Meaning("classification", (0, 1, 2), (), 0, ("a", "b", "c"), ("b",)), "a classification",
        ),
    ],
)  # fmt: skip
def test_what_outputs_mean(
    outputs: int, activation: Activation, choice: dict[str, Any], found: Meaning, note: str
) -> None:
    read = of(outputs, activation, **choice)
    assert (read.head, read.rows, read.targets, read.horizon) == (found.head, found.rows, found.targets, found.horizon)
    assert (read.classes, read.anomalous) == (found.classes, found.anomalous)
    assert note in " ".join(read.notes)
    if "head" in choice:
        assert not read.notes


@pytest.mark.parametrize(
    ("outputs", "activation", "choice", "message"),
    [
        (
            2,
            LINEAR,
            {},
            "has 2 outputs, which are not those of 3 channels (flow, pressure, power); --targets",
        ),
        (4, LINEAR, {}, "has 4 outputs, which are not those of 3"),
        (6, LINEAR, {"head": "reconstruction"}, "has 6 outputs, which are not those of 3"),
        (3, LINEAR, {"targets": ("power", "flow")}, "which are not those of 2 channels (power, flow)"),
        (1, LINEAR, {"targets": ("flow", "power")}, "has 1 outputs, which are not those of 2"),
        (3, LINEAR, {"horizon": 2}, "--horizon 2: the model forecasts 1 step"),
        (6, LINEAR, {"horizon": 3}, "--horizon 3: the model forecasts 2 steps"),
        (6, LINEAR, {"horizon": 0}, "--horizon 0: the model forecasts 2 steps"),
        (6, LINEAR, {"horizon": -1}, "--horizon -1"),
        (3, LINEAR, {"ahead": 0}, "--ahead 0: expected 1 or more; a model of this very sample reconstructs"),
        (1, LINEAR, {"targets": ("heat",)}, "--targets heat: expected some of flow, pressure, power, each once"),
        (2, LINEAR, {"targets": ("flow", "flow")}, "--targets flow,flow: expected some of"),
        (3, SOFTMAX, {"head": "forecast"}, "ends in a softmax over 3 outputs: its outputs are classes, not a forecast"),
        (3, SOFTMAX, {"head": "reconstruction"}, "classes, not a reconstruction"),
        (3, SOFTMAX, {}, "a classification into 0, 1, 2: --normal must say which of them are normal, and leave some"),
        (3, SOFTMAX, {"normal": ("0", "1", "2")}, "--normal must say"),
        (3, SOFTMAX, {"normal": ("x",)}, "--normal must say"),
        (1, SIGMOID, {"normal": ("x",)}, "--normal must say"),
        (3, SOFTMAX, {"classes": ("a", "b")}, "--classes a,b: expected 3 different names"),
        (3, SOFTMAX, {"classes": ("a", "b", "b")}, "expected 3 different names, one for each output"),
    ],
)
def test_what_is_refused(outputs: int, activation: Activation, choice: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        of(outputs, activation, **choice)
    assert message in str(caught.value)
