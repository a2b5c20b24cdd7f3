"""The arrays: weights, the state table, scratch space, results. Shapes stand here, once.

Symbols: S rows, L layers, H hidden units, I network inputs, C channels, P = the widest layer input, K learnt tails,
n samples of one call. Everything that changes per sample is in ``State``; a row of it is one stream.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
I16 = NDArray[np.int16]
I64 = NDArray[np.int64]

FITTED, ADAPTIVE = 0, 1
TAILS = 4  # forecast, bias, drift, season
HOURS = 24

OUTCOMES = ("scored", "bad_time", "not_finite", "missing", "duplicate", "out_of_order")
SCORED, BAD_TIME, NOT_FINITE, MISSING, DUPLICATE, OUT_OF_ORDER = range(6)

QUALITIES = ("ok", "warming_up", "recovering", "suspect")
OK, WARMING_UP, RECOVERING, SUSPECT = range(4)

REASONS = (
    "", "forecast", "bias", "drift", "season", "sustained",
    "out_of_range", "flat_line", "gap", "silence",
)  # fmt: skip
NOTHING, FORECAST, BIAS, DRIFT, SEASON, SUSTAINED, OUT_OF_RANGE, FLAT_LINE, GAP, SILENCE = range(10)

PHASES = ("", "start", "active", "end", "start_end")
QUIET, START, ACTIVE, END, START_END = range(5)


class Weights(NamedTuple):
    """What was trained: read-only, shared by all rows."""

    judge: int  # FITTED or ADAPTIVE
    # network
    weight_ih: I8  # (L, 4H, P), zero-padded
    weight_hh: I8  # (L, 4H, H)
    scale_ih: F32  # (L, 4H) weight scale over activation scale
    scale_hh: F32  # (L, 4H)
    bias: F32  # (L, 4H)
    head_weight: I8  # (2C, H)
    head_scale: F32  # (2C,)
    head_bias: F32  # (2C,)
    input_size: int
    input_clip: np.float32
    input_k: np.float32  # quantization steps per unit of input
    hidden_k: np.float32  # quantization steps per unit of hidden state
    # normalization
    mean: F64  # (C,) in data units; fitted
    scale: F64  # (C,)
    # judge; fitted
    center: F64  # (2, C)
    whiten: F64  # (2, C, C) lower triangles
    blame: F64  # (2, C)
    evidence: F64  # (3, 2) median, 99 % quantile
    tail: F64  # (4,) origin, threshold, sigma, xi
    tau_b: float
    tau_c: float
    # rules; fitted
    range: F64  # (C, 2) low, high
    flat: F64  # (C, 2) probability of a repeat, longest run
    fit_rows: float
    # time, in seconds and samples
    period_s: float
    warm_up: float
    settle: float


# columns of State.channel
(
    LAST, MEAN, DEVIATION, LOW, HIGH, RESOLUTION, RUN, LONGEST, EQUAL,
    BIAS_MEAN, FAST, SEASON_FAST, RESIDUAL_MEAN,
) = range(13)  # fmt: skip
CHANNEL_COLUMNS = 13
# columns of State.tail
TAIL_U, TAIL_M, TAIL_V, TAIL_MEAN, TAIL_COUNT = range(5)
TAIL_COLUMNS = 5
# columns of State.season
PROFILE, PROFILE_COUNT = 0, 1
# columns of State.row
(
    SEEN, SINCE, TIME, PERIOD, STALE, STALE_TIME, LOG_DISTANCE, PERSISTENCE,
    IN_ALERT, ALERT_START, PEAK_TIME, STRENGTH, REASON, CALM, LAST_OVER, LEVEL,
    ARRIVED, INTERVAL, LONGEST_WAIT, SILENT_SINCE,
) = range(20)  # fmt: skip
ROW_COLUMNS = 20
# columns of State.peak and Results.cause
OBSERVED, EXPECTED, SPREAD, BLAME = range(4)
# columns of Results.event
EVENT_START, EVENT_PEAK, EVENT_END, EVENT_STRENGTH, EVENT_REASON = range(5)


class State(NamedTuple):
    """Everything that changes per sample; a fresh row is all zeros."""

    h: F32  # (S, L, H) hidden state
    c: F32  # (S, L, H) cell state
    forecast: F64  # (S, C, 2) location and spread of the next sample, in data units
    channel: F64  # (S, C, CHANNEL_COLUMNS)
    tail: F64  # (S, K, TAIL_COLUMNS); K = 0 when fitted
    season: F64  # (S, HOURS, 2); no hours when fitted
    row: F64  # (S, ROW_COLUMNS)
    peak: F64  # (S, C, 4) the alert's peak so far


class Scratch(NamedTuple):
    """Room for one row's intermediate values, so that nothing is allocated per sample."""

    u: F32  # (P,) network inputs
    q_in: I16  # (P,) quantized layer input
    q_h: I16  # (H,) quantized hidden state
    out: F32  # (2C,) head outputs
    x: F64  # (C,) the sample, completed and clamped
    e: F64  # (C,) residual in units of scale
    blame: F64  # (C,)


