"""One source under one bundle: its streams, their rows, and the block that waits to be advanced."""

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import WEEK_S, Arrays, Device, Engine
from edge_lstm.core.table import ADAPTIVE, ARRIVED, Results, new_state
from edge_lstm.errors import StateError
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
        max_streams: further streams are refused, and counted, unless one gives way.
        idle_s: at ``max_streams``, a stream that said nothing for so long gives way to a new one; 0: none does.
        device: where the rows are.
    """

    budget_s: float = WEEK_S
    window_s: float = 0.0
    silence_s: float = 5.0
    max_streams: int = 2_000
    idle_s: float = 86_400.0
    device: Device = "cpu"


class Advanced(NamedTuple):
    """A block after the engine took it; valid until the next flush."""

    streams: list[str]  # of each sample
    t: NDArray[np.float64]  # (n,)
    x: NDArray[np.float64]  # (n, C)
    results: Results


class Saved(NamedTuple):
    """A lane's streams and all that is remembered of them."""

    streams: list[str]  # of each row, empty where none has it
    waiting: dict[str, Any]  # samples that are not complete
    arrays: Arrays  # by the names of ``State``


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
        self._watched: float | None = None  # since when idle streams are looked for
        self._free: list[int] = []  # rows whose streams gave way; their old names are still in ``streams``
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
        return self._new_row(stream) if row is None else row

    def _new_row(self, stream: str) -> int | None:
        if self._free:
            row = self._free.pop()
            self.streams[row] = stream
        elif (row := len(self.streams)) < self.settings.max_streams:
            if row == self.engine.capacity:
                self.engine.grow(2 * row)
            self.streams.append(stream)
        else:
            return None
        self.rows[stream] = row
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

    def idle(self, now: float) -> list[int]:
        """Return the rows that may give way, none while there is room for further streams."""
        limit = self.settings.idle_s
        if self._watched is None:
            self._watched = now
        if not limit or self._free or len(self.streams) < self.settings.max_streams:
            return []
        row = self.engine.read("row", 0, len(self.streams))
        since = np.where(row[:, ARRIVED] > 0.0, row[:, ARRIVED], self._watched)  # 0: not heard since a restart
        quiet = now - since > limit
        rows: list[int] = np.flatnonzero(quiet).tolist()
        return rows

    def evict(self, row: int) -> None:
        """Give a row to whoever comes next."""
        del self.rows[self.streams[row]]
        self.engine.reset(row)
        self._free.append(row)

    def snapshot(self) -> Saved:
        """Return a copy of all that is remembered of the streams; nothing may wait for a flush."""
        used = len(self.streams)
        free = {row: "" for row in self._free}
        return Saved(
            streams=[free.get(row, stream) for row, stream in enumerate(self.streams)],
            waiting=self.align.dump(),
            arrays=self.engine.snapshot(used),
        )

    def restore(self, saved: Saved) -> None:
        """Go on from a snapshot, as far as there is room.

        Raises:
            StateError: it does not fit the bundle.
        """
        _check_streams(saved)
        used = min(len(saved.streams), self.settings.max_streams)
        self.align.load(saved.waiting)
        try:
            self.engine.restore({name: array[:used] for name, array in saved.arrays.items()})
        except StateError:
            self.align.load({})
            raise
        self.streams = saved.streams[:used]
        self.rows = {stream: row for row, stream in enumerate(self.streams) if stream}
        self._free = [row for row, stream in enumerate(self.streams) if not stream]

    def doubt(self) -> None:
        """Note that samples of any stream may have been missed."""
        self.engine.doubt(len(self.streams))

    def row_number(self, row: int, column: int) -> float:
        """Return a number of a row, a column of ``State.row``."""
        return float(self.engine.read("row", row, row + 1)[0, column])


def _check_streams(saved: Saved) -> None:
    """Refuse arrays and names that do not belong together."""
    rows = len(saved.streams)
    for name, array in saved.arrays.items():
        if array.shape[:1] != (rows,):
            raise StateError(f"state.{name} has the shape {array.shape}, expected {rows} rows")
    named = [stream for stream in saved.streams if stream]
    if len(set(named)) < len(named):
        raise StateError("a stream has two rows")
