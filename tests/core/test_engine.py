"""The engine: rows that stay apart, grow, are forgotten, saved and put back, and hold finite numbers only."""

import copy
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numba.cuda
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.core.cpu_kernels import LIKE
from edge_lstm.core.engine import Engine
from edge_lstm.core.handle import Handle
from edge_lstm.core.table import (
    ARRIVED,
    END,
    IN_ALERT,
    QUIET,
    SCORED,
    SEEN,
    SILENT_SINCE,
    START,
    START_END,
    Results,
    State,
)
from edge_lstm.device import faster
from edge_lstm.errors import StateError
from tests.bundles import hostile_stream, random_bundle, random_stream

ROOT = Path(__file__).resolve().parents[2]
JUDGES = ["fitted", "adaptive"]
BUDGET_S = 600.0
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


def bundle_of(judge: str) -> Bundle:
    return random_bundle(judge, channels=2, hidden=5, layers=2, seed=11)


def channels_of(bundle: Bundle) -> int:
    return len(bundle.metadata.channels)


def meaning(results: Results, k: int) -> tuple[bytes, ...]:
    """Return the bits of sample ``k`` that mean something; the rest is left from earlier calls."""
    always = (
        results.outcome, results.surprise, results.score, results.quality, results.reason,
        results.strength, results.phase, results.level, results.silence,
    )  # fmt: skip
    bits = [array[k].tobytes() for array in always]
    if results.outcome[k] == SCORED:
        bits.append(results.forecast[k].tobytes())
    if results.phase[k] in (START, END, START_END):
        bits += [results.event[k].tobytes(), results.cause[k].tobytes()]
    return tuple(bits)


def run(engine: Engine, rows: I64, t: F64, x: F64, now: float = 0.0) -> list[tuple[bytes, ...]]:
    results = engine.advance(rows, t, x, now)
    return [meaning(results, k) for k in range(len(rows))]


def row_bits(state: State, row: int) -> list[bytes]:
    return [array[row].tobytes() for array in state]


