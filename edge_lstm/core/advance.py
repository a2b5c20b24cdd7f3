"""One sample through one row: admit, judge, apply the rules, follow the alert, learn, step, forecast.

READ THIS to see the order of the numeric part; docs/numerics.md has each formula.
"""

from edge_lstm.core import admit, alert, lstm, normalize
from edge_lstm.core.cache import jit
from edge_lstm.core.maths import LN10, exp64
from edge_lstm.core.rules import rules
from edge_lstm.core.score import CEILING, judge
from edge_lstm.core.table import (
    F64,
    GAP,
    LEVEL,
    NOTHING,
    OK,
    PERIOD,
    PERSISTENCE,
    QUIET,
    RECOVERING,
    SCORED,
    SEEN,
    SINCE,
    SUSPECT,
    TIME,
    WARMING_UP,
    Results,
    Scratch,
    State,
    Weights,
)


@jit
def _neutral(results: Results, k: int, outcome: int) -> None:
    results.outcome[k] = outcome
    results.surprise[k] = 0.0
    results.score[k] = 0.0
    results.quality[k] = OK
    results.reason[k] = NOTHING
    results.strength[k] = 0.0
    results.phase[k] = QUIET
    results.level[k] = 0.0


@jit
def _quality(weights: Weights, state: State, row: int, suspect: bool) -> int:
    if state.row[row, SEEN] <= weights.warm_up:
        return WARMING_UP
    if state.row[row, SINCE] < weights.settle:
        return RECOVERING
    return SUSPECT if suspect else OK


@jit
def _lasting(state: State, row: int, surprise: float, quality: int) -> float:
    """Return the surprise with what it is worth because it lasts."""
    if quality in (OK, SUSPECT):
        return surprise + alert.persist(state, row, surprise)
    state.row[row, PERSISTENCE] = 0.0
    return surprise


@jit
def _look_ahead(weights: Weights, state: State, row: int, scratch: Scratch, results: Results, k: int) -> None:
    """Let the network see the sample and forecast the next one."""
    normalize.inputs(weights, state, row, scratch)
    lstm.step(weights, state, row, scratch)
    normalize.forecast(weights, state, row, scratch)
    for c in range(scratch.x.shape[0]):
        results.forecast[k, c, 0] = state.forecast[row, c, 0]
        results.forecast[k, c, 1] = state.forecast[row, c, 1]


@jit
def _strongest(
    weights: Weights, state: State, row: int, change: int,
    strength: float, reason: int, scratch: Scratch,
) -> tuple[float, int]:  # fmt: skip
    """Let the rules speak beside the judge; return the strength and reason that remain."""
    most, rule, channel = rules(weights, state, row, scratch)
    if change == admit.GAPPED:
        most, rule, channel = CEILING, GAP, -1
    if most > strength:
        for c in range(scratch.blame.shape[0]):
            scratch.blame[c] = most if c == channel else 0.0
        return most, rule
    if strength > 0.0:
        return strength, reason
    return 0.0, NOTHING


@jit
def advance_row(
    weights: Weights, state: State, row: int, t: float, x: F64,
    budget_s: float, scratch: Scratch, results: Results, k: int,
) -> None:  # fmt: skip
    """Take sample ``x`` at time ``t`` into ``row``; sample ``k`` of ``results`` says what came of it.

    Args:
        t: event time, Unix seconds.
        x: one value per channel in data units, NaN where missing.
        budget_s: the stream may raise one alert in this many seconds by chance.
    """
    outcome = admit.check(state, row, t, x)
    if outcome == SCORED:
        outcome = admit.in_order(state, row, t)
    _neutral(results, k, outcome)
    if outcome != SCORED:
        return

    phase = QUIET
    settled = state.row[row, SINCE] >= weights.settle
    change = admit.pace(weights, state, row, t)
    if change != admit.STEADY:
        phase = alert.cut(state, row, results, k)
    suspect = admit.complete(state, row, x, scratch)
    suspect = normalize.clamp(weights, state, row, scratch) or suspect
    state.row[row, SEEN] += 1.0
    quality = _quality(weights, state, row, suspect)

    surprise, reason = judge(weights, state, row, t, scratch)
    if quality == WARMING_UP:
        surprise = 0.0
    strength = _lasting(state, row, surprise, quality)
    strength, reason = _strongest(weights, state, row, change, strength, reason, scratch)

    level = alert.level_of(state.row[row, PERIOD], budget_s)
    state.row[row, LEVEL] = level
    if phase == QUIET:
        if change == admit.GAPPED and settled and quality != WARMING_UP:
            phase = alert.gap(state, row, t, strength, scratch, results, k)
        else:
            heard = 0.0 if quality in (WARMING_UP, RECOVERING) else strength
            phase = alert.follow(state, row, t, heard, reason, level, scratch, results, k)

    results.surprise[k] = surprise
    results.score[k] = 1.0 - exp64(-surprise * LN10)
    results.quality[k] = quality
    results.reason[k] = reason
    results.strength[k] = strength
    results.phase[k] = phase
    results.level[k] = level

    _look_ahead(weights, state, row, scratch, results, k)
    state.row[row, TIME] = t
    state.row[row, SINCE] += 1.0
