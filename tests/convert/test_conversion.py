"""From a model to a bundle: the same function, with every kind of layer, head, scaler and window."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_lstm.bundle import read, write
from edge_lstm.convert import conversion
from edge_lstm.convert.mathematics import run, run_windows
from edge_lstm.convert.model import RELU, SIGMOID, TANH, Activation, Dense, Lstm, Matrix, Model, Scaler, hard_sigmoid
from edge_lstm.convert.network import Quantized
from edge_lstm.errors import WeightsError
from tests.convert import handmade
from tests.convert.handmade import MEAN, NAMES, SPREAD, made, plain, rows, scaler

# Of integer weights nothing is lost. What is left is the rounding of 16-bit activations, half of 1/32767 of a bound:
# 3e-4 of inputs, which are bounded at about 20, 1.5e-5 of outputs; the memory of the cells adds some of these up.
ROUNDING = 5e-3
FLOAT = 0.05  # int8 weights, a row's largest one 127: 0.4 % each, likewise


def expected(model: Model, x: NDArray[np.float64], s: Scaler | None = None) -> NDArray[np.float64]:
    """Return the source's forecasts in data units, of a model that was trained behind ``s`` on both sides."""
    s = s or scaler(model.input_size)
    return run(model, (x - s.mean) / s.scale) * s.scale + s.mean


