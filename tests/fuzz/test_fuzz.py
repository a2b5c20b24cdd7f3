"""A small run of the fuzzer for every reader, any bytes at all, and proof that the fuzzer finds what there is."""

import time
import tracemalloc
import warnings
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_lstm.errors import PayloadError
from tests.fuzz.drive import CHUNK, run_chunk
from tests.fuzz.readers import READERS, SHARES, Reader

CASES = {"decoder": 4000, "topics": 4000, "bundle": 200, "checkpoint": 200, "config": 200}
REFUSED_IN_S = 0.1
SLACK = 2**20  # bytes; what parsing takes of itself, however small the file


@pytest.fixture(scope="module", params=READERS)
def named(request: pytest.FixtureRequest) -> tuple[str, Reader]:
    return request.param, READERS[request.param]()


def test_nearly_valid_input_is_read_or_refused(named: tuple[str, Reader]) -> None:
    name, reader = named
    tally = run_chunk(reader, Random(20), CASES[name])
    assert not tally.unexpected
    assert tally.cases == CASES[name] == tally.outcomes.total()
    assert len(tally.outcomes) >= 2, tally.outcomes  # some are read and some refused, or nothing was tried


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(named: tuple[str, Reader], content: bytes) -> None:
    _, reader = named
    assert _outcome(reader, content)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.text(max_size=100))
def test_any_text_is_read_or_refused(named: tuple[str, Reader], content: str) -> None:
    _, reader = named
    assert _outcome(reader, content.encode())


def test_the_same_seed_gives_the_same_cases(named: tuple[str, Reader]) -> None:
    _, reader = named
    first, second, other = ([reader.case(rng) for _ in range(30)] for rng in (Random(1), Random(1), Random(2)))
    assert first == second != other


class Faulty:
    """Stumbles over one byte, warns of another, and refuses the rest."""

    refusal = PayloadError

    def case(self, rng: Random) -> bytes:
        return bytes((rng.randrange(50),))

    def run(self, case: bytes) -> str:
        if case == b"\x07":
            raise KeyError("seven")
        if case == b"\x08":
            warnings.warn("eight", UserWarning, stacklevel=1)
        raise PayloadError("empty", "nothing")


def test_a_fault_is_found_and_kept() -> None:
    tally = run_chunk(Faulty(), Random(1), CHUNK)
    assert tally.unexpected == {"KeyError: 'seven'": b"\x07", "UserWarning: eight": b"\x08"}
    assert tally.outcomes["unexpected"] + tally.outcomes["empty"] == CHUNK
    assert 0 < tally.outcomes["unexpected"] < CHUNK / 5


def test_shares_are_of_all_readers() -> None:
    assert set(SHARES) == set(READERS)
    assert sum(SHARES.values()) == pytest.approx(1.0)


@pytest.mark.slow
def test_ten_thousand_damaged_bundles_are_refused_quickly_and_without_greed() -> None:
    """P23: none takes 100 ms to be refused, or much more memory than its own size."""
    bundles, rng, outcomes = READERS["bundle"](), Random(23), Counter[str]()
    run_chunk(bundles, Random(22), 300)
    slow, greedy = [], []
    for _ in range(10_000):
        case = bundles.case(rng)
        outcomes[_outcome(bundles, case)] += 1
        if min(_seconds(bundles, case) for _ in range(2)) >= REFUSED_IN_S:  # the machine may have had else to do once
            slow.append(case)
        tracemalloc.start()
        _outcome(bundles, case)
        if tracemalloc.get_traced_memory()[1] > 2 * len(case) + SLACK:
            greedy.append(case)
        tracemalloc.stop()
    assert not slow
    assert not greedy
    assert outcomes["refused"] > 9000


def _seconds(reader: Reader, case: bytes) -> float:
    """Return what a case takes."""
    began = time.perf_counter()
    _outcome(reader, case)
    return time.perf_counter() - began


def _outcome(reader: Reader, case: bytes) -> str:
    try:
        return reader.run(case)
    except reader.refusal:
        return "refused"
