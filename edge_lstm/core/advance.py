"""One sample through one row: admit, judge, apply the rules, follow the alert, learn; then step; then forecast.

Where the network reconstructs or classifies the sample itself, it is judged after the step.

READ THIS to see the order of the numeric part; docs/numerics.md has each formula. The step stands between ``before``
and ``after``, because it takes several rows at once.
"""

from edge_lstm.core import admit, alert, normalize
from edge_lstm.core.cache import jit
from edge_lstm.core.maths import LN10, exp64, larger
from edge_lstm.core.rules import rules
from edge_lstm.core.score import CEILING, judge
from edge_lstm.core.table import (
    CLASSIFIES,
    DOUBT,
    F64,
    FORECASTS,
    GAP,
    LAST,
    LEVEL,
    NOTE_BUDGET,
    NOTE_CHANGE,
    NOTE_PHASE,
    NOTE_SETTLED,
    NOTE_SINCE,
    NOTE_SUSPECT,
    NOTE_TIME,
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
    Norms,
    Results,
    Scratch,
    State,
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
def _quality(norms: Norms, state: State, row: int, suspect: bool) -> int:
    if state.row[row, SEEN] <= norms.warm_up:
        return WARMING_UP
    if state.row[row, SINCE] < norms.settle:
        return RECOVERING
    return SUSPECT if suspect else OK


@jit
def _told(state: State, row: int, quality: int) -> int:
    """Return the quality as it is told: of a row in doubt, that it recovers; the score is what it is."""
    return RECOVERING if state.row[row, DOUBT] > 0.0 and quality != WARMING_UP else quality


@jit
def _lasting(state: State, row: int, surprise: float, quality: int) -> float:
    """Return the surprise with what it is worth because it lasts."""
    if quality in (OK, SUSPECT):
        return surprise + alert.persist(state, row, surprise)
    state.row[row, PERSISTENCE] = 0.0
    return surprise


@jit
def _strongest(
    norms: Norms, state: State, row: int, change: float,
    strength: float, reason: int, scratch: Scratch,
) -> tuple[float, int]:  # fmt: skip
    """Let the rules speak beside the judge; return the strength and reason that remain."""
    most, rule, channel = rules(norms, state, row, scratch)
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
def _admit(norms: Norms, state: State, row: int, x: F64, scratch: Scratch, results: Results, k: int) -> bool:
    """Check a sample and bring its row up to its time; return whether it is taken. ``scratch.note`` has its time."""
    note = scratch.note
    t = note[NOTE_TIME]
    outcome = admit.check(state, row, t, x)
    if outcome == SCORED:
        outcome = admit.in_order(state, row, t)
    _neutral(results, k, outcome)
    if outcome != SCORED:
        return False
    note[NOTE_SETTLED] = state.row[row, SINCE] >= norms.settle
    change = admit.pace(norms, state, row, t)
    note[NOTE_CHANGE] = change
    note[NOTE_PHASE] = alert.cut(state, row, results, k) if change != admit.STEADY else QUIET
    suspect = admit.complete(state, row, x, scratch)
    note[NOTE_SUSPECT] = normalize.clamp(norms, state, row, scratch) or suspect
    note[NOTE_SINCE] = state.row[row, SINCE]
    state.row[row, SEEN] += 1.0
    return True


@jit
def _judge(norms: Norms, state: State, row: int, scratch: Scratch, results: Results, k: int) -> None:
    """Judge the sample and follow the alert; then the sample is the row's last one."""
    note = scratch.note
    t, change, phase = note[NOTE_TIME], note[NOTE_CHANGE], int(note[NOTE_PHASE])
    quality = _quality(norms, state, row, note[NOTE_SUSPECT] != 0.0)
    surprise, reason = judge(norms, state, row, t, scratch)
    if quality == WARMING_UP:
        surprise = 0.0
    strength = _lasting(state, row, surprise, quality)
    strength, reason = _strongest(norms, state, row, change, strength, reason, scratch)

    level = alert.level_of(state.row[row, PERIOD], note[NOTE_BUDGET])
    state.row[row, LEVEL] = level
    if phase == QUIET:
        if change == admit.GAPPED and note[NOTE_SETTLED] != 0.0 and quality != WARMING_UP:
            phase = alert.gap(state, row, t, strength, scratch, results, k)
        else:
            heard = 0.0 if quality in (WARMING_UP, RECOVERING) else strength
            phase = alert.follow(state, row, t, heard, reason, level, scratch, results, k)

    results.surprise[k] = surprise
    results.score[k] = 1.0 - exp64(-surprise * LN10)
    results.quality[k] = _told(state, row, quality)
    results.reason[k] = reason
    results.strength[k] = strength
    results.phase[k] = phase
    results.level[k] = level


@jit
def _close(state: State, row: int, scratch: Scratch) -> None:
    """Make the sample the row's last one."""
    for c in range(scratch.x.shape[0]):
        state.channel[row, c, LAST] = scratch.x[c]
    state.row[row, TIME] = scratch.note[NOTE_TIME]
    state.row[row, SINCE] += 1.0
    state.row[row, DOUBT] = larger(0.0, state.row[row, DOUBT] - 1.0)


@jit
def before(
    norms: Norms, state: State, row: int, t: float, x: F64,
    budget_s: float, scratch: Scratch, results: Results, k: int,
) -> bool:  # fmt: skip
    """Take sample ``x`` at time ``t`` into ``row`` up to the step; sample ``k`` of ``results`` says what came of it.

    Where the network forecasts, the sample is judged here, by the forecast made before it.

    Args:
        t: event time, Unix seconds.
        x: one value per channel in data units, NaN where missing.
        budget_s: the stream may raise one alert in this many seconds by chance.

    Returns:
        Whether the network is to see it; ``scratch.u`` is what it sees.
    """
    scratch.note[NOTE_TIME] = t
    scratch.note[NOTE_BUDGET] = budget_s
    if not _admit(norms, state, row, x, scratch, results, k):
        return False
    if norms.head == FORECASTS:
        _judge(norms, state, row, scratch, results, k)
    normalize.inputs(norms, state, row, scratch)
    if norms.head == FORECASTS:
        _close(state, row, scratch)
    return True


@jit
def after(norms: Norms, state: State, row: int, scratch: Scratch, results: Results, k: int) -> None:
    """Turn what the network says, ``scratch.out``, into the row's forecast, or else judge the sample by it."""
    if norms.head != CLASSIFIES:
        normalize.forecast(norms, state, row, scratch)
    if norms.head != FORECASTS:
        _judge(norms, state, row, scratch, results, k)
        _close(state, row, scratch)
    for c in range(scratch.x.shape[0]):
        results.forecast[k, c, 0] = state.forecast[row, c, 0]
        results.forecast[k, c, 1] = state.forecast[row, c, 1]
