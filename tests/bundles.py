"""Random bundles and streams for the tests; nothing trained."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import ADAPTIVE_INPUTS, Bundle, Channel, Metadata, Tensors, seal
from edge_lstm.bundle_layers import Cell, Dense, Function, shapes


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


FUNCTIONS = (
    Function("sigmoid"), Function("tanh"), Function("tanh", 1.5, 0.7), Function("clipped", 1.0, 0.0, 0.0),
    Function("clipped", 0.2, 0.5, 0.0, 1.0), Function("clipped", 1.0, 0.0), Function("leaky_relu", 0.1),
    Function("softsign"), Function("elu", 1.2, 0.9), Function("softplus"), Function("swish"),
)  # fmt: skip
GATES = (Function("sigmoid"), Function("sigmoid"), Function("clipped", 0.2, 0.5, 0.0, 1.0))


def random_cell(rng: np.random.Generator, hidden: int) -> Cell:
    """Return an LSTM layer of any kind."""

    def maybe(value: Any, otherwise: Any) -> Any:
        return value if rng.random() < 0.4 else otherwise

    candidate, output = (maybe(FUNCTIONS[rng.integers(len(FUNCTIONS))], Function("tanh")) for _ in range(2))
    bounded = candidate.kind == output.kind == "tanh"
    return Cell(
        hidden_size=hidden,
        output_size=maybe(int(rng.integers(1, hidden + 1)), 0),
        gate=GATES[rng.integers(len(GATES))],
        candidate=candidate,
        output=output,
        peephole=maybe(True, False),
        norm=maybe(True, False),
        initial=maybe(True, False),
        output_clip=maybe(2.5, 1.0) if bounded else 20.0,
        inner_clip=1.0 if bounded else 20.0,
        gate_clip=maybe(3.0, 0.0),
        cell_clip=maybe(1.5, 0.0 if bounded else 8.0),
        projection_clip=maybe(0.7, 0.0),
    )


def random_layers_bundle(
    seed: int, head: str = "forecast", channels: int = 3, bits: int = 16, **changes: object
) -> Bundle:
    """Return a sealed bundle of random layers of any kind."""
    rng = np.random.default_rng(seed)
    hidden = [int(rng.integers(1, 12)) for _ in range(rng.integers(1, 4))]
    cells = tuple(random_cell(rng, units) for units in hidden)
    classes = tuple(f"class{k}" for k in range(rng.integers(1, 4))) if head == "classification" else ()
    outputs = len(classes) or 2 * channels
    sizes = [*(int(rng.integers(1, 9)) for _ in range(rng.integers(0, 3))), outputs]
    functions = [FUNCTIONS[rng.integers(len(FUNCTIONS))] for _ in sizes]
    dense = tuple(Dense(output_size=n, function=f, input_clip=4.0) for n, f in zip(sizes, functions, strict=True))
    tensors: Tensors = {}
    for name, (dtype, shape) in shapes(cells, dense, channels).items():
        if dtype == np.int8:
            wide = rng.random() < 0.3
            values = rng.integers(*((-255, 256) if wide else (-128, 128)), shape)
            tensors[name] = values.astype(np.int16 if wide else np.int8)
            spread = rng.uniform(0.2, 3.0, shape[0]) / (60 * np.sqrt(shape[1]))
            tensors[f"{name}.scale"] = spread.astype(np.float32)
        elif not name.endswith(".scale"):
            tensors[name] = rng.normal(0, 0.7, shape).astype(np.float32)
    tensors |= _judge_of(channels, rng)
    if rng.random() < 0.5:
        for part in ("input", "output"):
            tensors |= {f"{part}.mean": rng.normal(0, 2, channels), f"{part}.scale": rng.uniform(0.5, 2, channels)}
    fields: dict[str, object] = {
        "name": f"random-layers-{seed}",
        "judge": "fitted",
        "channels": tuple(Channel(f"c{i}", "u") for i in range(channels)),
        "input_size": channels,
        "hidden_size": max(hidden),
        "num_layers": len(hidden),
        "activation_bits": bits,
        "input_clip": 20.0,
        "period_s": 1.0,
        "warm_up": 30,
        "settle": 10,
        "tau_b": 6.0,
        "tau_c": 10.0,
        "fit_rows": 1000,
        "head": head,
        "horizon": 1 if head == "forecast" else 0,
        "targets": () if head == "classification" else ("c0", f"c{channels - 1}"),
        "classes": classes,
        "anomalous": classes[-1:],
        "layers": cells,
        "dense": dense,
    }
    metadata = Metadata(**(fields | changes))  # type: ignore[arg-type]
    return seal(metadata, tensors, *random_stream(64, channels, seed))
