"""The project's own step, as the benchmarks call it: one layer alone, and the whole advance of a row."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.peers.lstm import F32, random_lstm
from edge_lstm.bundle import Bundle, seal
from edge_lstm.core import lstm
from edge_lstm.core.cache import jit, kernel
from edge_lstm.core.dot import TILE
from edge_lstm.core.engine import Engine
from edge_lstm.core.handle import Handle, fetcher
from edge_lstm.core.lstm import Packed, Tile
from edge_lstm.core.smallest import smallest_weights
from edge_lstm.core.table import Network, pad
from edge_lstm.detector import Detector
from tests.bundles import random_bundle, random_stream


class Tables(NamedTuple):
    """What a step without judge needs."""

    packed: Packed
    h: F32  # (rows, 1, U)
    c: F32
    tile: Tile
    u: F32  # (TILE, I), padded
    out: F32  # (TILE, 0): no head


def _tables(network: Network, rows: int) -> Tables:
    units = pad(network.weight_hh.shape[2])
    return Tables(
        packed=lstm.pack(network),
        h=np.zeros((rows, 1, units), np.float32),
        c=np.zeros((rows, 1, units), np.float32),
        tile=lstm.new_tile(network),
        u=np.zeros((TILE, pad(network.input_size)), np.float32),
        out=np.zeros((TILE, 0), np.float32),
    )


LIKE = _tables(smallest_weights().network, 1)
_fetch: Any = fetcher(LIKE)


@jit
def _step_all(tables: Tables, x: F32) -> None:
    rows = x.shape[0]
    for first in range(0, rows, TILE):
        n = min(TILE, rows - first)
        for r in range(n):
            tables.tile.rows[r] = first + r
            for k in range(x.shape[1]):
                tables.u[r, k] = x[first + r, k]
        lstm.step(tables.packed, tables.h, tables.c, tables.tile, n, tables.u, tables.out)


@kernel
def _step(handle: int, x: F32) -> None:
    """Advance row r by ``x[r]``, all of them."""
    _step_all(_fetch(handle), x)


@kernel
def _loop(handle: int, x: F32, times: int) -> None:
    """The same, so many times."""
    tables = _fetch(handle)
    for _ in range(times):
        _step_all(tables, x)


def bundle_of(input_size: int, hidden_size: int, bits: int) -> Bundle:
    """Return a bundle with the LSTM that the peers compute, quantized, and a random rest."""
    base = random_bundle(channels=input_size, hidden=hidden_size, bits=bits)
    tensors = {name: array for name, array in base.tensors.items() if not name.startswith("golden.")}
    layer = random_lstm(input_size, hidden_size)
    for name in ("weight_ih", "weight_hh"):
        weight = getattr(layer, name)
        scale = np.abs(weight).max(1) / np.float32(127)
        tensors[f"{name}_l0"] = np.round(weight / scale[:, None]).astype(np.int8)
        tensors[f"{name}_l0.scale"] = scale
    tensors["bias_l0"] = layer.bias
    return seal(base.metadata, tensors, *random_stream(8, input_size))


class Ours:
    """One layer for ``rows`` rows, and beside it an engine of as many.

    Args:
        bits: of an activation; 16 is what bundles have unless they say otherwise.
    """

    tolerance = 0.05

    def __init__(self, input_size: int, hidden_size: int, rows: int, bits: int = 16) -> None:
        self.name = f"edge-lstm, {bits}-bit"
        bundle = bundle_of(input_size, hidden_size, bits)
        weights = bundle.weights
        tables = _tables(weights.network, rows)
        self.h = tables.h[:, 0, :hidden_size]
        self.x = np.zeros((1, input_size), np.float32)
        self._handle = Handle(tables, LIKE)
        self._address = self._handle.address
        self.engine = Engine(weights, rows)
        self.engine_rows, self.t = np.arange(rows), np.zeros(rows)
        self._detector = Detector(bundle)

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H)."""
        _step(self._address, x)
        return self.h

    def loop(self, n: int) -> None:
        """Run ``n`` steps of row 0 in one compiled call."""
        _loop(self._address, self.x, n)

    def advance(self, x: NDArray[np.float64]) -> None:
        """Advance all rows of the engine by a sample x (rows, I), one second after the last."""
        self.t += 1.0
        self.engine.advance(self.engine_rows, self.t, x)

    def score_one(self, x: NDArray[np.float64]) -> None:
        """Score a sample x (1, I) as a user of the library does."""
        self._detector.score_one(x[0])
