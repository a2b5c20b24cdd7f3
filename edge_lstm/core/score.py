"""How improbable a sample is, given the forecast made before it (docs/numerics.md, section 6).

Two judges. The fitted one compares with held-back normal rows of the same system, frozen in the bundle. The adaptive
one knows nothing beforehand and compares with the stream's own past.
"""

import math

import numpy as np

from edge_lstm.core.cache import jit
from edge_lstm.core.layers import LARGE
from edge_lstm.core.maths import LN10, LOG10E, clip, ewma, exp64, fma, larger, log64, smaller
from edge_lstm.core.normalize import running_scale
from edge_lstm.core.table import (
    ADAPTIVE,
    BIAS,
    BIAS_MEAN,
    CLASSIFICATION,
    CLASSIFIES,
    DRIFT,
    F32,
    FAST,
    FORECAST,
    HOURS,
    LOG_DISTANCE,
    MEAN,
    NOTHING,
    PROFILE,
    PROFILE_COUNT,
    RECONSTRUCTION,
    RECONSTRUCTS,
    RESIDUAL_MEAN,
    SEASON,
    SEASON_FAST,
    SEEN,
    SINCE,
    SUSTAINED,
    TAIL_COUNT,
    TAIL_M,
    TAIL_MEAN,
    TAIL_U,
    TAIL_V,
    TAILS,
    Norms,
    Scratch,
    State,
)

Q = 0.02  # share of evidence beyond the threshold of a tail
BODY = 1.6989700043360187  # -log10(Q)
CEILING = 15.0  # beyond it a float64 score is 1
HISTORY = 5000.0  # samples a learnt tail remembers
SKIP = 50.0  # first samples, whose giant residuals would poison the tail
SHORT = 10.0  # memory of the fast means, samples
SEASON_MEMORY = 120.0


@jit
def tail_surprise(e: float, origin: float, threshold: float, sigma: float, xi: float) -> float:
    """Return -log10 of the probability of exceeding ``e``.

    Straight up to the threshold, where it reaches -log10(Q); a generalized Pareto tail beyond (Pickands 1975).
    """
    if threshold <= origin or sigma <= 0.0 or e <= origin:
        return 0.0
    if e <= threshold:
        return BODY * (e - origin) / (threshold - origin)
    y = e - threshold
    far = log64(fma(xi, y / sigma, 1.0)) / xi
    return smaller(CEILING, fma(far, LOG10E, BODY))


@jit
def _learn(state: State, row: int, k: int, e: float) -> float:
    """Return the surprise of evidence ``e`` under learnt tail ``k``, which then learns it.

    A running quantile by stochastic approximation, and the two moments of the excess over it
    (Hosking and Wallis 1987) for shape and scale.
    """
    tail = state.tail
    n = state.row[row, SEEN]
    if n <= SKIP:
        return 0.0
    i = n - (SKIP + 1.0)
    if i == 0.0:
        tail[row, k, TAIL_U] = e
    u, m, v = tail[row, k, TAIL_U], tail[row, k, TAIL_M], tail[row, k, TAIL_V]
    y = e - u
    surprise = 0.0
    if i >= 100.0 and u >= 1e-100 and m >= 1e-100:
        square = m * m
        variance = larger(fma(-m, m, v), 1e-12 * square)
        xi = clip(0.5 * (1.0 - square / variance), 0.1, 0.3)
        surprise = tail_surprise(e, 0.0, u, m * (1.0 - xi), xi)
    mean = tail[row, k, TAIL_MEAN]
    mean = fma(larger(1.0 / HISTORY, 1.0 / (i + 1.0)), e - mean, mean)
    tail[row, k, TAIL_MEAN] = mean
    beyond = 0.0
    if y > 0.0:
        beyond = 1.0
        tail[row, k, TAIL_COUNT] += 1.0
        b = larger(1.0 / (HISTORY * Q), 1.0 / tail[row, k, TAIL_COUNT])
        m = fma(b, y - m, m)
        tail[row, k, TAIL_M] = m
        tail[row, k, TAIL_V] = fma(b, fma(y, y, -v), v)
    pace = larger(3.0 / HISTORY, 3.0 / (i + 10.0))
    tail[row, k, TAIL_U] = fma(pace * (2.0 * larger(m, mean)), beyond - Q, u)
    return surprise


