"""Outputs from elsewhere behind our judge: with the engine's own they give the engine's results, to the bit."""

import msgspec
import numpy as np
import pytest

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import Engine
from edge_lstm.core.judged import judged
from edge_lstm.core.table import OUTCOMES, SCORED
from tests.bundles import hostile_stream, random_bundle, random_layers_bundle, random_stream
from tests.reference import Reference

HOUR_S = 3600.0
BUNDLES = {
    "forecast": random_bundle(),
    "forecast, 8 bits, 2 layers": random_bundle(layers=2, bits=8, seed=3),
    "four ahead": random_bundle(horizon=4, seed=2),
    "layers, some targets, scalers of their own": random_layers_bundle(3),
    "reconstruction": random_layers_bundle(1, "reconstruction"),
    "classification": random_layers_bundle(5, "classification"),
    "adaptive": random_bundle("adaptive"),
}


def outputs_of(bundle: Bundle, t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return what the oracle's network says after each sample; nothing, where a sample is not taken."""
    oracle, said = Reference(msgspec.to_builtins(bundle.metadata), bundle.tensors), []
    network = oracle.network
    oracle.network = lambda u: said.append(network(u)) or said[-1]  # type: ignore[method-assign,func-returns-value]
    outputs = np.full((len(t), bundle.metadata.outputs), np.nan)
    for k in range(len(t)):
        count = len(said)
        oracle.advance(float(t[k]), [float(v) for v in x[k]])
        if len(said) > count:
            outputs[k] = said[-1]
    return outputs


@pytest.mark.parametrize("stream", ["calm", "hostile"])
@pytest.mark.parametrize("name", BUNDLES)
def test_the_engines_own_outputs_give_its_results(name: str, stream: str) -> None:
    bundle = BUNDLES[name]
    make = random_stream if stream == "calm" else hostile_stream
    t, x = make(300 if stream == "hostile" else 220, len(bundle.metadata.channels), 7)
    engine = Engine(bundle.weights, 1, HOUR_S).advance(np.zeros(len(t), np.int64), t, x)
    outputs = outputs_of(bundle, t, x)
    found = judged(bundle.weights, t, x, outputs, HOUR_S)
    taken = engine.outcome == SCORED
    assert (np.isfinite(outputs).all(1) == taken).all()
    for field in ("outcome", "surprise", "score", "quality", "reason", "strength", "phase", "level"):
        assert getattr(found, field).tobytes() == getattr(engine, field).tobytes(), field
    assert found.forecast[taken].tobytes() == engine.forecast[taken].tobytes()
    ended = engine.phase > 0
    assert found.event[ended].tobytes() == engine.event[ended].tobytes()
    assert engine.surprise.max() > 1.0
    if stream == "hostile":
        assert len({OUTCOMES[k] for k in engine.outcome}) > 2


def test_other_outputs_give_other_results() -> None:
    bundle = BUNDLES["forecast"]
    t, x = random_stream(200, 3, 7)
    outputs = outputs_of(bundle, t, x)
    moved = outputs.copy()
    moved[100, 0] += 3.0  # a forecast for sample 101, of the first channel
    a, b = (judged(bundle.weights, t, x, made) for made in (outputs, moved))
    assert (a.surprise[:101] == b.surprise[:101]).all()
    assert a.surprise[101] != b.surprise[101]
    scale = bundle.weights.norms.scale[0]
    assert b.forecast[100, 0, 0] - a.forecast[100, 0, 0] == pytest.approx(3.0 * scale, rel=1e-5)
