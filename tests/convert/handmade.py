"""Models of known numbers, and normal rows of a system that nobody owns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.convert.checks import check
from edge_lstm.convert.conversion import Converted, convert
from edge_lstm.convert.draft import ConvertOptions
from edge_lstm.convert.meaning import Choice
from edge_lstm.convert.model import LINEAR, Activation, Dense, Lstm, Matrix, Model, Scaler
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import Results
from edge_lstm.fit.recordings import Sequence

NAMES = ("flow", "pressure", "power")
MEAN, SPREAD = np.array([80.0, 3.3, 400.0]), np.array([6.0, 0.2, 25.0])


def rows(n: int = 700, channels: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """Return (n, C) normal operation: slow waves and noise, each channel at its own level."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)[:, None]
    wave = np.sin(t / np.array([9.0, 14.0, 23.0])[:channels]) + 0.3 * rng.normal(size=(n, channels))
    return np.round(MEAN[:channels] + SPREAD[:channels] * wave, 4)


def sequence(x: NDArray[np.float64]) -> Sequence:
    """Return rows one second apart."""
    return Sequence("by hand", 1.7e9 + np.arange(len(x), dtype=np.float64), x)


def scaler(channels: int = 3) -> Scaler:
    """Return the scaler that the models were, as it were, trained behind; not that of the rows themselves."""
    return Scaler(MEAN[:channels] + 0.7 * SPREAD[:channels], 1.3 * SPREAD[:channels])


def lstm(rng: np.random.Generator, inputs: int, hidden: int, outputs: int = 0, **parts: Any) -> Lstm:
    """Return a layer of random floats; ``outputs`` of a projection."""
    r = outputs or hidden
    if outputs:
        parts.setdefault("weight_hr", Matrix.of_floats(rng.normal(0, 0.6, (outputs, hidden))))
    return Lstm(
        name=parts.pop("name", "lstm"),
        weight_ih=parts.pop("weight_ih", Matrix.of_floats(rng.normal(0, 0.6, (4 * hidden, inputs)))),
        weight_hh=parts.pop("weight_hh", Matrix.of_floats(rng.normal(0, 1.2 / np.sqrt(r), (4 * hidden, r)))),
        bias=rng.normal(0, 0.3, 4 * hidden),
        **parts,
    )


def dense(rng: np.random.Generator, inputs: int, outputs: int, activation: Activation = LINEAR) -> Dense:
    """Return a dense layer of random floats."""
    return Dense("fc", Matrix.of_floats(rng.normal(0, 0.6, (outputs, inputs))), rng.normal(0, 0.2, outputs), activation)


def plain(channels: int = 3, hidden: int = 8, outputs: int = 0, seed: int = 0, **fields: Any) -> Model:
    """Return one layer and a linear head."""
    rng = np.random.default_rng(seed)
    head = (dense(rng, hidden, outputs or channels),)
    return check(Model("by hand", (lstm(rng, channels, hidden),), **({"head": head} | fields)))


def integers(rng: np.random.Generator, rows: int, columns: int, kind: str) -> Matrix:
    """Return integer weights as sources have them: int8 with -128, uint8 with zero points, one scale for all."""
    spread = rng.uniform(0.5, 1.5, rows) / (80.0 * np.sqrt(columns))
    if kind == "uint8":
        values = rng.integers(0, 256, (rows, columns)).astype(np.uint8)
        values[0, 0], values[-1, -1] = 0, 255
        zeros = rng.integers(90, 170, rows)
        zeros[0], zeros[-1] = 255, 0  # differences of -255 and 255
        return Matrix.of_integers(values, spread, zeros)
    values = rng.integers(-128, 128, (rows, columns)).astype(np.int8)
    values[0, 0] = -128
    return Matrix.of_integers(values, spread if kind == "int8" else float(spread[0]))


def of_integers(kind: str, channels: int = 3, hidden: int = 8, seed: int = 3, **fields: Any) -> Model:
    """Return a model of two layers and a head, all weights integers."""
    rng = np.random.default_rng(seed)
    layers = [
        lstm(
            rng, width, hidden,
            weight_ih=integers(rng, 4 * hidden, width, kind), weight_hh=integers(rng, 4 * hidden, hidden, kind),
        )
        for width in (channels, hidden)
    ]  # fmt: skip
    last = Dense("fc", integers(rng, channels, hidden, kind), rng.normal(0, 0.2, channels))
    return check(Model("by hand, quantized", tuple(layers), (last,), **fields))


def made(model: Model, x: NDArray[np.float64] | None = None, **options: Any) -> Converted:
    """Convert on normal rows; what is not an option is a choice of what the outputs mean."""
    x = rows(channels=model.input_size) if x is None else x
    choice = Choice(**{name: options.pop(name) for name in tuple(options) if name in Choice.__dataclass_fields__})
    given = {"scaler": None if model.scaler else scaler(model.input_size)} | options
    return convert(model, [sequence(x)], NAMES[: x.shape[1]], ConvertOptions(choice=choice, **given))


def run(bundle: Bundle, x: NDArray[np.float64]) -> Results:
    """Run rows through a fresh stream of a bundle."""
    s = sequence(x)
    results = Engine(bundle.weights, 1).advance(np.zeros(len(x), np.int64), s.t, np.ascontiguousarray(x))
    return Results._make(array.copy() for array in results)
