"""One source under one bundle: its streams, their rows, and the block that waits to be advanced."""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import WEEK_S, Device, Engine
from edge_lstm.core.table import ADAPTIVE, ARRIVED, Results, new_state
from edge_lstm.messages import Sample
from edge_lstm.stages.align import Align

JOIN_S = 1.0
ROOM = 64 * 2**20  # bytes that a table begins with, at most; the system gives memory to a row when it is first written


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a lane treats its streams.

    Attributes:
        budget_s: a stream may raise one alert in this many seconds by chance.
        window_s: values of one row may be this far apart when they come in several messages; 0: they are joined
            only where several topics make up a stream, within ``JOIN_S``.
        silence_s: never call less than this silence; 0 turns the watch off.
        max_streams: further streams are refused, and counted.
        device: where the rows are.
    """

    budget_s: float = WEEK_S
    window_s: float = 0.0
    silence_s: float = 5.0
    max_streams: int = 10_000
    device: Device = "cpu"


class Advanced(NamedTuple):
    """A block after the engine took it; valid until the next flush."""

    streams: list[str]  # of each sample
    t: NDArray[np.float64]  # (n,)
    x: NDArray[np.float64]  # (n, C)
    results: Results


class Lane:
    """Streams that share a bundle.

    Args:
        join: samples of a stream come in parts, from several topics.

    Attributes:
        refused: rows of streams beyond ``max_streams``.
    """

    def __init__(self, bundle: Bundle, settings: Settings, *, join: bool = False) -> None:
        self.bundle = bundle
        self.settings = settings
        row_bytes = sum(array.nbytes for array in new_state(1, bundle.weights)._asdict().values())
        rows = min(settings.max_streams, ROOM // row_bytes + 1)
        self.engine = Engine(bundle.weights, rows, settings.budget_s, settings.device)
        each = bundle.weights.norms.kind == ADAPTIVE
        join = join or settings.window_s > 0
        self.align = Align(bundle.metadata.channel_names, settings.window_s or JOIN_S, each=each, join=join)
        self.rows: dict[str, int] = {}
        self.streams: list[str] = []
        self.refused = 0
        self._rows: list[int] = []  # what waits; lists, since they take a value ten times as fast as arrays
        self._t: list[float] = []
        self._x: list[float] = []

    def __len__(self) -> int:
        """Return how many samples wait for the next flush."""
        return len(self._rows)

    def push(self, sample: Sample) -> None:
        """Let a sample wait for the next flush, with others of its row if it needs them."""
        for stream, t, values in self.align.push(sample):
            row = self.row_of(stream)
            if row is None:
                self.refused += 1
                continue
            self._rows.append(row)
            self._t.append(t)
            self._x += values

    def row_of(self, stream: str) -> int | None:
        """Return the row of a stream, a new one for a new stream, ``None`` when there is no room."""
        row = self.rows.get(stream)
        if row is None and len(self.streams) < self.settings.max_streams:
            row = len(self.streams)
            if row == self.engine.capacity:
                self.engine.grow(2 * row)
            self.rows[stream] = row
            self.streams.append(stream)
        return row

    def flush(self, now: float = 0.0) -> Advanced:
        """Advance everything that waits, in order, in one call."""
        rows, t, x = self._rows, self._t, self._x
        self._rows, self._t, self._x = [], [], []
        times = np.array(t, np.float64)
        values = np.array(x, np.float64).reshape(-1, self.engine.channels)
        results = self.engine.advance(np.array(rows, np.int64), times, values, now)
        return Advanced([self.streams[row] for row in rows], times, values, results)

    def silent(self, now: float) -> list[tuple[str, float]]:
        """Return the streams that have newly stopped talking, and for how many seconds."""
        if not self.settings.silence_s:
            return []
        found = self.engine.silent(len(self.streams), now, self.settings.silence_s)
        return [(self.streams[row], now - self.row_number(row, ARRIVED)) for row in found.tolist()]

    def row_number(self, row: int, column: int) -> float:
        """Return a number of a row, a column of ``State.row``."""
        return float(self.engine.read("row", row, row + 1)[0, column])
