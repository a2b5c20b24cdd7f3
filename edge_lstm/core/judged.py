"""Samples judged by outputs that come from elsewhere: the source's own float mathematics, behind our judge."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core.advance import after, before
from edge_lstm.core.cache import kernel
from edge_lstm.core.engine import WEEK_S
from edge_lstm.core.table import F64, Norms, Results, Scratch, State, Weights, new_results, new_scratch, new_state

Floats = NDArray[np.float64]


@kernel
def _judge(
    norms: Norms, state: State, scratch: Scratch, results: Results, t: F64, x: F64, outputs: F64, budget_s: float,
) -> None:  # fmt: skip
    for k in range(t.shape[0]):
        if before(norms, state, 0, t[k], x[k], budget_s, scratch, results, k):
            for j in range(outputs.shape[1]):
                scratch.out[j] = np.float32(outputs[k, j])
            after(norms, state, 0, scratch, results, k)


def judged(weights: Weights, t: Floats, x: Floats, outputs: Floats, budget_s: float = WEEK_S) -> Results:
    """Return what a fresh row says to samples if the network's outputs were these.

    Args:
        weights: whose judge is taken; its network is not run.
        t: (n,) Unix seconds.
        x: (n, C) data units.
        outputs: (n, O) what the last layer gives after each sample, as the bundle counts them.
        budget_s: one alert in this many seconds is allowed to chance.
    """
    results = new_results(len(t), x.shape[1])
    scratch = Scratch._make(array[0] for array in new_scratch(1, weights))
    arguments: Any = (weights.norms, new_state(1, weights), scratch, results, t, np.ascontiguousarray(x))
    _judge(*arguments, np.ascontiguousarray(outputs), float(budget_s))
    return results
