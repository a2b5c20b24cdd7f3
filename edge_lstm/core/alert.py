"""Events, not samples: when an alert starts, peaks and ends (docs/numerics.md, section 9)."""

from edge_lstm.core.cache import jit
from edge_lstm.core.maths import clip, larger, log10_64
from edge_lstm.core.table import (
    ACTIVE,
    ALERT_START,
    BLAME,
    CALM,
    END,
    EVENT_END,
    EVENT_PEAK,
    EVENT_REASON,
    EVENT_START,
    EVENT_STRENGTH,
    EXPECTED,
    GAP,
    IN_ALERT,
    LAST_OVER,
    OBSERVED,
    PEAK_TIME,
    PERSISTENCE,
    QUIET,
    REASON,
    SPREAD,
    START,
    START_END,
    STRENGTH,
    TIME,
    Results,
    Scratch,
    State,
)

COMMON = 2.0  # a surprise that says nothing by lasting: one in a hundred
LOOK = 10.0  # samples, about the memory of the judges: their surprises are one look, not ten
LASTING = 5.0  # most that lasting is worth; an end must not wait long for it to fade
HOLD = 20.0  # calm samples before an alert is over
HYSTERESIS = 0.5  # of the level: this much still counts as the same event


@jit
def persist(state: State, row: int, surprise: float) -> float:
    """Return what the surprises up to this one are worth because they last."""
    lasting = clip(state.row[row, PERSISTENCE] + (surprise - COMMON) / LOOK, 0.0, LASTING)
    state.row[row, PERSISTENCE] = lasting
    return lasting


@jit
def level_of(period_s: float, budget_s: float) -> float:
    """Return the strength that a sample reaches by chance once per budget."""
    if period_s <= 0.0:
        return 2.0
    return clip(log10_64(budget_s / larger(period_s, 1e-9)), 2.0, 12.0)


@jit
def _take_peak(state: State, row: int, t: float, strength: float, reason: int, scratch: Scratch) -> None:
    state.row[row, PEAK_TIME] = t
    state.row[row, STRENGTH] = strength
    state.row[row, REASON] = reason
    for c in range(scratch.x.shape[0]):
        state.peak[row, c, OBSERVED] = scratch.x[c]
        state.peak[row, c, EXPECTED] = state.forecast[row, c, 0]
        state.peak[row, c, SPREAD] = state.forecast[row, c, 1]
        state.peak[row, c, BLAME] = scratch.blame[c]


@jit
def _report(state: State, row: int, end: float, results: Results, k: int) -> None:
    """Copy the alert in progress into the results of sample ``k``."""
    results.event[k, EVENT_START] = state.row[row, ALERT_START]
    results.event[k, EVENT_PEAK] = state.row[row, PEAK_TIME]
    results.event[k, EVENT_END] = end
    results.event[k, EVENT_STRENGTH] = state.row[row, STRENGTH]
    results.event[k, EVENT_REASON] = state.row[row, REASON]
    for c in range(state.peak.shape[1]):
        for i in range(4):
            results.cause[k, c, i] = state.peak[row, c, i]


@jit
def _begin(state: State, row: int, start: float) -> None:
    state.row[row, IN_ALERT] = 1.0
    state.row[row, ALERT_START] = start
    state.row[row, CALM] = 0.0


@jit
def cut(state: State, row: int, results: Results, k: int) -> int:
    """End an alert that a forgotten past leaves hanging; return the phase."""
    if state.row[row, IN_ALERT] == 0.0:
        return QUIET
    state.row[row, IN_ALERT] = 0.0
    _report(state, row, state.row[row, TIME], results, k)
    return END


@jit
def gap(state: State, row: int, t: float, strength: float, scratch: Scratch, results: Results, k: int) -> int:
    """Report a gap as an alert that starts and ends with this sample; return the phase."""
    _begin(state, row, state.row[row, TIME])
    _take_peak(state, row, t, strength, GAP, scratch)
    state.row[row, IN_ALERT] = 0.0
    _report(state, row, t, results, k)
    return START_END


@jit
def follow(
    state: State, row: int, t: float, strength: float, reason: int,
    level: float, scratch: Scratch, results: Results, k: int,
) -> int:  # fmt: skip
    """Advance the row's alert by one sample; return the phase."""
    if state.row[row, IN_ALERT] == 0.0:
        if strength < level:
            return QUIET
        _begin(state, row, t)
        _take_peak(state, row, t, strength, reason, scratch)
        state.row[row, LAST_OVER] = t
        _report(state, row, t, results, k)
        return START
    if strength >= HYSTERESIS * level:
        state.row[row, CALM] = 0.0
        state.row[row, LAST_OVER] = t
    else:
        state.row[row, CALM] += 1.0
    if strength > state.row[row, STRENGTH]:
        _take_peak(state, row, t, strength, reason, scratch)
    if state.row[row, CALM] < HOLD:
        return ACTIVE
    state.row[row, IN_ALERT] = 0.0
    _report(state, row, state.row[row, LAST_OVER], results, k)
    return END
