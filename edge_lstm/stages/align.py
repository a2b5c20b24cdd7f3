"""Samples to rows: one value per channel of the model, in its order, NaN for a missing one.

Rules:
1. A sample with all channels passes at once and leaves nothing behind.
2. Others wait until their stream's row is complete. Its time is the newest one in it.
3. A row goes out incomplete rather than mixed: when a value comes for a channel that has one, when
   a sample would stretch the row beyond the window, or to keep the number of waiting rows bounded.
4. No value of a wanted channel is lost or sent twice; order in time is the next layer's business.
"""

import math
from typing import Any

import msgspec

from edge_lstm.errors import ConfigError, StateError
from edge_lstm.messages import Sample

Row = tuple[str, float, list[float]]


class _Waiting(msgspec.Struct):
    """A row that is not complete."""

    oldest: float
    newest: float
    values: dict[str, float]


class Align:
    """Joins samples into rows, per stream.

    Args:
        channels: the model's, in its order.
        window_s: how far apart in time the values of one row may be.
        each: the model has one channel, and every channel of a sample is a stream of its own:
            ``stream/channel``, or ``stream`` for the channel ``value``. ``channels`` is not used.
        join: samples come in parts, from several topics; else an incomplete one goes out as it is.
        max_waiting: incomplete rows kept at most; the one that waits longest gives way.

    Attributes:
        ignored: samples seen so far that had none of the channels.
        example: the last of them, in words.

    Raises:
        ConfigError: no channel, or a window that is not a duration.
    """

    def __init__(
        self, channels: tuple[str, ...], window_s: float, *, each: bool, join: bool = True, max_waiting: int = 10_000
    ) -> None:
        if not channels and not each:
            raise ConfigError("align: no channels; expected the model's")
        if not (math.isfinite(window_s) and window_s >= 0):
            raise ConfigError(f"align: window_s is {window_s}, expected a duration in seconds")
        self._channels = channels
        self._window_s = window_s
        self._each = each
        self._join_parts = join
        self._max_waiting = max_waiting
        self._waiting: dict[str, _Waiting] = {}  # the longest wait first
        self.ignored = 0
        self.example = ""

    def push(self, sample: Sample) -> list[Row]:
        """Take a sample; return the rows that go out because of it, as (stream, time, values)."""
        stream, t, values = sample.stream, sample.t, sample.values
        if self._each:
            return [(stream if name == "value" else f"{stream}/{name}", t, [value]) for name, value in values.items()]
        try:
            row = (stream, t, [values[name] for name in self._channels])
        except KeyError:
            return self._join(sample) if self._join_parts else self._alone(sample)
        return [self._release(stream), row] if stream in self._waiting else [row]

    def _ignore(self, sample: Sample) -> list[Row]:
        """Count a sample that has nothing for the model."""
        self.ignored += 1
        has, wanted = ", ".join(sample.values), ", ".join(self._channels)
        self.example = f"{sample.stream}: has {has[:100]}, the bundle wants {wanted[:100]}; map them with 'channels'"
        return []

    def _alone(self, sample: Sample) -> list[Row]:
        """Let an incomplete sample go out as it is."""
        values = [sample.values.get(name, math.nan) for name in self._channels]
        if all(math.isnan(value) for value in values):
            return self._ignore(sample)
        return [(sample.stream, sample.t, values)]

    def _join(self, sample: Sample) -> list[Row]:
        """Let a partial sample wait, or complete a row with it."""
        stream, t = sample.stream, sample.t
        values = {name: sample.values[name] for name in self._channels if name in sample.values}
        if not values:
            return self._ignore(sample)
        rows = []
        waiting = self._waiting.get(stream)
        if waiting and not self._fits(waiting, t, values):
            rows.append(self._release(stream))
            waiting = None
        if waiting is None:
            if len(self._waiting) >= self._max_waiting:
                rows.append(self._release(next(iter(self._waiting))))
            self._waiting[stream] = _Waiting(t, t, values)
            return rows
        waiting.oldest = min(waiting.oldest, t)
        waiting.newest = max(waiting.newest, t)
        waiting.values.update(values)
        if len(waiting.values) == len(self._channels):
            rows.append(self._release(stream))
        return rows

    def _fits(self, waiting: _Waiting, t: float, values: dict[str, float]) -> bool:
        """Tell whether values may join a waiting row."""
        span = max(waiting.newest, t) - min(waiting.oldest, t)
        return span <= self._window_s and waiting.values.keys().isdisjoint(values)

    def _release(self, stream: str) -> Row:
        """Take a waiting row out, as it is."""
        waiting = self._waiting.pop(stream)
        values = [waiting.values.get(name, math.nan) for name in self._channels]
        return stream, waiting.newest, values

    def dump(self) -> dict[str, Any]:
        """Return the waiting rows as plain values, fit for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self._waiting)
        return plain

    def load(self, waiting: dict[str, Any]) -> None:
        """Take over what ``dump`` returned, in place of what waits now.

        Raises:
            StateError: it is not that, or has channels that are not the model's.
        """
        try:
            rows = msgspec.convert(waiting, dict[str, _Waiting])
        except msgspec.ValidationError as error:
            raise StateError(f"waiting rows: {error}") from None
        for stream, row in rows.items():
            unknown = row.values.keys() - set(self._channels)
            if unknown or len(row.values) >= len(self._channels):
                raise StateError(
                    f"waiting row of {stream!r} has channels {sorted(row.values)}, "
                    f"expected some of {sorted(self._channels)}"
                )
        self._waiting = rows
