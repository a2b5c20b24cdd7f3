"""SenML packs in JSON, RFC 8428: base fields resolved, relative times made absolute.

A channel is a record's name (base name and name joined) without the pack's first base name, which
names the device; a record without any other name is ``value``. Records of one time are one sample.
Units and sums are not looked at; strings and booleans only as words that ``values`` explains.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.stages.formats.json import parse_json
from edge_lstm.stages.formats.paths import check_channel_count, check_name
from edge_lstm.stages.formats.scalar import Scalars, describe, quote
from edge_lstm.stages.formats.source import MAX_SAMPLES, Rows, Source

_VERSION = 10
_MAX_BASE_NAME = 512
_RELATIVE = 2.0**28  # section 4.5.3: a smaller time counts from now


class _Record(NamedTuple):
    """One resolved record; ``base`` is what its number counts from."""

    full_name: str
    short_name: str
    t: float
    node: object
    base: float


class Pack:
    """Reader of one source's SenML packs.

    Raises:
        ConfigError: the source asks for what RFC 8428 has settled.
    """

    def __init__(self, source: Source) -> None:
        if source.time or source.records or source.period_s:
            raise ConfigError("format 'senml' has times of its own; time, records and period_s don't apply")
        self._names = {path: name for name, path in source.channels.items()}
        self._scalars = Scalars(source.values, source.coerce)

    def read(self, payload: bytes, arrived: float) -> Rows:
        """Return the pack's samples, oldest first.

        Raises:
            PayloadError: it has none, or is not SenML.
        """
        samples: dict[float, dict[str, float]] = {}
        reason = "missing_field"
        for record in _resolve(parse_json(payload)):
            name = self._channel(record)
            if name is None:
                continue
            value = self._scalars.read(record.node, f"SenML record {quote(record.full_name)}")
            if value is None:
                reason = "missing"
                continue
            t = record.t if record.t >= _RELATIVE else arrived + record.t
            samples.setdefault(t, {})[name] = _sum(value, record)
        if not samples:
            raise PayloadError(reason, "no SenML record has a number for a channel")
        check_channel_count(max(map(len, samples.values())))
        return sorted(samples.items(), key=lambda sample: sample[0])

    def _channel(self, record: _Record) -> str | None:
        """Name a record's channel; ``None`` if nobody wants it."""
        if self._names:
            return self._names.get(record.full_name, self._names.get(record.short_name))
        return record.short_name if self._scalars.is_value(record.node) else None


def _sum(value: float, record: _Record) -> float:
    """Add the base value, as far as float64 goes."""
    total = value + record.base if record.base else value  # -0.0 stays what it is
    if math.isinf(total):
        raise PayloadError("not_finite", f"SenML record {quote(record.full_name)} overflows")
    return total


def _resolve(pack: object) -> Iterator[_Record]:
    """Yield the records that have a value, with the base fields worked in (section 4.6)."""
    if not isinstance(pack, list):
        raise PayloadError("bad_type", f"the payload is {describe(pack)}, expected a SenML array")
    if len(pack) > MAX_SAMPLES:
        raise PayloadError("too_many", f"{len(pack)} SenML records, at most {MAX_SAMPLES}")
    device: str | None = None
    base_name, base_time, base_value = "", 0.0, 0.0
    for record in pack:
        if not isinstance(record, dict):
            raise PayloadError("bad_type", f"a SenML record is {describe(record)}")
        _check_understood(record)
        if "bn" in record:
            base_name = _base_name(record)
            device = base_name if device is None else device
        base_time = _number(record, "bt", base_time)
        base_value = _number(record, "bv", base_value)
        for key in ("v", "vb", "vs"):
            if key in record:
                full = base_name + _text(record, "n")
                short = full.removeprefix(device or "") or "value"
                check_name(short)
                base = base_value if key == "v" else 0.0
                yield _Record(full, short, base_time + _number(record, "t", 0.0), record[key], base)


def _base_name(record: dict[str, object]) -> str:
    """Return the base name of a record that has one."""
    name = _text(record, "bn")
    if len(name) > _MAX_BASE_NAME:  # it stands in front of thousands of names
        raise PayloadError("bad_type", f"SenML bn {quote(name)} is too long, at most {_MAX_BASE_NAME} characters")
    return name


def _check_understood(record: dict[str, object]) -> None:
    """Refuse what a reader must not skip (sections 4.4 and 4.5.1)."""
    for key in record:
        if key.endswith("_"):
            raise PayloadError("bad_type", f"SenML field {quote(key)} must be understood, and isn't")
    version = _number(record, "bver", _VERSION)
    if version > _VERSION:
        raise PayloadError("bad_type", f"SenML version {version:g}, expected at most {_VERSION}")


def _text(record: dict[str, object], key: str) -> str:
    node = record.get(key, "")
    if not isinstance(node, str):
        raise PayloadError("bad_type", f"SenML {key} is {describe(node)}, expected a string")
    return node


def _number(record: dict[str, object], key: str, default: float) -> float:
    node = record.get(key, default)
    if isinstance(node, bool) or not isinstance(node, int | float):
        raise PayloadError("bad_type", f"SenML {key} is {describe(node)}, expected a number")
    try:
        return float(node)
    except OverflowError:
        raise PayloadError("not_finite", f"SenML {key} is out of the range of float64") from None