def troubled(bundle: Bundle, rows: int, seed: int) -> tuple[F64, F64]:
    """Return a hostile stream with long excursions, so that alerts start and last."""
    t, x = hostile_stream(rows, channels_of(bundle), seed)
    x[rows // 3 : rows // 3 + 30] += 60.0
    x[2 * rows // 3 : 2 * rows // 3 + 30] -= 90.0
    return t, x


# ---- Rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("seed", range(3))
def test_rows_do_not_touch_each_other(judge: str, seed: int) -> None:
    bundle = bundle_of(judge)
    streams = [troubled(bundle, 500, seed * 10 + k) for k in range(5)]
    table = Engine(bundle.weights, 7, BUDGET_S)
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.repeat(np.arange(5), 500))
    place = np.zeros(5, np.int64)
    picked = []
    for stream in order.tolist():
        picked.append((stream, place[stream]))
        place[stream] += 1
    rows = order + 1  # rows 0 and 6 stay fresh
    t = np.array([streams[s][0][k] for s, k in picked])
    x = np.array([streams[s][1][k] for s, k in picked])
    together: dict[int, list[tuple[bytes, ...]]] = {k: [] for k in range(5)}
    cuts = np.sort(rng.integers(0, len(rows), 20))
    for block in np.split(np.arange(len(rows)), cuts):
        for k, bits in zip(block.tolist(), run(table, rows[block], t[block], x[block]), strict=True):
            together[picked[k][0]].append(bits)
    for stream in range(5):
        alone = Engine(bundle.weights, 1, BUDGET_S)
        assert run(alone, np.zeros(500, np.int64), *streams[stream]) == together[stream]
        assert row_bits(alone.state, 0) == row_bits(table.state, stream + 1)
    for fresh in (0, 6):
        assert not any(array[fresh].any() for array in table.state)


@pytest.mark.parametrize("judge", JUDGES)
def test_a_block_equals_single_calls(judge: str) -> None:
    bundle = bundle_of(judge)
    t, x = troubled(bundle, 700, 5)
    rows = np.arange(700) % 2
    block, single = (Engine(bundle.weights, 2, BUDGET_S) for _ in range(2))
    as_block = run(block, rows, t, x)
    one_by_one = [run(single, rows[k : k + 1], t[k : k + 1], x[k : k + 1])[0] for k in range(700)]
    assert as_block == one_by_one
    assert len(set(as_block)) > 400
    for row in range(2):
        assert row_bits(block.state, row) == row_bits(single.state, row)


@pytest.mark.parametrize("judge", JUDGES)
def test_growth_keeps_rows(judge: str) -> None:
    bundle = bundle_of(judge)
    t, x = troubled(bundle, 600, 6)
    rows = np.arange(600) % 3
    fixed, growing = Engine(bundle.weights, 40, BUDGET_S), Engine(bundle.weights, 3, BUDGET_S)
    expected = run(fixed, rows, t, x)
    found = run(growing, rows[:200], t[:200], x[:200])
    before = growing.snapshot(3)
    growing.grow(2)
    assert growing.capacity == 3
    growing.grow(40)
    assert growing.capacity == 40
    for name, array in before.items():
        grown = getattr(growing.state, name)
        assert np.array_equal(grown[:3], array)
        assert not grown[3:].any()
    found += run(growing, rows[200:], t[200:], x[200:])
    assert found == expected
    assert growing.advance(np.array([39]), t[:1], x[1:2]).outcome[0] == SCORED


@pytest.mark.parametrize("judge", JUDGES)
def test_reset_equals_new(judge: str) -> None:
    bundle = bundle_of(judge)
    t, x = troubled(bundle, 400, 7)
    rows = np.arange(400) % 2
    engine = Engine(bundle.weights, 2, BUDGET_S)
    run(engine, rows, t, x, now=5.0)
    neighbor = row_bits(engine.state, 1)
    engine.reset(0)
    assert not any(array[0].any() for array in engine.state)
    assert row_bits(engine.state, 1) == neighbor
    new = Engine(bundle.weights, 1, BUDGET_S)
    zeros = np.zeros(400, np.int64)
    assert run(engine, zeros, t, x) == run(new, zeros, t, x)
    assert row_bits(engine.state, 0) == row_bits(new.state, 0)


@pytest.mark.parametrize("judge", JUDGES)
def test_restore_goes_on_with_the_same_bits(judge: str) -> None:
    """Cut anywhere: fresh, warming up, in the middle of an alert, after it."""
    bundle = bundle_of(judge)
    t, x = troubled(bundle, 900, 8)
    rows = np.arange(900) % 2
    whole = Engine(bundle.weights, 2, BUDGET_S)
    expected = run(whole, rows, t, x)
    mid_alert = 0
    for cut in [0, 1, 100, *range(295, 345, 7), 700]:
        first = Engine(bundle.weights, 2, BUDGET_S)
        found = run(first, rows[:cut], t[:cut], x[:cut])
        saved = first.snapshot(2)
        mid_alert += int(saved["row"][:, IN_ALERT].sum())
        run(first, rows[cut:], t[cut:], x[cut:])  # a snapshot is a copy
        second = Engine(bundle.weights, 1, BUDGET_S)
        second.restore(saved)
        assert second.capacity == 2
        found += run(second, rows[cut:], t[cut:], x[cut:])
        assert found == expected, cut
        for row in range(2):
            assert row_bits(second.state, row) == row_bits(whole.state, row)
    assert mid_alert >= 3


def test_restore_refuses_what_does_not_fit() -> None:
    bundle = bundle_of("adaptive")
    t, x = random_stream(60, 1)
    engine = Engine(bundle.weights, 2)
    run(engine, np.arange(60) % 2, t, x)
    good = engine.snapshot(2)
    before = [row_bits(engine.state, row) for row in range(2)]
    nan, inf = good["season"].copy(), good["h"].copy()
    nan[1, 3, 0], inf[0, 0, 0] = np.nan, np.inf
    bad = {
        "expected": [
            {name: array for name, array in good.items() if name != "peak"},
            good | {"extra": good["h"]},
            {},
            good | {"h": good["h"].astype(np.float64)},
            good | {"row": good["row"].astype(np.float32)},
            good | {"row": good["row"].astype(np.int64)},
            good | {"c": good["c"][:, :1]},
            good | {"tail": good["tail"][:1]},
            good | {"row": good["row"][:1]},
            good | {"row": good["row"][:, :-1]},
            good | {"row": np.float64(0.0).reshape(())},
            good | {"row": good["row"].ravel()},
            good | {"forecast": good["forecast"][..., None]},
        ],
        "not finite": [good | {"season": nan}, good | {"h": inf}],
    }
    for message, cases in bad.items():
        for case in cases:
            with pytest.raises(StateError, match=message):
                engine.restore(case)
            assert [row_bits(engine.state, row) for row in range(2)] == before
    other = Engine(bundle_of("fitted").weights, 2)
    with pytest.raises(StateError, match="expected"):
        other.restore(good)
    engine.restore(good)


def test_wrong_shapes_are_refused() -> None:
    bundle = bundle_of("fitted")
    engine = Engine(bundle.weights, 3)
    t, x = random_stream(4, 2)
    rows = np.zeros(4, np.int64)
    for bad_rows, bad_t, bad_x in (
        (rows, t[:3], x),
        (rows, t, x[:3]),
        (rows, t, x[:, :1]),
        (rows, t, x[:, 0]),
        (rows, t, np.ascontiguousarray(x.T)),
        (rows[:3], t, x),
        (rows, t.reshape(4, 1), x),
        (rows - 1, t, x),
        (rows + 3, t, x),
        (rows + 2**40, t, x),
        (np.array([0, 0, 0, 3]), t, x),
        (np.array([0, -1, 0, 0]), t, x),
    ):
        with pytest.raises(StateError, match=r"expected|in a table of 3"):
            engine.advance(bad_rows, bad_t, bad_x)
    assert not any(array.any() for array in engine.state)


def test_no_device() -> None:
    if numba.cuda.is_available():
        pytest.skip("there is one")
    weights = bundle_of("fitted").weights
    with pytest.raises(StateError, match="there is no CUDA device"):
        Engine(weights, 1, device="cuda")
    assert faster(weights, 10) == "cpu"


@pytest.mark.parametrize("judge", JUDGES)
def test_threads_give_the_same_bits(judge: str) -> None:
    """Rows mixed and repeated, in calls that are shared and in such that are not worth it."""
    bundle = bundle_of(judge)
    alone, shared = (Engine(bundle.weights, 400, BUDGET_S, threads=threads) for threads in (1, 3))
    rows = np.random.default_rng(0).integers(0, 400, 6000)
    t, x = troubled(bundle, len(rows), 4)
    for part in (slice(0, 5000), slice(5000, 5100), slice(5100, 6000)):
        assert run(alone, rows[part], t[part], x[part]) == run(shared, rows[part], t[part], x[part])
    for row in range(400):
        assert row_bits(alone.state, row) == row_bits(shared.state, row)
    with pytest.raises(StateError, match="row 400 in a table of 400"):
        shared.advance(rows + 1 + (rows.max() < 399), t, x)


def test_nothing_to_do() -> None:
    bundle = bundle_of("fitted")
    engine = Engine(bundle.weights, 3)
    results = engine.advance(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2)))
    assert len(results.outcome) == 0
    assert engine.snapshot(0)["row"].shape[0] == 0
    assert not any(array.any() for array in engine.state)