@jit
def _join(largest: float) -> float:
    """Return the surprise of the largest of TAILS surprises (Sidak 1967)."""
    q = 1.0 - exp64(-largest * LN10)
    g = 1.0
    for _ in range(TAILS - 1):
        g = fma(g, q, 1.0)
    return larger(0.0, fma(-log64(g), LOG10E, largest))


@jit
def _hour(t: float) -> int:
    """Return the hour of the day, UTC."""
    return int(math.floor(t / 3600.0)) % HOURS  # noqa: RUF046  jitted, floor gives a float


@jit
def _season_evidence(state: State, row: int, t: float, x: float) -> float:
    """Return the recent distance from the profile of this hour of the day."""
    k = _hour(t)
    usual = state.season[row, k, PROFILE]
    if state.season[row, k, PROFILE_COUNT] == 0.0:
        usual = state.channel[row, 0, MEAN]
    fast = state.channel[row, 0, SEASON_FAST]
    fast = ewma(fast, x - usual, SHORT, state.row[row, SINCE] + 1.0)
    state.channel[row, 0, SEASON_FAST] = fast
    return abs(fast)


@jit
def _learn_season(state: State, row: int, t: float, x: float) -> None:
    k = _hour(t)
    state.season[row, k, PROFILE_COUNT] += 1.0
    count = state.season[row, k, PROFILE_COUNT]
    state.season[row, k, PROFILE] = ewma(state.season[row, k, PROFILE], x, SEASON_MEMORY, count)


@jit
def _judge_adaptive(state: State, row: int, t: float, scratch: Scratch) -> tuple[float, int]:
    x = scratch.x[0]
    channel = state.channel
    if state.row[row, SINCE] == 0.0:
        channel[row, 0, FAST] = x
        _learn_season(state, row, t, x)
        return 0.0, NOTHING
    n = state.row[row, SEEN]
    r = x - state.forecast[row, 0, 0]
    largest, reason = _learn(state, row, 0, abs(r)), FORECAST
    if n > SKIP:
        # between the forecast's own spread and the stream's: the first alone trusts quiet moments too much
        unit = math.sqrt(state.forecast[row, 0, 1] * running_scale(state, row))
        relative = clip(r / unit, -1e6, 1e6)
        channel[row, 0, BIAS_MEAN] = ewma(channel[row, 0, BIAS_MEAN], relative, SHORT, n)
    s = _learn(state, row, 1, abs(channel[row, 0, BIAS_MEAN]))
    if s > largest:
        largest, reason = s, BIAS
    fast = ewma(channel[row, 0, FAST], x, SHORT, state.row[row, SINCE] + 1.0)
    channel[row, 0, FAST] = fast
    s = _learn(state, row, 2, abs(fast - channel[row, 0, MEAN]))
    if s > largest:
        largest, reason = s, DRIFT
    s = _learn(state, row, 3, _season_evidence(state, row, t, x))
    _learn_season(state, row, t, x)
    if s > largest:
        largest, reason = s, SEASON
    scratch.blame[0] = 1.0
    return _join(largest), reason


@jit
def _distance(norms: Norms, k: int, v: float, state: State, row: int, scratch: Scratch) -> float:
    """Return the Mahalanobis distance of the residual (k = 0) or of its recent mean (k = 1), per channel."""
    channels = scratch.e.shape[0]
    d = 0.0
    for i in range(channels):
        a = 0.0
        for j in range(i + 1):
            e = scratch.e[j] if k == 0 else state.channel[row, j, RESIDUAL_MEAN]
            a = fma(norms.whiten[k, i, j], e - norms.center[k, j], a)
        d = fma(a, a, d)
    return d / v


@jit
def _judged(norms: Norms, state: State, row: int) -> float:
    """Return the number of judged samples since ``forget``, this one counted; 0 or less: it can't be judged."""
    return state.row[row, SINCE] - np.float64(norms.horizon) + 1.0


