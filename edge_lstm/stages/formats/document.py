"""JSON whose fields are found by paths, one sample or a block of them in a message.

Three shapes, told apart by the configuration and the payload's own types alone:
1. an object: one sample;
2. an array of records, at ``records`` or as the whole payload: one sample a record;
3. columns: channels whose paths lead to arrays of one length, one sample an element.
zigbee2mqtt and Tasmota differ from plain JSON in where time stands and what is noise:
https://www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html,
https://tasmota.github.io/docs/MQTT/ ("tele" messages).
"""

import math
from typing import NamedTuple

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.stages.formats.flat import MAX_BYTES, Flat
from edge_lstm.stages.formats.json import parse_json
from edge_lstm.stages.formats.paths import (
    ABSENT,
    Path,
    check_channel_count,
    find,
    leaves,
    parse_path,
)
from edge_lstm.stages.formats.scalar import Scalars, describe
from edge_lstm.stages.formats.source import MAX_SAMPLES, Rows, Source
from edge_lstm.stages.formats.times import to_seconds

Fields = dict[str, object]


class _Dialect(NamedTuple):
    """What one JSON format says of its own accord."""

    time_keys: tuple[str, ...]
    noise: frozenset[str]
    nested: bool


_TIME_KEYS = ("t", "ts", "time", "timestamp")
_DIALECTS = {
    "json": _Dialect(_TIME_KEYS, frozenset((*_TIME_KEYS, "seq")), True),
    "zigbee2mqtt": _Dialect(("last_seen",), frozenset({"last_seen", "elapsed", "linkquality", "battery"}), False),
    "tasmota": _Dialect((), frozenset({"Time", "Epoch"}), True),
}


