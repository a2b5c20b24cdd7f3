"""Whether the CUDA table gives the CPU's bits, on hostile streams."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from edge_lstm.core.engine import Engine
from edge_lstm.core.table import END, I64, SCORED, START, START_END, Results
from tests.bundles import hostile_stream, random_bundle

DAY_S = 86_400.0
SHAPES = (("fitted", 8, 64, 1, 16), ("adaptive", 1, 32, 1, 16), ("fitted", 3, 33, 2, 8), ("fitted", 8, 130, 1, 16))


def same(mine: Results, its: Results) -> bool:
    """Return whether two results mean the same, to the last bit."""
    everything, events = np.ones(len(mine.phase), bool), np.isin(mine.phase, (START, END, START_END))
    meaning = {"forecast": mine.outcome == SCORED, "event": events, "cause": events}
    masks = [meaning.get(name, everything) for name in mine._fields]
    return all(a[mask].tobytes() == b[mask].tobytes() for a, b, mask in zip(mine, its, masks, strict=True))


def occurrence(rows: I64) -> I64:
    """Return of each element how many equal ones stand before it."""
    order = np.argsort(rows, kind="stable")
    ordered, found = rows[order], np.empty(len(rows), np.int64)
    found[order] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return found


def bits(n: int, steps: int) -> Iterator[dict[str, Any]]:
    """Compare device and CPU on hostile streams, rows mixed and repeated, in many calls; results and state."""
    for judge, channels, hidden, layers, width in SHAPES:
        bundle = random_bundle(judge, channels, hidden, layers, width, warm_up=20)
        rng, equal, samples = np.random.default_rng(0), True, 0
        engine, device = Engine(bundle.weights, n, DAY_S), Engine(bundle.weights, n, DAY_S, device="cuda")
        t, x = hostile_stream(steps, len(bundle.metadata.channels), 1)
        at = np.zeros(n, np.int64)
        while at.max() + n < len(t) or not samples:
            rows = rng.integers(0, n, rng.integers(1, 3 * n))
            k = (at[rows] + occurrence(rows)) % len(t)
            at += np.bincount(rows, minlength=n)
            equal &= same(engine.advance(rows, t[k], x[k], 1.0), device.advance(rows, t[k], x[k], 1.0))
            samples += len(rows)
        states = zip(engine.state, device.state, strict=True)
        equal &= all(ours.tobytes() == theirs.tobytes() for ours, theirs in states)
        yield {"judge": judge, "channels": channels, "hidden": hidden, "layers": layers, "activation_bits": width,
               "samples": samples, "equal": bool(equal)}  # fmt: skip