@jit
def _judge_fitted(norms: Norms, state: State, row: int, scratch: Scratch) -> tuple[float, int]:
    channels = scratch.e.shape[0]
    m = _judged(norms, state, row)
    if m < 1.0:
        return 0.0, NOTHING
    for c in range(channels):
        r = scratch.x[c] - state.forecast[row, c, 0]
        e = clip(r / norms.scale[c], -20.0, 20.0)
        scratch.e[c] = e
        state.channel[row, c, RESIDUAL_MEAN] = ewma(state.channel[row, c, RESIDUAL_MEAN], e, norms.tau_c, m)
    count = np.float64(channels)
    a = log64(_distance(norms, 0, count, state, row, scratch) + 0.05)
    b = ewma(state.row[row, LOG_DISTANCE], a, norms.tau_b, m)
    state.row[row, LOG_DISTANCE] = b
    c = log64(_distance(norms, 1, count, state, row, scratch) + 0.05)
    largest, reason = _relative(norms, 0, a), RECONSTRUCTION if norms.head == RECONSTRUCTS else FORECAST
    s = _relative(norms, 1, b)
    if s > largest:
        largest, reason = s, SUSTAINED
    s = _relative(norms, 2, c)
    if s > largest:
        largest, reason = s, BIAS
    for j in range(channels):
        if reason == BIAS:
            scratch.blame[j] = abs(state.channel[row, j, RESIDUAL_MEAN]) * norms.blame[1, j]
        else:
            scratch.blame[j] = abs(scratch.e[j]) * norms.blame[0, j]
    tail = norms.tail
    return tail_surprise(largest, tail[0], tail[1], tail[2], tail[3]), reason


@jit
def _log_sum(norms: Norms, anomalous: float, out: F32) -> float:
    """Return the logarithm of the sum of exponentials of the outputs of one kind."""
    top = -np.float64(LARGE)
    for k in range(norms.anomalous.shape[0]):
        if norms.anomalous[k] == anomalous:
            top = larger(top, np.float64(out[k]))
    total = 0.0
    for k in range(norms.anomalous.shape[0]):
        if norms.anomalous[k] == anomalous:
            total += exp64(np.float64(out[k]) - top)
    return top + log64(total)


@jit
def _log_odds(norms: Norms, out: F32) -> float:
    """Return the logarithm of the odds that the classes give to an anomaly; outputs are logits."""
    if norms.anomalous.shape[0] > 1:
        return _log_sum(norms, 1.0, out) - _log_sum(norms, 0.0, out)
    return np.float64(out[0]) if norms.anomalous[0] == 1.0 else -np.float64(out[0])


@jit
def _judge_classes(norms: Norms, state: State, row: int, scratch: Scratch) -> tuple[float, int]:
    """Judge by how far the odds of an anomaly are from those of normal rows: at this sample, and lately."""
    a = _log_odds(norms, scratch.out)
    b = ewma(state.row[row, LOG_DISTANCE], a, norms.tau_b, _judged(norms, state, row))
    state.row[row, LOG_DISTANCE] = b
    largest, reason = _relative(norms, 0, a), CLASSIFICATION
    s = _relative(norms, 1, b)
    if s > largest:
        largest, reason = s, SUSTAINED
    for c in range(scratch.blame.shape[0]):
        scratch.blame[c] = 0.0
    tail = norms.tail
    return tail_surprise(largest, tail[0], tail[1], tail[2], tail[3]), reason


@jit
def _relative(norms: Norms, k: int, value: float) -> float:
    """Return evidence ``k`` on the scale where held-back normal rows have median 0 and 99 % quantile 1."""
    return (value - norms.evidence[k, 0]) / (norms.evidence[k, 1] - norms.evidence[k, 0])


@jit
def judge(norms: Norms, state: State, row: int, t: float, scratch: Scratch) -> tuple[float, int]:
    """Return the surprise of ``scratch.x`` and its reason; ``scratch.blame`` gets each channel's part."""
    if norms.kind == ADAPTIVE:
        return _judge_adaptive(state, row, t, scratch)
    if norms.head == CLASSIFIES:
        return _judge_classes(norms, state, row, scratch)
    return _judge_fitted(norms, state, row, scratch)