# ---- Silence -------------------------------------------------------------------------------------


def talk(engine: Engine, row: int, start: float, count: int, step: float = 1.0) -> float:
    """Give a row ``count`` samples, each when it arrives; return when the last one came."""
    first = engine.state.row[row, SEEN]
    for k in range(count):
        results = engine.advance(np.array([row]), np.array([1e6 + first + k]), np.array([[0.5, 0.5]]), start + k * step)
        assert results.outcome[0] == SCORED
    return start + (count - 1) * step


def test_silence_is_found_once_and_ends() -> None:
    engine = Engine(bundle_of("fitted").weights, 3)
    last = talk(engine, 1, 100.0, 30, step=2.0)
    assert engine.silent(3, last + 9.9, 5.0).tolist() == []
    assert engine.silent(3, last + 10.1, 20.0).tolist() == []
    assert engine.silent(3, last + 10.1, 5.0).tolist() == [1]
    assert engine.silent(3, last + 11.0, 5.0).tolist() == []
    results = engine.advance(np.array([1]), np.array([2e6]), np.ones((1, 2)), last + 40.0)
    assert results.silence[0] == last
    results = engine.advance(np.array([1]), np.array([2e6 + 1]), np.ones((1, 2)), last + 42.0)
    assert results.silence[0] == 0.0