def apart(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Return the largest difference, in root mean square movements of what is wanted."""
    return float((np.abs(found - wanted).max(0) / wanted.std(0)).max())


def layer(inputs: int, hidden: int, outputs: int = 0, seed: int = 5, **parts: Any) -> Lstm:
    """Return a layer of integers."""
    rng = np.random.default_rng(seed)
    weights = {
        "weight_ih": handmade.integers(rng, 4 * hidden, inputs, "int8"),
        "weight_hh": handmade.integers(rng, 4 * hidden, outputs or hidden, "int8"),
    }
    if outputs:
        weights["weight_hr"] = handmade.integers(rng, outputs, hidden, "int8")
    return handmade.lstm(rng, inputs, hidden, outputs, **weights, **parts)


def head(inputs: int, outputs: int = 3, activation: Activation = handmade.LINEAR, seed: int = 6) -> Dense:
    rng = np.random.default_rng(seed)
    return Dense("fc", handmade.integers(rng, outputs, inputs, "int8"), rng.normal(0, 0.2, outputs), activation)


def normal(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(7).normal(0, 0.4, shape)


KINDS: dict[str, tuple[tuple[Lstm, ...], tuple[Dense, ...]]] = {
    "plain": ((layer(3, 8),), (head(8),)),
    "no head": ((layer(3, 3),), ()),
    "stacked, of different sizes": ((layer(3, 12), layer(12, 5), layer(5, 9)), (head(9),)),
    "peepholes": ((layer(3, 8, peephole=normal(3, 8)),), (head(8),)),
    "projection": ((layer(3, 8, 5), layer(5, 8, 4, bias_hr=normal(4))), (head(4),)),
    "projection, clipped": ((layer(3, 8, 5, projection_clip=0.1),), (head(5),)),
    "normalization": ((layer(3, 8, norm=1.0 + normal(4, 8)),), (head(8),)),
    "initial state": ((layer(3, 8, initial=(normal(8), normal(8))),), (head(8),)),
    "relu": ((layer(3, 8, candidate=RELU, output=RELU),), (head(8),)),
    "hard sigmoid": ((layer(3, 8, gate=hard_sigmoid(0.2, 0.5)),), (head(8),)),
    "clips": ((layer(3, 8, gate_clip=0.6, cell_clip=0.2),), (head(8),)),
    "dense layers": ((layer(3, 8),), (head(8, 7, RELU), head(7, 5, TANH), head(5))),
    "all of it": (
        (
            layer(3, 8, 5, peephole=normal(3, 8), norm=1.0 + normal(4, 8), initial=(normal(5), normal(8))),
            layer(5, 6, candidate=RELU, output=TANH, cell_clip=1.0),
        ),
        (head(6, 9, Activation("leaky_relu", 0.2)), head(9)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundle_forecasts_as_the_source_does(kind: str) -> None:
    model = Model("by hand", *KINDS[kind])
    x = rows(400)
    found = made(model, x, target_scaler=scaler(), activation_bits=16)
    assert apart(handmade.run(found.bundle, x).forecast[..., 0], expected(model, x)) < ROUNDING
    # and what the conversion says of itself is that difference
    data = found.bundle.tensors["normalize.scale"]
    difference = (handmade.run(found.bundle, x).forecast[..., 0] - expected(model, x)) / data
    assert found.arrival.rows == 400
    assert found.arrival.difference_rms == pytest.approx(np.sqrt(np.square(difference).mean()), rel=1e-6)
    assert found.arrival.difference_max == pytest.approx(np.abs(difference).max(), rel=1e-6)
    assert found.arrival.deviation_rms == pytest.approx(
        float(np.sqrt(np.square((expected(model, x) - expected(model, x).mean(0)) / data).mean()))
    )


@pytest.mark.parametrize(
    ("outputs", "choice", "picked", "ahead"),
    [
        (3, {"targets": ("power", "flow", "pressure")}, [2, 0, 1], 1),
        (1, {"targets": ("pressure",)}, [1], 1),
        (2, {"targets": ("power", "flow"), "ahead": 4}, [2, 0], 4),
        (6, {"targets": ("power", "flow"), "horizon": 3}, [2, 0], 3),
        (6, {"targets": ("power", "flow"), "horizon": 1}, [2, 0], 1),
        (6, {"horizon": 2, "ahead": 5}, [0, 1, 2], 6),
        (3, {"head": "reconstruction"}, [0, 1, 2], 0),
        (2, {"head": "reconstruction", "targets": ("power", "flow")}, [2, 0], 0),
    ],
)
def test_targets_and_horizons(outputs: int, choice: dict[str, Any], picked: list[int], ahead: int) -> None:
    model, x = Model("by hand", (layer(3, 8),), (head(8, outputs),)), rows(400)
    s = Scaler(scaler().mean[picked], scaler().scale[picked])
    bundle = made(model, x, target_scaler=s, activation_bits=16, **choice).bundle
    steps = len(picked) * (choice.get("horizon", 1) - 1)
    wanted = run(model, (x - scaler().mean) / scaler().scale)[:, steps : steps + len(picked)] * s.scale + s.mean
    found = handmade.run(bundle, x).forecast
    assert bundle.metadata.horizon == ahead
    # the column holds what was forecast for the next sample, or reconstructed of this one
    late = max(0, ahead - 1)
    assert apart(found[late:, picked, 0], wanted[: len(wanted) - late]) < ROUNDING
    others = [c for c in range(3) if c not in picked]
    assert (found[:, others, 1] == 0.0).all()  # no forecast of what the model has no output for
    assert bundle.metadata.targets == (tuple(NAMES[c] for c in picked) if others else ())


def test_scalers_arrive_wherever_they_stand() -> None:
    """In the file, given, folded into the targets' units; or none, for a model that takes values as they are."""
    model, x = Model("by hand", (layer(3, 8),), (head(8),)), rows(400)
    given = made(model, x, target_scaler=scaler(), activation_bits=16)
    own = made(replace(model, scaler=scaler()), x, target_scaler=scaler(), activation_bits=16)
    assert (handmade.run(given.bundle, x).forecast == handmade.run(own.bundle, x).forecast).all()
    u = (x - scaler().mean) / scaler().scale
    raw = made(model, u, scaler=None, activation_bits=16)
    assert apart(handmade.run(raw.bundle, u).forecast[..., 0], run(model, u)) < ROUNDING
    with pytest.raises(WeightsError, match="the file has a scaler of its own; --scaler would be a second one"):
        made(replace(model, scaler=scaler()), x, scaler=scaler())


@pytest.mark.parametrize("weights", ["float", "integer"])
@pytest.mark.parametrize("units", ["scaled as its inputs are", "in data units"])
def test_the_scaler_of_the_outputs_is_found(units: str, weights: str) -> None:
    """Whether a model gives its targets scaled or not is not in its file; the normal rows tell."""
    x, last = rows(400), head(8) if weights == "integer" else handmade.dense(np.random.default_rng(4), 8, 3)
    model = Model("by hand", (layer(3, 8) if weights == "integer" else plain().layers[0],), (last,))
    wanted = expected(model, x)
    if units == "in data units":
        m, s = last.weight, scaler()
        weight = Matrix(m.values, m.scale * s.scale) if m.is_integer else Matrix.of_floats(m.real * s.scale[:, None])
        model = replace(model, head=(Dense("fc", weight, last.bias * s.scale + s.mean),))
    found = made(model, x, activation_bits=16)
    assert any(f"its outputs are taken to be {units}, which fits" in note for note in found.notes)
    limit = ROUNDING if weights == "integer" else FLOAT
    assert apart(handmade.run(found.bundle, x).forecast[..., 0], wanted) < limit


def test_a_function_behind_the_last_layer_keeps_its_units() -> None:
    """Behind anything but a linear layer no scaler can be folded in; the bundle then has one of its own."""
    model, x = Model("by hand", (layer(3, 8),), (head(8, 3, SIGMOID),)), rows(400)
    s = Scaler(MEAN - 2 * SPREAD, 4 * SPREAD)  # a MinMaxScaler's range
    bundle = made(model, x, target_scaler=s, activation_bits=16).bundle
    wanted = run(model, (x - scaler().mean) / scaler().scale) * s.scale + s.mean
    assert apart(handmade.run(bundle, x).forecast[..., 0], wanted) < ROUNDING
    assert bundle.tensors["output.scale"].tolist() == s.scale.tolist()


@pytest.mark.parametrize(("level", "case"), [(3.3, "integer"), (12.0, "integer"), (3.3, "float")])
def test_a_constant_channel(level: float, case: str) -> None:
    """It takes part in the network at its level, however far that is from the scaler's mean, and in no judgement."""
    x = rows(400)
    x[:, 1] = level
    model = Model("by hand", (layer(3, 8) if case == "integer" else plain().layers[0],), (head(8),))
    bundle = made(model, x, target_scaler=scaler(), activation_bits=16).bundle
    found = handmade.run(bundle, x).forecast[..., 0]
    limit = ROUNDING if case == "integer" else FLOAT
    assert apart(found[:, [0, 2]], expected(model, x)[:, [0, 2]]) < limit
    assert not bundle.tensors["judge.blame"][:, 1].any()
    if case == "integer":
        u = np.abs((x - bundle.tensors["input.mean"]) / bundle.tensors["input.scale"])
        assert u.max() <= bundle.metadata.input_clip


@pytest.mark.parametrize(
    ("of_file", "stateful", "given", "copies", "found"),
    [
        (0, False, None, 8, (0, 1)),
        (24, False, None, 8, (24, 8)),
        (24, True, None, 8, (0, 1)),
        (24, False, 0, 8, (0, 1)),
        (24, False, 10, 4, (12, 4)),  # whole turns
        (0, False, 5, 8, (5, 5)),
        (0, False, 50, 1, (50, 1)),
    ],
)
def test_windows(of_file: int, stateful: bool, given: int | None, copies: int, found: tuple[int, int]) -> None:
    model = plain(window=of_file, stateful=stateful)
    result = made(model, rows(200), window=given, copies=copies, activation_bits=16)
    m = result.bundle.metadata
    assert (m.window, m.copies, m.settle) == (*found, max(30, found[0]))
    text = f"judged with {m.window - m.window // m.copies + 1} to {m.window} samples of context"
    assert any(text in note for note in result.notes) == bool(m.window)
    unsaid = any("does not say on how many rows" in note for note in result.notes)
    assert unsaid == (not of_file and given is None)


@pytest.mark.parametrize(("window", "copies"), [(6, 6), (12, 4)])
def test_what_a_window_sees(window: int, copies: int) -> None:
    """As many copies as samples: the exact window. Fewer: a context of between window - every + 1 and window."""
    model, x = Model("by hand", (layer(3, 8),), (head(8),)), rows(120)
    bundle = made(model, x, target_scaler=scaler(), window=window, copies=copies, activation_bits=16).bundle
    found, s = handmade.run(bundle, x).forecast[..., 0], scaler()
    u, every = (x - s.mean) / s.scale, window // copies
    for k in range(window, 120):
        seen = window - every + 1 + k % every
        wanted = run_windows(model, u[: k + 1], seen)[-1] * s.scale + s.mean if k in range(60, 90) else found[k]
        assert (np.abs(found[k] - wanted) < ROUNDING * expected(model, x).std(0)).all(), k


def test_the_bundle_reads_back(tmp_path: Path) -> None:
    """With its golden run, replayed by the same engine."""
    for k, model in enumerate((plain(), handmade.of_integers("uint8"))):
        bundle = made(model, rows(200)).bundle
        write(bundle, tmp_path / f"{k}.safetensors")
        again = read(tmp_path / f"{k}.safetensors")
        assert again.digest == bundle.digest
        assert again.tensors["golden.surprise"].tobytes() == bundle.tensors["golden.surprise"].tobytes()
        assert again.tensors["golden.forecast"][5:, :, 0].std() > 0.0


def _swap_gates(found: Quantized) -> None:
    for name in ("weight_ih_l0", "weight_hh_l0", "weight_ih_l0.scale", "weight_hh_l0.scale", "bias_l0"):
        i, f, g, o = np.split(found.tensors[name], 4)
        found.tensors[name] = np.concatenate([f, i, o, g])


def _turn_head(found: Quantized) -> None:
    found.tensors["head.weight"] = np.roll(found.tensors["head.weight"], 1, axis=0)


def _lose_recurrence(found: Quantized) -> None:
    found.tensors["weight_hh_l0"] = np.zeros_like(found.tensors["weight_hh_l0"])


@pytest.mark.parametrize("fault", [_swap_gates, _turn_head, _lose_recurrence])
def test_what_did_not_arrive_is_refused(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> Quantized:
        result = conversion_quantized(*arguments)
        fault(result)
        return result

    conversion_quantized = conversion.quantized
    monkeypatch.setattr(conversion, "quantized", wrong)
    with pytest.raises(WeightsError, match=r"did not arrive\. Are the channels in order"):
        made(plain(), target_scaler=scaler())
