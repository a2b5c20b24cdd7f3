"""From data units to network inputs and back (docs/numerics.md, sections 3.5 and 5)."""

import numpy as np

from edge_lstm.core.cache import jit
from edge_lstm.core.maths import asinh64, clip, exp64, fma, larger
from edge_lstm.core.table import (
    ADAPTIVE,
    DEVIATION,
    LAST,
    MEAN,
    NOTE_SINCE,
    SEEN,
    Norms,
    Scratch,
    State,
)

LIMIT = 1000.0  # a value further than this many scales from the mean can only be a fault of the wire
MEMORY = 1000.0  # samples


@jit
def running_scale(state: State, row: int) -> float:
    """Return the scale of an adaptive row, never 0."""
    mean = state.channel[row, 0, MEAN]
    return larger(larger(state.channel[row, 0, DEVIATION], 1e-6 * abs(mean)), 1e-9)


@jit
def clamp(norms: Norms, state: State, row: int, scratch: Scratch) -> bool:
    """Clamp ``scratch.x`` to what can be true of this stream; return whether anything changed."""
    changed = False
    for c in range(scratch.x.shape[0]):
        x = scratch.x[c]
        if norms.kind == ADAPTIVE:
            y = clip(x, -1e15, 1e15)
            if state.row[row, SEEN] > 0.0:
                mean = state.channel[row, c, MEAN]
                scale = running_scale(state, row)
                y = clip(y, fma(-LIMIT, scale, mean), fma(LIMIT, scale, mean))
        else:
            low = fma(-LIMIT, norms.scale[c], norms.mean[c])
            high = fma(LIMIT, norms.scale[c], norms.mean[c])
            y = clip(x, low, high)
        if y != x:
            changed = True
            scratch.x[c] = y
    return changed


@jit
def _inputs_fitted(norms: Norms, scratch: Scratch) -> None:
    for c in range(scratch.x.shape[0]):
        z = (scratch.x[c] - norms.input_mean[c]) / norms.input_scale[c]
        scratch.u[c] = np.float32(clip(z, -1e6, 1e6))


@jit
def _inputs_adaptive(state: State, row: int, scratch: Scratch) -> None:
    """Let the running mean and deviation take the sample, then look at it in their units."""
    channel = state.channel
    x = scratch.x[0]
    n = state.row[row, SEEN]
    if n == 1.0:
        channel[row, 0, MEAN] = x
        channel[row, 0, DEVIATION] = 0.0
        channel[row, 0, LAST] = x
    else:
        w = larger(1.0 / MEMORY, 1.0 / n)
        gap = x - channel[row, 0, MEAN]
        channel[row, 0, MEAN] = fma(w, gap, channel[row, 0, MEAN])
        deviation = channel[row, 0, DEVIATION]
        channel[row, 0, DEVIATION] = fma(w, abs(gap) - deviation, deviation)
    scale = running_scale(state, row)
    scratch.u[0] = np.float32(asinh64((x - channel[row, 0, MEAN]) / scale))
    step = 3.0 * (x - channel[row, 0, LAST])
    scratch.u[1] = np.float32(0.5 * asinh64(step / scale))


@jit
def inputs(norms: Norms, state: State, row: int, scratch: Scratch) -> None:
    """Fill ``scratch.u`` from ``scratch.x``; an adaptive row's normalizer learns the sample."""
    if norms.kind == ADAPTIVE:
        _inputs_adaptive(state, row, scratch)
    else:
        _inputs_fitted(norms, scratch)


@jit
def _forecast_of(norms: Norms, state: State, row: int, scratch: Scratch, c: int) -> tuple[float, float]:
    """Return location and spread that the head's outputs give a channel, in data units."""
    if norms.kind == ADAPTIVE:
        base, unit = scratch.x[c], running_scale(state, row)
    elif norms.target[c] == 0.0:
        return scratch.x[c], 0.0
    else:
        base, unit = norms.output_mean[c], norms.output_scale[c]
    log_spread = clip(np.float64(scratch.out[scratch.x.shape[0] + c]), -7.0, 7.0)
    return fma(np.float64(scratch.out[c]), unit, base), unit * exp64(log_spread)


@jit
def forecast(norms: Norms, state: State, row: int, scratch: Scratch) -> None:
    """Make the head's outputs the forecast of the next sample; of one further ahead, when its turn comes."""
    ring = state.pending.shape[1]
    slot = int(scratch.note[NOTE_SINCE]) % ring if ring > 0 else 0
    for c in range(scratch.x.shape[0]):
        location, spread = _forecast_of(norms, state, row, scratch, c)
        if ring > 0:
            pending = state.pending[row, slot, c]
            next_location, next_spread = pending[0], pending[1]
            pending[0] = location
            pending[1] = spread
            location, spread = next_location, next_spread
        state.forecast[row, c, 0] = location
        state.forecast[row, c, 1] = spread