class Results(NamedTuple):
    """What became of each sample of a call; overwritten by the next one."""

    outcome: I8  # (n,) index into OUTCOMES; where not SCORED, the columns up to level are neutral
    surprise: F64  # (n,)
    score: F64  # (n,) in [0, 1]
    quality: I8  # (n,) index into QUALITIES
    reason: I8  # (n,) index into REASONS
    strength: F64  # (n,) what the alert is decided on: the surprise, more if it lasts, or a rule's strength
    phase: I8  # (n,) index into PHASES
    level: F64  # (n,) what strength has to reach
    event: F64  # (n, 5) start, peak, end, strength, reason; where phase is START, END or START_END
    cause: F64  # (n, C, 4) likewise
    forecast: F64  # (n, C, 2) made after this sample for the next
    silence: F64  # (n,) when the silence began that this sample ended, else 0

    def head(self, n: int) -> "Results":
        """Return views of the first ``n`` samples."""
        return Results._make(array[:n] for array in self._asdict().values())


def new_state(rows: int, weights: Weights) -> State:
    """Return ``rows`` fresh rows for these weights."""
    layers, _, hidden = weights.weight_hh.shape
    channels = len(weights.head_bias) // 2
    tails, hours = (TAILS, HOURS) if weights.judge == ADAPTIVE else (0, 0)
    return State(
        h=np.zeros((rows, layers, hidden), np.float32),
        c=np.zeros((rows, layers, hidden), np.float32),
        forecast=np.zeros((rows, channels, 2)),
        channel=np.zeros((rows, channels, CHANNEL_COLUMNS)),
        tail=np.zeros((rows, tails, TAIL_COLUMNS)),
        season=np.zeros((rows, hours, 2)),
        row=np.zeros((rows, ROW_COLUMNS)),
        peak=np.zeros((rows, channels, 4)),
    )


def new_scratch(weights: Weights) -> Scratch:
    """Return scratch space for one row of these weights."""
    width, hidden = weights.weight_ih.shape[2], weights.weight_hh.shape[2]
    channels = len(weights.head_bias) // 2
    return Scratch(
        u=np.zeros(width, np.float32),
        q_in=np.zeros(width, np.int16),
        q_h=np.zeros(hidden, np.int16),
        out=np.zeros(2 * channels, np.float32),
        x=np.zeros(channels),
        e=np.zeros(channels),
        blame=np.zeros(channels),
    )


def new_results(n: int, channels: int) -> Results:
    """Return room for the results of ``n`` samples."""
    return Results(
        outcome=np.zeros(n, np.int8),
        surprise=np.zeros(n),
        score=np.zeros(n),
        quality=np.zeros(n, np.int8),
        reason=np.zeros(n, np.int8),
        strength=np.zeros(n),
        phase=np.zeros(n, np.int8),
        level=np.zeros(n),
        event=np.zeros((n, 5)),
        cause=np.zeros((n, channels, 4)),
        forecast=np.zeros((n, channels, 2)),
        silence=np.zeros(n),
    )
