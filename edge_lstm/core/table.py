"""The arrays: weights, the state table, scratch space, results. Shapes stand here, once.

Symbols: S rows, L layers, H hidden units, I network inputs, C channels, P = the widest layer input, K learnt tails,
n samples of one call. Everything that changes per sample is in ``State``; a row of it is one stream.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core.layers import Layers

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

FITTED, ADAPTIVE = 0, 1
FORECASTS, RECONSTRUCTS, CLASSIFIES = 0, 1, 2  # what the head's outputs mean
TAILS = 4  # forecast, bias, drift, season
HOURS = 24

OUTCOMES = ("scored", "bad_time", "not_finite", "missing", "duplicate", "out_of_order")
SCORED, BAD_TIME, NOT_FINITE, MISSING, DUPLICATE, OUT_OF_ORDER = range(6)

QUALITIES = ("ok", "warming_up", "recovering", "suspect")
OK, WARMING_UP, RECOVERING, SUSPECT = range(4)

REASONS = (
    "", "forecast", "bias", "drift", "season", "sustained",
    "out_of_range", "flat_line", "gap", "silence", "reconstruction", "classification",
)  # fmt: skip
NOTHING, FORECAST, BIAS, DRIFT, SEASON, SUSTAINED, OUT_OF_RANGE, FLAT_LINE, GAP, SILENCE = range(10)
RECONSTRUCTION, CLASSIFICATION = 10, 11

PHASES = ("", "start", "active", "end", "start_end")
QUIET, START, ACTIVE, END, START_END = range(5)


class Network(NamedTuple):
    """The trained network, plain LSTM layers and a linear head, its scales folded; each variant packs it as it likes.

    O outputs are 2C, locations and log spreads, or as many as there are classes.
    """

    weight_ih: I8  # (L, 4H, P), zero-padded
    weight_hh: I8  # (L, 4H, H)
    scale_ih: F32  # (L, 4H) weight scale over activation scale
    scale_hh: F32  # (L, 4H)
    bias: F32  # (L, 4H)
    head_weight: I8  # (O, H)
    head_scale: F32  # (O,)
    head_bias: F32  # (O,)
    input_size: int
    input_clip: np.float32
    input_k: np.float32  # quantization steps per unit of input
    hidden_k: np.float32  # quantization steps per unit of hidden state


class Norms(NamedTuple):
    """What is normal: the numbers that normalize and judge."""

    kind: int  # FITTED or ADAPTIVE
    head: int  # FORECASTS, RECONSTRUCTS or CLASSIFIES
    # normalization; fitted
    mean: F64  # (C,) of the data, in data units; the judge's
    scale: F64  # (C,)
    input_mean: F64  # (C,) the network's
    input_scale: F64  # (C,)
    output_mean: F64  # (C,)
    output_scale: F64  # (C,)
    target: F64  # (C,) 1 where the network has an output for the channel, else 0
    anomalous: F64  # (O,) 1 where an output stands for an anomalous class, else 0; empty unless CLASSIFIES
    # how the network is run, in samples
    horizon: int  # how far ahead it forecasts; 0 unless FORECASTS
    window: int  # its state starts anew after so many; 0: never
    copies: int  # of the state, that start anew in turn
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


class Weights(NamedTuple):
    """What was trained: read-only."""

    network: Network | Layers
    norms: Norms


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
    ARRIVED, INTERVAL, LONGEST_WAIT, SILENT_SINCE, DOUBT,
) = range(21)  # fmt: skip
ROW_COLUMNS = 21
# columns of Scratch.note
NOTE_TIME, NOTE_BUDGET, NOTE_SINCE, NOTE_CHANGE, NOTE_SETTLED, NOTE_SUSPECT, NOTE_PHASE = range(7)
NOTES = 7
# columns of State.peak and Results.cause
OBSERVED, EXPECTED, SPREAD, BLAME = range(4)
# columns of Results.event
EVENT_START, EVENT_PEAK, EVENT_END, EVENT_STRENGTH, EVENT_REASON = range(5)


class State(NamedTuple):
    """Everything that changes per sample; a fresh row is all zeros."""

    h: F32  # (S, K*L, U) hidden state, K copies of it; U is H padded with units that stay 0
    c: F32  # (S, K*L, U) cell state
    forecast: F64  # (S, C, 2) location and spread of the next sample, or of this one, in data units
    pending: F64  # (S, horizon - 1, C, 2) forecasts of the samples after the next, in a ring
    channel: F64  # (S, C, CHANNEL_COLUMNS)
    tail: F64  # (S, K, TAIL_COLUMNS); K = 0 when fitted
    season: F64  # (S, HOURS, 2); no hours when fitted
    row: F64  # (S, ROW_COLUMNS)
    peak: F64  # (S, C, 4) the alert's peak so far


class Scratch(NamedTuple):
    """Room for intermediate values, so that nothing is allocated per sample; R rows, without that dimension for one."""

    u: F32  # (R, I) network inputs, padded
    out: F32  # (R, O) head outputs, padded
    note: F64  # (R, NOTES) what ``before`` has to tell ``after``
    x: F64  # (R, C) the sample, completed and clamped
    e: F64  # (R, C) residual in units of scale
    blame: F64  # (R, C)


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
        arrays: tuple[NDArray[Any], ...] = tuple(self)
        return Results._make([array[:n] for array in arrays])


def pad(n: int) -> int:
    """Return ``n`` as the next multiple of sixteen: units are computed so many at once."""
    return -(-n // 16) * 16


def layers_of(network: Network | Layers) -> tuple[int, int]:
    """Return how many LSTM layers a network has, and the most units or outputs of one."""
    if isinstance(network, Network):
        return network.weight_hh.shape[0], network.weight_hh.shape[2]
    return len(network.cells), max(max(len(cell.start_h), len(cell.start_c)) for cell in network.cells)


def ends_of(network: Network | Layers) -> tuple[int, int]:
    """Return the number of inputs and of outputs of a network."""
    if isinstance(network, Network):
        return network.input_size, len(network.head_bias)
    return network.cells[0].weight_ih.shape[1], len(network.head[-1].bias)


def new_state(rows: int, weights: Weights) -> State:
    """Return ``rows`` fresh rows for these weights."""
    norms = weights.norms
    layers, hidden = layers_of(weights.network)
    channels = len(norms.mean)
    tails, hours = (TAILS, HOURS) if norms.kind == ADAPTIVE else (0, 0)
    return State(
        h=np.zeros((rows, norms.copies * layers, pad(hidden)), np.float32),
        c=np.zeros((rows, norms.copies * layers, pad(hidden)), np.float32),
        forecast=np.zeros((rows, channels, 2)),
        pending=np.zeros((rows, max(0, norms.horizon - 1), channels, 2)),
        channel=np.zeros((rows, channels, CHANNEL_COLUMNS)),
        tail=np.zeros((rows, tails, TAIL_COLUMNS)),
        season=np.zeros((rows, hours, 2)),
        row=np.zeros((rows, ROW_COLUMNS)),
        peak=np.zeros((rows, channels, 4)),
    )


def new_scratch(rows: int, weights: Weights) -> Scratch:
    """Return scratch space for ``rows`` rows of these weights."""
    channels, (inputs, outputs) = len(weights.norms.mean), ends_of(weights.network)
    return Scratch(
        u=np.zeros((rows, pad(inputs)), np.float32),
        out=np.zeros((rows, pad(outputs)), np.float32),
        note=np.zeros((rows, NOTES)),
        x=np.zeros((rows, channels)),
        e=np.zeros((rows, channels)),
        blame=np.zeros((rows, channels)),
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