def test_a_young_stream_is_not_missed() -> None:
    engine = Engine(bundle_of("fitted").weights, 2)
    last = talk(engine, 0, 100.0, 19)
    assert engine.silent(2, last + 1e6, 5.0).tolist() == []
    last = talk(engine, 0, last + 1.0, 1)
    assert engine.silent(2, last + 1e6, 5.0).tolist() == [0]


def test_samples_that_arrive_together_are_one_arrival() -> None:
    engine = Engine(bundle_of("fitted").weights, 1)
    t = 1e6 + np.arange(400.0)
    for burst in range(8):
        block = slice(50 * burst, 50 * burst + 50)
        engine.advance(np.zeros(50, np.int64), t[block], np.ones((50, 2)), 100.0 + 60.0 * burst)
    last = 100.0 + 60.0 * 7
    assert engine.silent(1, last + 299.0, 5.0).tolist() == []
    assert engine.silent(1, last + 301.0, 5.0).tolist() == [0]


def test_restored_streams_have_their_patience_anew() -> None:
    """The clock of arrivals may have started anew as well, so nothing is silent at once, and nothing every second."""
    first = Engine(bundle_of("fitted").weights, 2)
    talk(first, 0, 100.0, 30)
    talk(first, 1, 100.0, 30)
    second = Engine(bundle_of("fitted").weights, 2)
    second.restore(first.snapshot(2))
    assert not second.state.row[:, [ARRIVED, SILENT_SINCE]].any()
    boot = 50_000.0
    found = [(now, row) for now in range(100) for row in second.silent(2, boot + now, 5.0).tolist()]
    assert found == [(6, 0), (6, 1)]
    assert second.advance(np.array([0]), np.array([2e6]), np.ones((1, 2)), boot + 200.0).silence[0] == boot
    assert second.silent(2, boot + 201.0, 5.0).tolist() == []


def test_a_silence_outlives_a_restart() -> None:
    first = Engine(bundle_of("fitted").weights, 2)
    talk(first, 0, 100.0, 30)
    assert first.silent(2, 140.0, 5.0).tolist() == [0]
    second = Engine(bundle_of("fitted").weights, 2)
    second.restore(first.snapshot(2))
    assert [now for now in range(100) if second.silent(2, 50_000.0 + now, 5.0).size] == []  # it was told already
    assert second.advance(np.array([0]), np.array([2e6]), np.ones((1, 2)), 50_200.0).silence[0] > 0.0


# ---- Finite in, finite out -----------------------------------------------------------------------


def random_bits(rng: np.random.Generator, *shape: int) -> F64:
    """Return doubles of random bits: every exponent alike, NaN and infinity among them."""
    return rng.integers(0, 2**64, shape, np.uint64).view(np.float64)


