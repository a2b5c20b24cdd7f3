"""A CSV file played as if it were a device: one file, one topic, all files at once.

Numbers arrive exactly: the float64 that the cell reads as is sent in its shortest form that reads
back equal.
"""

import csv
import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from operator import itemgetter
from pathlib import Path

from firmware_sim import wire
from firmware_sim.link import Link, serve
from firmware_sim.tables import unix

_TIME_NAMES = ("timestamp", "datetime", "time", "date", "t")
_SERVE_EVERY = 50  # messages between two looks at the socket when there is no time to wait


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """What to play, and how."""

    files: Sequence[Path]
    topic: str  # may name {name} and {parent}, the file's stem and folder
    broker: str = "mqtt://localhost:1883"
    time_column: str | None = None  # None: the first that is called like one, else the first
    columns: Sequence[str] | None = None  # None: all but the time
    delimiter: str | None = None  # None: whichever the header has most of
    speed: float | None = 1.0  # seconds in the file per wall second; None: as fast as it goes
    rate_hz: float | None = None  # rows per wall second and file; overrides speed
    qos: int = 1


@dataclass(slots=True)
class PlayReport:
    """What happened."""

    files: int = 0
    seconds: float = 0.0
    sent: int = 0
    acknowledged: int = 0
    lost: int = 0  # QoS 0 only, with a broken connection


Row = tuple[float, str, bytes]  # unix seconds, topic, payload


class Player:
    """Plays recordings."""

    def __init__(self, options: PlayOptions) -> None:
        """Read the headers; connect nothing yet.

        Raises:
            ValueError: a file can't be played as asked.
        """
        self._options = options
        topics = [options.topic.format(name=path.stem, parent=path.resolve().parent.name) for path in options.files]
        if len(set(topics)) < len(topics):
            raise ValueError(f"topic {options.topic!r} is the same for several files")
        pairs = list(zip(options.files, topics, strict=True))
        self._recordings = [read_rows(path, topic, options) for path, topic in pairs]
        for path, topic in pairs:  # a mistake in the first row shall show before anything is sent
            list(islice(read_rows(path, topic, options), 1))
        self._link = Link(options.broker)
        self._stopped = False

    def stop(self) -> None:
        """End soon, in good order; safe in a signal handler."""
        self._stopped = True

    def run(self) -> PlayReport:
        """Play to the end and report.

        Raises:
            LinkError: the broker can't be reached.
            ValueError: a row can't be read.
        """
        link = self._link
        link.connect()
        began = time.monotonic()
        for number, (due_s, topic, payload) in enumerate(self._timetable()):
            self._wait(began + due_s)
            if self._stopped:
                break
            link.publish(topic, payload, self._options.qos)
            if number % _SERVE_EVERY == 0:
                serve([link], 0.0)
        link.close()
        return PlayReport(
            files=len(self._recordings),
            seconds=round(time.monotonic() - began, 3),
            sent=link.sent,
            acknowledged=link.acknowledged,
            lost=link.lost,
        )

    def _timetable(self) -> Iterator[Row]:
        """Yield (due in wall seconds, topic, payload) in the order to send."""
        rate_hz, speed = self._options.rate_hz, self._options.speed
        if rate_hz is not None:
            yield from heapq.merge(*(_at_rate(rows, rate_hz) for rows in self._recordings), key=itemgetter(0))
            return
        first: float | None = None
        for t, topic, payload in heapq.merge(*self._recordings, key=itemgetter(0)):
            first = t if first is None else first
            yield (0.0 if speed is None else (t - first) / speed), topic, payload

    def _wait(self, due: float) -> None:
        while not self._stopped and (left_s := due - time.monotonic()) > 0.0:
            serve([self._link], min(left_s, 0.5))


def _at_rate(rows: Iterator[Row], rate_hz: float) -> Iterator[Row]:
    for number, (_, topic, payload) in enumerate(rows):
        yield number / rate_hz, topic, payload


def read_rows(path: Path, topic: str, options: PlayOptions) -> Iterator[Row]:
    """Yield the rows of a file.

    Raises:
        ValueError: a column is missing, or a cell can't be read; says file, line and column.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        delimiter = options.delimiter or max(",;\t|", key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        time_index, columns = _choose(path, names, options)
        for line, cells in enumerate(csv.reader(file, delimiter=delimiter), start=2):
            if not cells:
                continue
            try:
                t = unix(cells[time_index])
                values = {name: float(cells[index]) for name, index in columns if cells[index].strip()}
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}, line {line}: {error}") from error
            # JSON has no word for NaN; a value that is none is left out like an empty cell.
            finite = {name: value for name, value in values.items() if isfinite(value)}
            yield t, topic, wire.payload({"t": t, **finite})


def _choose(path: Path, names: list[str], options: PlayOptions) -> tuple[int, list[tuple[str, int]]]:
    """Return where the time stands, and the names and places of the columns to send."""
    called = (name for name in names if name.lower() in _TIME_NAMES)
    time_name = options.time_column or next(called, names[0] if names else "")
    wanted = options.columns or [name for name in names if name != time_name]
    for name in (time_name, *wanted):
        if name not in names:
            raise ValueError(f"{path} has no column {name!r}, only: {', '.join(names)}")
    return names.index(time_name), [(name, names.index(name)) for name in wanted]
