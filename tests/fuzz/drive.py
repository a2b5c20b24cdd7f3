"""Feeds a reader with cases, in chunks that a seed determines, and keeps count of what comes of them."""

import os
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random

from msgspec import Struct, field

from edge_lstm.errors import PayloadError
from tests.fuzz.readers import READERS, Reader

CHUNK = 1000  # cases


class Tally(Struct):
    """What came of some cases.

    Attributes:
        outcomes: by what was read, or why it was refused.
        unexpected: exceptions that are no refusal, each with the first case that caused it.
        slowest_ms: the longest that a case took.
        slowest: that case.
        seconds: that the reading took, without the making of cases.
        growth_mib: by how much the process has grown in the end since its first cases.
    """

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    unexpected: dict[str, bytes] = field(default_factory=dict)
    slowest_ms: float = 0.0
    slowest: bytes = b""
    seconds: float = 0.0
    growth_mib: float = 0.0

    def add(self, other: "Tally") -> None:
        """Take in what came of other cases."""
        self.cases += other.cases
        self.outcomes += other.outcomes
        self.unexpected = other.unexpected | self.unexpected
        self.seconds += other.seconds
        self.growth_mib = other.growth_mib  # of the last: in between, cases of a megabyte come and go
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms, self.slowest = other.slowest_ms, other.slowest


def run_chunk(reader: Reader, rng: Random, cases: int) -> Tally:
    """Let a reader have so many cases."""
    tally = Tally()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(cases):
            _run_case(reader, reader.case(rng), tally)
    return tally


def _run_case(reader: Reader, case: bytes, tally: Tally) -> None:
    began = time.perf_counter()
    try:
        outcome = reader.run(case)
    except reader.refusal as error:
        outcome = error.reason if isinstance(error, PayloadError) else "refused"
    except Exception as error:
        outcome = "unexpected"
        tally.unexpected.setdefault(f"{type(error).__name__}: {str(error)[:200]}", case)
    took = time.perf_counter() - began
    tally.cases += 1
    tally.seconds += took
    tally.outcomes[outcome] += 1
    if 1e3 * took > tally.slowest_ms:
        tally.slowest_ms, tally.slowest = 1e3 * took, case


def rss_mib() -> float:
    """Return the memory that this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


_made: dict[str, tuple[Reader, float]] = {}  # and the memory that the process took then


def run_named(name: str, seed: int, chunk: int, cases: int) -> Tally:
    """Run one chunk in this process; the same seed and number give the same cases anywhere."""
    if name not in _made:
        reader = READERS[name]()
        run_chunk(reader, Random(f"{seed} {name} warm"), CHUNK)  # what is made or compiled once
        _made[name] = reader, rss_mib()
    reader, before = _made[name]
    tally = run_chunk(reader, Random(f"{seed} {name} {chunk}"), cases)
    tally.growth_mib = rss_mib() - before
    return tally