class Document:
    """Reader of one source's JSON payloads.

    Raises:
        ConfigError: a path can't be read, or ``period_s`` is not a duration.
    """

    def __init__(self, source: Source) -> None:
        if not (math.isfinite(source.period_s) and source.period_s >= 0):
            raise ConfigError(f"period_s is {source.period_s}, expected a duration in seconds")
        dialect = _DIALECTS[source.format]
        self._source = source
        self._scalars = Scalars(source.values, source.coerce)
        self._channels = [(name, parse_path(path)) for name, path in source.channels.items()]
        self._records = parse_path(source.records)
        # A path that starts in an array, or is the payload itself, means no array of records.
        starts = [path[:1] for _, path in self._channels]
        self._may_be_records = not any(not start or isinstance(start[0], int) for start in starts)
        self._nested = dialect.nested
        self._noise = dialect.noise
        self._time_path: Path = ()
        self._time_keys: tuple[str, ...] = ()
        self._unit = source.time_unit
        if source.time == "":
            taken = {path for _, path in self._channels}
            self._time_keys = tuple(key for key in dialect.time_keys if (key,) not in taken)
            if source.format == "zigbee2mqtt":
                self._unit = "ms"
        elif source.time != "arrival":
            self._time_path = parse_path(source.time)
            self._noise |= {source.time}
        self._flat = None if self._records else self._short_way()

    def _short_way(self) -> Flat | None:
        """Return the reader of plain objects, where the source's time can be had of one."""
        if len(self._time_path) > 1:
            return None
        time = self._time_path or self._time_keys
        return Flat(self._channels, self._noise, time, bool(self._time_path), self._scalars.is_value)

    def read(self, payload: bytes, arrived: float) -> Rows:
        """Return the payload's samples, oldest first.

        Raises:
            PayloadError: it has none, or they can't be had.
        """
        root = parse_json(payload)
        if self._flat is not None and isinstance(root, dict) and len(payload) <= MAX_BYTES:
            row = self._read_flat(self._flat, root, arrived)
            if row is not None:
                return [row]
        return self._read_any(root, arrived)

    def _read_flat(self, flat: Flat, fields: Fields, arrived: float) -> tuple[float, dict[str, float]] | None:
        """Return the sample of a plain object, ``None`` if it is not plain."""
        plan = flat.plan(tuple(fields))
        values = flat.values(plan, fields) if plan is not None else None
        if plan is None or not values:
            return None
        if plan.time is None:
            return arrived, values
        t = fields[plan.time]
        if type(t) is not float or self._unit != "s":
            t = None if t is None else self._seconds(t)
        return None if t is None else (t, values)

    def _read_any(self, root: object, arrived: float) -> Rows:
        """Return the samples of anything, or say what is wrong with it."""
        if self._records:
            records = find(root, self._records)
            if not isinstance(records, list):
                reason = "missing_field" if records is ABSENT else "bad_type"
                raise PayloadError(reason, f"no array of records at {self._source.records!r}")
            return self._block(root, records, arrived)
        if isinstance(root, list) and self._may_be_records:
            return self._block(None, root, arrived)
        fields = self._fields(root)
        time = self._time_node(root)
        for node in fields.values():
            if isinstance(node, list):
                return self._columns(fields, time, arrived)
        values = self._values(fields)
        if not values:
            raise self._nothing([fields])
        return [(self._or_arrival(self._seconds(time), arrived), values)]

    def _fields(self, node: object) -> Fields:
        """Pick the channels out of one record: the named ones, or all numbers there are."""
        fields: Fields = {}
        if self._channels:
            for name, path in self._channels:
                found = find(node, path)
                if found is not ABSENT:
                    fields[name] = found
        else:
            for name, value in leaves(node, self._nested):
                if name not in self._noise and self._scalars.is_value(value):
                    fields[name] = value
                    check_channel_count(len(fields))
        if not fields and not isinstance(node, dict | list):
            raise PayloadError("bad_type", f"found {describe(node)}, expected an object (format 'number'?)")
        return fields

    def _values(self, fields: Fields) -> dict[str, float]:
        """Turn fields into numbers, without the missing ones."""
        values: dict[str, float] = {}
        for name, node in fields.items():
            value = node if type(node) is float else self._scalars.read(node, name)
            if value is not None:
                values[name] = value
        return values

    def _nothing(self, rows: list[Fields]) -> PayloadError:
        """Explain a payload without a value."""
        if any(rows):
            return PayloadError("missing", "every channel is null or a word for a missing value")
        names = ", ".join(path or "(all)" for path in self._source.channels.values())
        return PayloadError("missing_field", f"no number found; looked for {names or 'any'}")

    def _time_node(self, node: object) -> object:
        """Return what stands where the time should, or ``ABSENT``."""
        if self._time_path:
            return find(node, self._time_path)
        if isinstance(node, dict):
            for key in self._time_keys:
                if node.get(key) is not None:
                    return node[key]
        return ABSENT

    def _seconds(self, node: object) -> float | None:
        if node is ABSENT:
            return None
        source = self._source
        return to_seconds(node, self._unit, source.coerce, f"time {source.time}".rstrip())

    def _or_arrival(self, seconds: float | None, arrived: float) -> float:
        """Fall back on the arrival time, where the source names no other."""
        if seconds is None and self._time_path:
            raise PayloadError("bad_time", f"no time at {self._source.time!r}")
        return arrived if seconds is None else seconds

    def _block(self, root: object, records: list[object], arrived: float) -> Rows:
        """Read one sample a record."""
        _check_count(len(records))
        rows = [self._fields(record) for record in records]
        times = [self._time_node(record) for record in records]
        return self._spread(rows, times, self._time_node(root), arrived)

    def _columns(self, fields: Fields, time: object, arrived: float) -> Rows:
        """Read one sample an element of arrays that run side by side."""
        columns = {name: node for name, node in fields.items() if isinstance(node, list)}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(columns) < len(fields) or len(set(lengths.values())) > 1:
            raise PayloadError("bad_type", f"expected arrays of one length, found {lengths}")
        count = len(next(iter(columns.values())))
        _check_count(count)
        rows = [{name: column[i] for name, column in columns.items()} for i in range(count)]
        if not isinstance(time, list):
            return self._spread(rows, [ABSENT] * count, time, arrived)
        if len(time) != count:
            raise PayloadError("bad_time", f"{len(time)} times for {count} samples")
        return self._spread(rows, time, ABSENT, arrived)

    def _spread(self, rows: list[Fields], times: list[object], start: object, arrived: float) -> Rows:
        """Give each of a block's samples its time and put them in order."""
        block: Rows = []
        for t, fields in zip(self._block_times(times, start, arrived), rows, strict=True):
            values = self._values(fields)
            if values:
                block.append((t, values))
        if not block:
            raise self._nothing(rows)
        return sorted(block, key=lambda sample: sample[0])

    def _block_times(self, times: list[object], start: object, arrived: float) -> list[float]:
        """Return each sample's own time, or an even grid where none has one."""
        own = [t for t in map(self._seconds, times) if t is not None]
        count = len(times)
        if len(own) == count:
            return own
        if own:
            raise PayloadError("bad_time", f"{len(own)} of {count} samples have a time")
        period = self._source.period_s
        if count > 1 and not period:
            raise PayloadError("bad_time", f"{count} samples without times; set period_s")
        first = self._seconds(start)
        if first is None:
            first = self._or_arrival(None, arrived) - (count - 1) * period
        return [first + i * period for i in range(count)]


def _check_count(count: int) -> None:
    if count > MAX_SAMPLES:
        raise PayloadError("too_many", f"{count} samples in one message, at most {MAX_SAMPLES}")
