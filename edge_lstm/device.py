"""Where a state table is better off: tried out, for the break-even depends on both processors and on the network."""

import time

import numpy as np

from edge_lstm.core.engine import Device, Engine, cuda_is_there
from edge_lstm.core.table import Weights

TRIES = 5


def faster(weights: Weights, rows: int) -> Device:
    """Return the device that advances so many rows in less time; ``cpu`` where there is no other.

    With a CUDA device it takes some ten seconds, most of them to compile.
    """
    if not cuda_is_there():
        return "cpu"
    return min(("cpu", "cuda"), key=lambda device: _call_s(Engine(weights, rows, device=device)))


def _call_s(engine: Engine) -> float:
    """Return the shortest time of a call that advances all rows, seconds."""
    rows = np.arange(engine.capacity)
    x, times = np.ones((len(rows), engine.channels)), []
    for k in range(TRIES):
        began = time.perf_counter()
        engine.advance(rows, np.full(len(rows), float(k)), x)
        times.append(time.perf_counter() - began)
    return min(times)