def hostile_doubles(rng: np.random.Generator, count: int, channels: int) -> tuple[I64, F64, F64]:
    rows = rng.integers(0, 8, count)
    t = np.cumsum(rng.exponential(0.3, count)) + 1e6
    wild_t = rng.random(count) < 0.05
    t[wild_t] = random_bits(rng, int(wild_t.sum()))
    x = rng.normal(0, 1, (count, channels)) * 10.0 ** rng.integers(-3, 3, (count, 1))
    wild = rng.random((count, channels)) < rng.choice([0.01, 0.5, 1.0], (count, 1))
    x[wild] = random_bits(rng, int(wild.sum()))
    corners = [np.nan, np.inf, -np.inf, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, -0.0, 1e15]
    corner = rng.random((count, channels)) < 0.01
    x[corner] = rng.choice(corners, int(corner.sum()))
    return rows, t, x


def assert_finite_after(judge: str, count: int, seed: int) -> None:
    bundle = bundle_of(judge)
    engine = Engine(bundle.weights, 8, BUDGET_S)
    rng = np.random.default_rng(seed)
    scored = 0
    for _ in range(count // 20_000):
        results = engine.advance(*hostile_doubles(rng, 20_000, channels_of(bundle)))
        scored += int((results.outcome == SCORED).sum())
        for name, array in engine.state._asdict().items():
            assert np.isfinite(array).all(), name
        for name, array in results._asdict().items():
            assert np.isfinite(array).all(), name
        assert (abs(engine.state.h) <= 1.0).all()
        assert results.score.min() >= 0.0
        assert results.score.max() <= 1.0
        assert results.surprise.min() >= 0.0
        assert results.surprise.max() <= 15.0
        assert (results.strength >= results.surprise).all()
        assert results.phase.min() == QUIET
    assert scored > 0.2 * count  # not all of it was turned away at the door


@pytest.mark.parametrize("judge", JUDGES)
def test_any_doubles_leave_the_state_finite(judge: str) -> None:
    assert_finite_after(judge, 200_000, 1)


@pytest.mark.slow
@pytest.mark.parametrize("judge", JUDGES)
def test_a_million_doubles_leave_the_state_finite(judge: str) -> None:
    assert_finite_after(judge, 1_000_000, 2)


@pytest.mark.parametrize("judge", JUDGES)
def test_a_refused_sample_changes_nothing_but_the_count_of_stale_ones(judge: str) -> None:
    bundle = bundle_of(judge)
    channels = channels_of(bundle)
    engine = Engine(bundle.weights, 1)
    t, x = random_stream(300, channels)
    row = np.zeros(300, np.int64)
    run(engine, row, t, x)
    before = row_bits(engine.state, 0)
    last = t[-1]
    for bad_t, value in (
        (np.nan, 1.0), (np.inf, 1.0), (-np.inf, 1.0), (1.1e11, 1.0), (-1.1e11, 1.0),
        (last + 1, np.inf), (last + 1, -np.inf), (last + 1, np.nan),
    ):  # fmt: skip
        results = engine.advance(row[:1], np.array([bad_t]), np.full((1, channels), value))
        assert results.outcome[0] != SCORED
        assert row_bits(engine.state, 0) == before
    for stale in (last, last - 5):
        results = engine.advance(row[:1], np.array([stale]), np.ones((1, channels)))
        assert results.outcome[0] != SCORED
        after = row_bits(engine.state, 0)
        names = [name for name, a, b in zip(State._fields, before, after, strict=True) if a != b]
        assert names == ["row"]
    results = engine.advance(row[:1], np.array([last + 1]), np.ones((1, channels)))
    assert results.outcome[0] == SCORED


# ---- No allocation per sample --------------------------------------------------------------------

COUNT_ALLOCATIONS = """
import json, sys
import numpy as np
from numba.core.runtime import rtsys
from edge_lstm.core.cpu_kernels import LIKE
from edge_lstm.core.engine import Engine
from edge_lstm.core.handle import Handle
from tests.bundles import hostile_stream, random_bundle
counts = {}
for judge in ("fitted", "adaptive"):
    bundle = random_bundle(judge, channels=2, layers=2)
    t, x = hostile_stream(20_000, len(bundle.metadata.channels))
    engine = Engine(bundle.weights, 2, 600.0)
    rows = np.arange(20_000) % 2
    engine.advance(rows[:10_000], t[:10_000], x[:10_000], 1.0)
    for n in (1, 10_000):
        before = rtsys.get_allocation_stats()
        engine.advance(rows[-n:], t[-n:], x[-n:], 2.0)
        after = rtsys.get_allocation_stats()
        counts[f"{judge} {n}"] = [after.alloc - before.alloc, after.mi_alloc - before.mi_alloc]
        assert after.alloc - before.alloc == after.free - before.free
probe = rtsys.get_allocation_stats().alloc
from numba import njit
assert njit(lambda n: np.zeros(n))(3).size == 3
assert rtsys.get_allocation_stats().alloc > probe  # the counter counts
print(json.dumps(counts))
"""


def test_no_allocation_per_sample() -> None:
    environment = os.environ | {"NUMBA_NRT_STATS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COUNT_ALLOCATIONS]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    for judge in JUDGES:
        assert counts[f"{judge} 10000"] == counts[f"{judge} 1"]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("judge", JUDGES)
def test_memory_is_flat_over_a_million_samples(judge: str) -> None:
    bundle = bundle_of(judge)
    engine = Engine(bundle.weights, 4, BUDGET_S)
    t, x = random_stream(1000, channels_of(bundle))
    rows = np.arange(1000) % 4

    def advance(blocks: range) -> None:
        for k in blocks:
            engine.advance(rows, t + 1000.0 * k, x)

    size = sum(array.nbytes for array in engine.state)
    tracemalloc.start()
    for _ in range(5000):  # stale samples, until Python's free lists are full
        engine.advance(rows[:1], t[:1] - 1e6, x[:1])
    advance(range(100))
    resident, (traced, _) = resident_bytes(), tracemalloc.get_traced_memory()
    advance(range(100, 1000))
    resident_after, (traced_after, _) = resident_bytes(), tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert resident_after - resident < 2**20
    assert traced_after - traced < 2**14
    assert sum(array.nbytes for array in engine.state) == size
    assert engine.state.row[:, SEEN].sum() >= 1_000_000


def test_a_budget_may_be_a_whole_number() -> None:
    """The first call's types are those that the kernel is compiled for; so a process of its own."""
    code = (
        "import numpy as np\n"
        "from edge_lstm.core.engine import Engine\n"
        "from edge_lstm.core.smallest import smallest_weights\n"
        "from edge_lstm.core.table import LEVEL\n"
        "levels = []\n"
        "for budget in (600, 1800.5):\n"
        "    engine = Engine(smallest_weights(), 1, budget)\n"
        "    for t in range(3):\n"
        "        engine.advance(np.zeros(1, np.int64), np.array([float(t)]), np.ones((1, 1)), 0)\n"
        "    levels.append(engine.state.row[0, LEVEL])\n"
        "print(levels[0] < levels[1] or levels)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stdout + done.stderr


def test_handles_are_not_copied() -> None:
    with pytest.raises(TypeError, match="a handle is an address"):
        copy.deepcopy(Handle(LIKE, LIKE))


def test_growing_in_another_thread_leaves_a_running_call_its_tables() -> None:
    bundle = bundle_of("fitted")
    engine = Engine(bundle.weights, 64, BUDGET_S)
    rows, (t, x) = np.arange(4000) % 64, random_stream(4000, 2)
    stop = threading.Event()

    def advance() -> None:
        while not stop.is_set():
            engine.advance(rows, t, x)

    worker = threading.Thread(target=advance)
    worker.start()
    for capacity in range(65, 400):
        engine.grow(capacity)
    stop.set()
    worker.join()
    assert engine.capacity == 399
