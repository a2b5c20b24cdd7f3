"""advance() over many rows on the CPU."""

from edge_lstm.core.advance import advance_row
from edge_lstm.core.cache import kernel
from edge_lstm.core.silence import hear
from edge_lstm.core.table import F64, I64, Results, Scratch, State, Weights


@kernel
def advance(
    weights: Weights, state: State, rows: I64, t: F64, x: F64,
    now: float, budget_s: float, scratch: Scratch, results: Results,
) -> None:  # fmt: skip
    """Take ``n`` samples into their rows, in order; a row may stand in ``rows`` many times.

    Args:
        rows: (n,) row of each sample.
        t: (n,) event times, Unix seconds.
        x: (n, C) values.
        now: when they arrived, seconds on any steady clock; for the watch over silent streams.
    """
    for k in range(rows.shape[0]):
        results.silence[k] = hear(state, rows[k], now)
        advance_row(weights, state, rows[k], t[k], x[k], budget_s, scratch, results, k)
