"""What happens before a row is touched: time, order, missing values, gaps (docs/numerics.md, section 3)."""

import math

import numpy as np

from edge_lstm.core.cache import jit
from edge_lstm.core.maths import ewma, larger, smaller
from edge_lstm.core.table import (
    BAD_TIME,
    BIAS_MEAN,
    DOUBT,
    DUPLICATE,
    F64,
    FAST,
    LAST,
    LOG_DISTANCE,
    MISSING,
    NOT_FINITE,
    OUT_OF_ORDER,
    PERIOD,
    PERSISTENCE,
    RESIDUAL_MEAN,
    SCORED,
    SEASON_FAST,
    SEEN,
    SINCE,
    STALE,
    STALE_TIME,
    TIME,
    Norms,
    Scratch,
    State,
)

LATEST = 1e11  # Unix seconds; beyond it milliseconds were meant
REWIND = 10.0  # stale samples in rising order before their clock is believed
REWIND_PERIODS = 1000.0  # nearer than this, a stale sample may be one that was sent again
GAP_PERIODS = 30.0
GAP_AFTER = 20.0  # samples before the period is trusted
PERIOD_MEMORY = 100.0

STEADY, GAPPED, REWOUND, RESUMED = range(4)


@jit
def check(state: State, row: int, t: float, x: F64) -> int:
    """Return SCORED or why the sample can't be used, from its numbers alone."""
    if not (abs(t) <= LATEST):
        return BAD_TIME
    missing = 0
    for c in range(x.shape[0]):
        if math.isinf(x[c]):
            return NOT_FINITE
        if math.isnan(x[c]):
            missing += 1
    if missing == x.shape[0] or (missing > 0 and state.row[row, SEEN] == 0.0):
        return MISSING
    return SCORED


@jit
def in_order(state: State, row: int, t: float) -> int:
    """Return SCORED, or DUPLICATE or OUT_OF_ORDER for a sample not later than the last one.

    Stale samples that keep rising from far back are a source whose clock was set back: one of them is let through.
    Near ones may have been sent again.
    """
    if state.row[row, SEEN] == 0.0 or t > state.row[row, TIME]:
        return SCORED
    state.row[row, STALE] = state.row[row, STALE] + 1.0 if t > state.row[row, STALE_TIME] else 1.0
    state.row[row, STALE_TIME] = t
    far = state.row[row, TIME] - t > REWIND_PERIODS * state.row[row, PERIOD]
    if far and state.row[row, STALE] >= REWIND:
        return SCORED
    return DUPLICATE if t == state.row[row, TIME] else OUT_OF_ORDER


@jit
def forget(state: State, row: int) -> None:
    """Drop what was true of the moment; keep what was learnt of the stream."""
    for layer in range(state.h.shape[1]):
        for j in range(state.h.shape[2]):
            state.h[row, layer, j] = np.float32(0.0)
            state.c[row, layer, j] = np.float32(0.0)
    for k in range(state.pending.shape[1]):
        for c in range(state.channel.shape[1]):
            state.pending[row, k, c, 0] = 0.0
            state.pending[row, k, c, 1] = 0.0
    for c in range(state.channel.shape[1]):
        state.forecast[row, c, 0] = 0.0
        state.forecast[row, c, 1] = 0.0
        state.channel[row, c, BIAS_MEAN] = 0.0
        state.channel[row, c, FAST] = 0.0
        state.channel[row, c, SEASON_FAST] = 0.0
        state.channel[row, c, RESIDUAL_MEAN] = 0.0
    state.row[row, LOG_DISTANCE] = 0.0
    state.row[row, PERSISTENCE] = 0.0
    state.row[row, SINCE] = 0.0


@jit
def pace(norms: Norms, state: State, row: int, t: float) -> int:
    """Follow the stream's clock and period; forget after a gap.

    Returns:
        STEADY, REWOUND, GAPPED where samples are missing, or RESUMED where it may be us who missed them.
    """
    seen = state.row[row, SEEN]
    rewound = seen > 0.0 and t <= state.row[row, TIME]  # in_order let it through
    state.row[row, STALE] = 0.0
    state.row[row, STALE_TIME] = 0.0
    period = state.row[row, PERIOD]
    if norms.period_s > 0.0:
        period = norms.period_s
    gapped = False
    if seen > 0.0 and not rewound:
        dt = t - state.row[row, TIME]
        gapped = seen >= GAP_AFTER and period > 0.0 and dt > GAP_PERIODS * period
        if norms.period_s <= 0.0:
            period = dt if period <= 0.0 else ewma(period, smaller(dt, 10.0 * period), PERIOD_MEMORY, seen)
    state.row[row, PERIOD] = period
    if rewound or gapped:
        forget(state, row)
    if rewound:
        return REWOUND
    if gapped:
        return RESUMED if state.row[row, DOUBT] >= doubt(norms) else GAPPED
    return STEADY


@jit
def doubt(norms: Norms) -> float:
    """Return for how many samples the state is in doubt after we may have missed some: until it has settled."""
    return larger(norms.settle, 1.0)


@jit
def complete(state: State, row: int, x: F64, scratch: Scratch) -> bool:
    """Fill ``scratch.x``, a missing channel with its last value; return whether one was missing."""
    missing = False
    for c in range(x.shape[0]):
        if math.isnan(x[c]):
            missing = True
            scratch.x[c] = state.channel[row, c, LAST]
        else:
            scratch.x[c] = x[c]
    return missing
