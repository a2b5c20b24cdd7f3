"""The short way through JSON: an object that holds plain numbers, as nearly all devices send.

A device sends the same keys again and again, so what each of them means is worked out once. Whatever is not plain,
``Document`` reads the long way, and says what is wrong with it; both ways give the same values.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from edge_lstm.errors import PayloadError
from edge_lstm.stages.formats.paths import Path, check_name, step_name

_PLANS = 256  # sets of keys that are remembered
_MAX_KEYS = 64  # of such a set; with the bound on bytes it bounds what foreign keys make us keep
MAX_BYTES = 4096  # of a payload that is read this way

Values = dict[str, float]


class Plan(NamedTuple):
    """What the keys of an object mean.

    Attributes:
        time: the key of its time, ``None`` for arrival.
        channels: name and key.
        noise: keys that hold no channel, unless it is a container.
    """

    time: str | None
    channels: tuple[tuple[str, str], ...]
    noise: tuple[str, ...]


class Flat:
    """Reads plain objects of one source.

    Args:
        channels: name and path of the channels; none: every number is one.
        noise: keys that are no channels then.
        time: keys that may hold the time, the first that is there does.
        always: without a time an object is not plain.
        is_value: whether something that is not a number stands for one.
    """

    def __init__(
        self,
        channels: list[tuple[str, Path]],
        noise: frozenset[str],
        time: Path,
        always: bool,
        is_value: Callable[[object], bool],
    ) -> None:
        self._channels = channels
        self._noise = noise
        self._time = time
        self._always = always
        self._is_value = is_value
        self._known = lru_cache(maxsize=_PLANS)(self._plan)

    def plan(self, keys: tuple[str, ...]) -> Plan | None:
        """Return what an object's keys mean, ``None`` if that depends on what they hold, or there are many of them."""
        return self._known(keys) if len(keys) <= _MAX_KEYS else None

    def _plan(self, keys: tuple[str, ...]) -> Plan | None:
        time = next((key for key in self._time if key in keys), None)
        if time is None and self._always:
            return None
        if not self._channels:
            names = [step_name(key) for key in keys]
            found = [(name, key) for name, key in zip(names, keys, strict=True) if name not in self._noise]
        elif all(len(path) == 1 for _, path in self._channels):
            found = [(name, str(path[0])) for name, path in self._channels if path[0] in keys]
        else:
            return None
        try:
            for name, _ in found:
                check_name(name)
        except PayloadError:
            return None
        used = {key for _, key in found}
        noise = () if self._channels else tuple(key for key in keys if key not in used)
        return Plan(None if time is None else str(time), tuple(found), noise)

    def values(self, plan: Plan, fields: dict[str, object]) -> Values | None:
        """Return the channels' values, ``None`` if they are not plain numbers."""
        for key in plan.noise:
            if isinstance(fields[key], dict | list):
                return None
        values = {}
        for name, key in plan.channels:
            value = fields[key]
            if type(value) is float:
                values[name] = value
            elif type(value) is int and -(2**53) < value < 2**53:
                values[name] = float(value)
            elif self._channels or type(value) not in (str, bool) or self._is_value(value):
                return None
        return values
