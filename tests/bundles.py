"""Random bundles and streams for the tests; nothing trained."""

import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import ADAPTIVE_INPUTS, Bundle, Channel, Metadata, Tensors, seal


def random_bundle(
    judge: str = "fitted",
    channels: int = 3,
    hidden: int = 8,
    layers: int = 1,
    bits: int = 16,
    seed: int = 0,
    **changes: object,
) -> Bundle:
    """Return a sealed bundle of random weights, extremes among them.

    Args:
        changes: fields of the metadata to set.
    """
    rng = np.random.default_rng(seed)
    channels = channels if judge == "fitted" else 1
    inputs = channels if judge == "fitted" else ADAPTIVE_INPUTS
    tensors: Tensors = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        values = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
        values[rng.random((rows, columns)) < 0.02] = 127
        tensors[name] = values
        spread = rng.uniform(0.2, 3.0, rows) / (60 * np.sqrt(columns))
        tensors[f"{name}.scale"] = spread.astype(np.float32)

    for layer in range(layers):
        matrix(f"weight_ih_l{layer}", 4 * hidden, inputs if layer == 0 else hidden)
        matrix(f"weight_hh_l{layer}", 4 * hidden, hidden)
        tensors[f"bias_l{layer}"] = rng.normal(0, 1, 4 * hidden).astype(np.float32)
    matrix("head.weight", 2 * channels, hidden)
    tensors["head.bias"] = rng.normal(0, 0.5, 2 * channels).astype(np.float32)
    if judge == "fitted":
        tensors |= _judge_of(channels, rng)
    fields: dict[str, object] = {
        "name": f"random-{seed}",
        "judge": judge,
        "channels": tuple(Channel(f"c{i}", "u") for i in range(channels)),
        "input_size": inputs,
        "hidden_size": hidden,
        "num_layers": layers,
        "activation_bits": bits,
        "input_clip": 20.0 if judge == "fitted" else 8.0,
        "period_s": 1.0 if judge == "fitted" else 0.0,
        "warm_up": 30 if judge == "fitted" else 150,
        "settle": 10,
        "tau_b": 6.0,
        "tau_c": 10.0,
        "fit_rows": 1000 if judge == "fitted" else 0,
    }
    metadata = Metadata(**(fields | changes))  # type: ignore[arg-type]
    t, x = random_stream(64, channels, seed)
    return seal(metadata, tensors, t, x)


def _judge_of(channels: int, rng: np.random.Generator) -> Tensors:
    whiten = np.tril(rng.normal(0, 0.5, (2, channels, channels)))
    whiten[:, range(channels), range(channels)] += 1.0
    return {
        "normalize.mean": rng.normal(0, 5, channels),
        "normalize.scale": rng.uniform(0.1, 3, channels),
        "judge.center": rng.normal(0, 0.1, (2, channels)),
        "judge.whiten": whiten,
        "judge.blame": rng.uniform(0.5, 2, (2, channels)),
        "judge.evidence": np.array([[0.0, 1.5], [-0.2, 1.0], [0.1, 2.0]]),
        "judge.tail": np.array([-1.0, 0.9, 0.2, 0.15]),
        "rules.range": np.stack([np.full(channels, -20.0), np.full(channels, 20.0)], 1),
        "rules.flat": np.stack([np.full(channels, 0.05), np.full(channels, 3.0)], 1),
    }


def random_stream(rows: int, channels: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times (rows,) one second apart and wandering values (rows, channels)."""
    rng = np.random.default_rng(seed + 1000)
    x = np.cumsum(rng.normal(0, 0.3, (rows, channels)), 0) + rng.normal(0, 1, (rows, channels))
    return 1.7e9 + np.arange(rows, dtype=np.float64), np.round(x, 2)


def hostile_stream(  # noqa: C901  a list of what goes wrong
    rows: int, channels: int, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a stream with all that goes wrong: gaps, repeats, rewinds, missing and absurd values."""
    t, x = random_stream(rows, channels, seed)
    rng = np.random.default_rng(seed + 2000)
    for at in rng.integers(0, rows, rows // 20):
        x[at, rng.integers(channels)] = rng.choice([np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, -0.0, 1e15, 1e30])
    for at in rng.integers(1, rows - 40, rows // 100):
        what = rng.integers(6)
        if what == 0:
            t[at:] += rng.uniform(5, 500)  # gap
        elif what == 1:
            t[at] = t[at - 1]  # duplicate
        elif what == 2:
            t[at], t[at - 1] = t[at - 1], t[at]  # out of order
        elif what == 3:
            x[at : at + 40, rng.integers(channels)] = x[at, 0] if np.isfinite(x[at, 0]) else 1.0
        elif what == 4:
            x[at] = rng.normal(0, 40, channels)  # spike
        else:
            t[at] = rng.choice([np.nan, np.inf, 1e300, -1e12])
    if rows > 500:
        t[rows // 2 :] -= 5000.0  # the clock of the source is set back
    return t, x
