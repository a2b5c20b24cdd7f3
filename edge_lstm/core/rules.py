"""What a forecast misses: values never seen before and sensors that froze (docs/numerics.md, section 7)."""

from edge_lstm.core.cache import jit
from edge_lstm.core.maths import fma, larger, log10_64, smaller
from edge_lstm.core.score import CEILING
from edge_lstm.core.table import (
    ADAPTIVE,
    EQUAL,
    FLAT_LINE,
    HIGH,
    LAST,
    LONGEST,
    LOW,
    NOTHING,
    OUT_OF_RANGE,
    RESOLUTION,
    RUN,
    SEEN,
    Norms,
    Scratch,
    State,
)

ENOUGH = 100.0  # samples before "never seen" means anything
SLACK = 0.05  # of the range
RESOLUTIONS = 10.0  # a range is at least this many resolutions of the sensor wide
SHORTEST_RUN = 10.0


@jit
def _out_of_range(norms: Norms, state: State, row: int, c: int, x: float, n: float) -> float:
    """Return the strength of a value outside the range of the ``n`` samples before; learn it."""
    channel = state.channel
    if norms.kind != ADAPTIVE:
        return _excess(x, norms.range[c, 0], norms.range[c, 1], 0.0, n)
    if n == 0.0:
        channel[row, c, LOW] = x
        channel[row, c, HIGH] = x
        return 0.0
    step = abs(x - channel[row, c, LAST])
    if step > 0.0 and (channel[row, c, RESOLUTION] == 0.0 or step < channel[row, c, RESOLUTION]):
        channel[row, c, RESOLUTION] = step
    low, high = channel[row, c, LOW], channel[row, c, HIGH]
    strength = _excess(x, low, high, channel[row, c, RESOLUTION], n)
    channel[row, c, LOW] = smaller(low, x)
    channel[row, c, HIGH] = larger(high, x)
    return strength


@jit
def _excess(x: float, low: float, high: float, resolution: float, n: float) -> float:
    width = larger(high - low, RESOLUTIONS * resolution)
    excess = larger(x - high, low - x)
    if n < ENOUGH or width <= 0.0 or excess <= SLACK * width:
        return 0.0
    return smaller(CEILING, fma(10.0, excess / width, log10_64(n)))


@jit
def _flat_line(norms: Norms, state: State, row: int, c: int, x: float, n: float) -> float:
    """Return the strength of the current run of equal values; learn the run that ended."""
    channel = state.channel
    if n == 0.0:
        return 0.0
    if x != channel[row, c, LAST]:
        channel[row, c, EQUAL] += channel[row, c, RUN]
        channel[row, c, LONGEST] = larger(channel[row, c, LONGEST], channel[row, c, RUN])
        channel[row, c, RUN] = 0.0
        return 0.0
    channel[row, c, RUN] += 1.0
    run = channel[row, c, RUN]
    before = n - run
    p = (channel[row, c, EQUAL] + 1.0) / (before + 2.0)
    longest = channel[row, c, LONGEST]
    if norms.kind != ADAPTIVE:
        before = norms.fit_rows
        p = norms.flat[c, 0]
        longest = norms.flat[c, 1]
    if before < ENOUGH or run < SHORTEST_RUN or run < 3.0 * longest:
        return 0.0
    return smaller(CEILING, -run * log10_64(p))


@jit
def rules(norms: Norms, state: State, row: int, scratch: Scratch) -> tuple[float, int, int]:
    """Return the strongest rule's strength, its reason and its channel; the row learns the sample."""
    n = state.row[row, SEEN] - 1.0
    known = n
    if norms.kind != ADAPTIVE:
        known = norms.fit_rows
    strength, reason, channel = 0.0, NOTHING, 0
    for c in range(scratch.x.shape[0]):
        s = _out_of_range(norms, state, row, c, scratch.x[c], known)
        if s > strength:
            strength, reason, channel = s, OUT_OF_RANGE, c
    for c in range(scratch.x.shape[0]):
        s = _flat_line(norms, state, row, c, scratch.x[c], n)
        if s > strength:
            strength, reason, channel = s, FLAT_LINE, c
    return strength, reason, channel
