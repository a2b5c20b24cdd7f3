"""Streams that stopped talking: by arrival, on the clock of whoever drives the engine."""

from edge_lstm.core.cache import jit, kernel
from edge_lstm.core.maths import ewma, larger, smaller
from edge_lstm.core.table import ARRIVED, I64, INTERVAL, LONGEST_WAIT, SEEN, SILENT_SINCE, State

INTERVALS = 5.0  # this many usual intervals without a sample are silence
WAITS = 2.0  # or this many of the longest wait that ended by itself
MEMORY = 50.0
KNOWN = 20.0  # samples before the interval is trusted


@jit
def patience(state: State, row: int, shortest_s: float) -> float:
    """Return how long the stream may say nothing, seconds."""
    usual = larger(INTERVALS * state.row[row, INTERVAL], WAITS * state.row[row, LONGEST_WAIT])
    return larger(usual, shortest_s)


@jit
def hear(state: State, row: int, now: float) -> float:
    """Note that a sample of the stream arrived; samples that arrive together count once.

    Returns:
        When the silence began that this sample ends, on the clock of ``now``; 0 if there was none.
    """
    arrived = state.row[row, ARRIVED]
    if now <= arrived:
        return 0.0
    since = state.row[row, SILENT_SINCE]
    state.row[row, SILENT_SINCE] = 0.0
    if arrived > 0.0:
        wait = now - arrived
        interval = state.row[row, INTERVAL]
        if interval == 0.0:
            state.row[row, INTERVAL] = wait
        else:
            # a long wait is news of the network, not of the stream's habit
            capped = smaller(wait, 10.0 * interval)
            state.row[row, INTERVAL] = ewma(interval, capped, MEMORY, state.row[row, SEEN] + 1.0)
            if wait <= INTERVALS * interval:
                state.row[row, LONGEST_WAIT] = larger(state.row[row, LONGEST_WAIT], wait)
    state.row[row, ARRIVED] = now
    return since


@jit
def falls_silent(state: State, row: int, now: float, shortest_s: float) -> bool:
    """Return whether the row has newly been silent too long; note since when."""
    if state.row[row, SEEN] < KNOWN or state.row[row, SILENT_SINCE] > 0.0:
        return False
    if state.row[row, ARRIVED] == 0.0:  # restored: its patience starts now
        state.row[row, ARRIVED] = now
    if now - state.row[row, ARRIVED] <= patience(state, row, shortest_s):
        return False
    state.row[row, SILENT_SINCE] = state.row[row, ARRIVED]
    return True


@kernel
def silent(state: State, used: int, now: float, shortest_s: float, found: I64) -> int:
    """Put the rows that have newly been silent too long into ``found``; return how many.

    Args:
        used: rows in use, the first ones of the table.
        now: seconds, on the clock that ``hear`` was given.
        shortest_s: never call less than this silence.
    """
    n = 0
    for row in range(used):
        if falls_silent(state, row, now, shortest_s):
            found[n] = row
            n += 1
    return n
