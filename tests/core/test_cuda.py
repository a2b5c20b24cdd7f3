"""The CUDA table equals engine and oracle, to the last bit.

Runs on a device if there is one; without, ``test_variants.py`` runs this file in Numba's simulator.
"""

import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import numba
import numba.cuda
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_lstm.bundle import Bundle
from edge_lstm.core import lstm
from edge_lstm.core.cache import kernel
from edge_lstm.core.cpu_kernels import DONE
from edge_lstm.core.dot import TILE
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import (
    END,
    IN_ALERT,
    OUTCOMES,
    PHASES,
    QUALITIES,
    REASONS,
    SCORED,
    SEEN,
    SINCE,
    START,
    START_END,
    Results,
    State,
    new_scratch,
    new_state,
)
from edge_lstm.device import faster
from edge_lstm.errors import StateError
from tests.bundles import hostile_stream, random_bundle, random_layers_bundle, random_stream
from tests.reference import Reference

cuda: Any = numba.cuda
if not cuda.is_available():
    pytest.skip("no CUDA device, and not in the simulator", allow_module_level=True)

# these need a device or the simulator from here on
from edge_lstm.core.cuda import CudaTable, _at, _up, schedule  # noqa: E402
from edge_lstm.core.cuda_kernels import step_kernel  # noqa: E402
from edge_lstm.core.cuda_pack import SHARED_BYTES, Packed, pack, plan  # noqa: E402

BUDGET_S = 1e6
I64, F64 = NDArray[np.int64], NDArray[np.float64]
ALWAYS = ("outcome", "surprise", "score", "quality", "reason", "strength", "phase", "level", "silence")


@pytest.fixture(autouse=True)
def _brisk_threads() -> Iterator[None]:
    """The simulator polls its threads; by default the interpreter lets it do so for 5 ms at every barrier."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def assert_same(mine: Results, its: Results) -> None:
    """Compare all that means something."""
    for name in ALWAYS:
        assert getattr(mine, name).tobytes() == getattr(its, name).tobytes(), name
    scored = mine.outcome == SCORED
    assert mine.forecast[scored].tobytes() == its.forecast[scored].tobytes()
    events = np.isin(mine.phase, (START, END, START_END))
    assert mine.event[events].tobytes() == its.event[events].tobytes()
    assert mine.cause[events].tobytes() == its.cause[events].tobytes()


def assert_same_state(mine: State, its: State) -> None:
    for name, ours, theirs in zip(State._fields, mine, its, strict=True):
        assert ours.tobytes() == theirs.tobytes(), name


def both(bundle: Bundle, rows: int, threads: int = 4) -> tuple[Engine, CudaTable]:
    return Engine(bundle.weights, rows, BUDGET_S), CudaTable(bundle.weights, rows, BUDGET_S, threads)


def advance_both(engine: Engine, table: CudaTable, rows: I64, t: F64, x: F64, now: float = 0.0) -> Results:
    mine = engine.advance(rows, t, x, now)
    assert table.advance(rows, t, x, now) == DONE
    its = table.results(len(rows))
    assert_same(mine, its)
    assert_same_state(engine.state, table.state)
    return its


def troubled(samples: int, channels: int, seed: int) -> tuple[F64, F64]:
    """Return a hostile stream with an excursion and a clock that is set back."""
    t, x = hostile_stream(samples, channels, seed)
    x[3 * samples // 4 : 3 * samples // 4 + 6] += 80.0
    t[9 * samples // 10 :] -= 20000.0
    return t, x


@pytest.mark.parametrize("judge", ["fitted", "adaptive"])
def test_hostile_streams(judge: str) -> None:
    """Two rows, their samples mixed, in calls of any size; against the oracle too."""
    samples = 440
    bundle = random_bundle(judge, channels=2, hidden=3, layers=2, warm_up=20)
    t, x = troubled(samples, len(bundle.metadata.channels), 3)
    rows = np.random.default_rng(0).integers(0, 2, samples)
    engine, table = both(bundle, 2, threads=2)
    oracles = [Reference(msgspec.to_builtins(bundle.metadata), bundle.tensors, budget_s=BUDGET_S) for _ in range(2)]
    met = set()
    for block in (slice(0, 200), slice(200, 200), slice(200, 201), slice(201, samples)):
        its = advance_both(engine, table, rows[block], t[block], x[block])
        for k in range(len(its.outcome)):
            at = block.start + k
            expected = oracles[rows[at]].advance(float(t[at]), [float(v) for v in x[at]])
            assert OUTCOMES[its.outcome[k]] == expected.outcome, at
            met |= {expected.outcome, expected.alert}
            if expected.outcome == "scored":
                assert its.forecast[k].tolist() == [list(f) for f in expected.forecast], at
                assert (its.surprise[k], its.score[k], its.level[k]) == (
                    expected.surprise, expected.score, expected.level,
                )  # fmt: skip
                assert (QUALITIES[its.quality[k]], REASONS[its.reason[k]]) == (expected.quality, expected.reason)
                assert PHASES[its.phase[k]] == expected.alert
    state = table.state
    for row, oracle in enumerate(oracles):
        assert np.array_equal(state.h[row, :, :3], oracle.h)
        assert np.array_equal(state.c[row, :, :3], oracle.c)
    assert met >= {"scored", "not_finite", "out_of_order", "start", "active", "end"}, met


@pytest.mark.parametrize(
    ("channels", "hidden", "layers", "bits", "threads"),
    [(1, 1, 1, 16, 1), (3, 9, 1, 8, 4), (5, 4, 3, 16, 8), (1, 13, 2, 16, 5)],
)
def test_shapes(channels: int, hidden: int, layers: int, bits: int, threads: int) -> None:
    """Tiles that are not full, units that are not a multiple of four, more than one block's worth of rows."""
    rows = 11
    bundle = random_bundle("fitted", channels, hidden, layers, bits, seed=hidden)
    engine, table = both(bundle, rows, threads)
    t, x = random_stream(4 * rows, channels)
    for step in range(4):
        own = slice(step * rows, (step + 1) * rows)
        advance_both(engine, table, np.arange(rows)[::-1].copy(), t[own], x[own])


def test_weights_that_do_not_fit() -> None:
    """Larger networks are read where they are; one that needs all shared memory for a single row is too slow here."""
    bundle = random_bundle("fitted", channels=2, hidden=4)
    engine, table = both(bundle, 3)
    slow = CudaTable(bundle.weights, 3, BUDGET_S, 4, resident=False)
    t, x = random_stream(9, 2)
    rows = np.arange(9) % 3
    its = advance_both(engine, table, rows, t, x)
    assert slow.advance(rows, t, x) == DONE
    assert_same(its, slow.results(9))
    assert_same_state(engine.state, slow.state)


def test_extreme_state_and_weights() -> None:
    bundle = random_bundle("fitted", channels=1, hidden=8)
    network = bundle.weights.network
    network = network._replace(
        weight_hh=np.full_like(network.weight_hh, 127), head_weight=np.full_like(network.head_weight, -127)
    )
    extreme = bundle.weights._replace(network=network)
    engine, table = Engine(extreme, 2, BUDGET_S), CudaTable(extreme, 2, BUDGET_S, 2)
    for name, value in (("h", 1.0), ("c", 1e6)):
        getattr(engine.state, name)[:, :, :8] = [[[value]], [[-value]]]
        table.write(name, 0, getattr(engine.state, name))
    engine.state.row[:, [SEEN, SINCE]] = 1.0  # the first sample would put the state to where a stream starts
    table.write("row", 0, engine.state.row)
    for x in (1e9, -1e9):
        advance_both(engine, table, np.arange(2), np.full(2, 1.0 + (x < 0)), np.full((2, 1), x))


def test_zeros_keep_their_sign() -> None:
    bundle = random_bundle("adaptive", hidden=2)
    engine, table = both(bundle, 1)
    x = np.array([0.0, -0.0, 0.0, -0.0, 1.0, -0.0])
    advance_both(engine, table, np.zeros(6, np.int64), np.arange(6.0), x[:, None])


def test_table_grows_and_is_written() -> None:
    bundle = random_bundle("fitted", channels=2, hidden=4)
    engine, table = both(bundle, 2)
    t, x = random_stream(8, 2)
    advance_both(engine, table, np.arange(8) % 2, t, x)
    engine.grow(5)
    table.grow(5)
    assert table.capacity == 5
    advance_both(engine, table, np.arange(5), t[:5] + 100, x[:5])
    engine.reset(1)
    for name, array in engine.state._asdict().items():
        table.write(name, 1, np.zeros_like(array[1:2]))
    assert_same_state(engine.state, table.state)
    assert table.read("row", 1, 3)[:, IN_ALERT].tolist() == [0.0, 0.0]


def test_silence() -> None:
    bundle = random_bundle("fitted", channels=1, hidden=2)
    engine, table = both(bundle, 3)
    table.compile()
    t, x = random_stream(30, 1)
    for k in range(30):
        rows = np.arange(3 if k < 25 else 2)
        advance_both(engine, table, rows, np.full(len(rows), t[k]), np.tile(x[k], (len(rows), 1)), 10.0 + k)
    for now in (39.0, 60.0, 60.0, 500.0):
        assert engine.silent(3, now, 1.0).tolist() == table.silent(3, now, 1.0).tolist()
        assert_same_state(engine.state, table.state)
    its = advance_both(engine, table, np.arange(3), np.full(3, t[-1] + 500), np.tile(x[0], (3, 1)), 510.0)
    assert (its.silence > 0).all()


def test_engine_on_a_device() -> None:
    """The same engine, its table on the device: everything that Engine offers."""
    bundle = random_bundle("adaptive", hidden=2)
    cpu, gpu = Engine(bundle.weights, 2, BUDGET_S), Engine(bundle.weights, 2, BUDGET_S, device="cuda")
    assert (cpu.device, gpu.device) == ("cpu", "cuda")
    t, x = random_stream(8, 1)
    for engine in (cpu, gpu):
        engine.advance(np.arange(8) % 2, t, x)
        engine.grow(4)
        engine.advance(np.arange(4), t[:4] + 100, x[:4])
        engine.reset(1)
        with pytest.raises(StateError, match="row 4 in a table of 4"):
            engine.advance(np.array([0, 4]), t[:2], x[:2])
        with pytest.raises(StateError, match=r"float64 \(3, 1\), expected"):
            engine.advance(np.arange(2), t[:2], x[:3])
    assert_same_state(cpu.state, gpu.state)
    again = Engine(bundle.weights, 1, BUDGET_S, device="cuda")
    again.restore(gpu.snapshot(4))
    assert again.read("h", 0, 4).tobytes() == cpu.read("h", 0, 4).tobytes()
    assert faster(bundle.weights, 2) in ("cpu", "cuda")


def test_schedule() -> None:
    rows, first, count, order = schedule(np.array([7, 2, 7, 5, 7, 2]))
    assert (rows.tolist(), first.tolist(), count.tolist()) == ([7, 2, 5], [3, 0, 2], [3, 2, 1])
    assert order.tolist() == [1, 5, 3, 0, 2, 4]
    assert [part.tolist() for part in schedule(np.array([1, 4]))] == [[1, 4], [0, 1], [1, 1], [0, 1]]
    assert not any(len(part) for part in schedule(np.zeros(0, np.int64)))


def test_step_alone() -> None:
    """Two tiles, one of them not full; against the CPU's step, a row at a time."""
    bundle = random_bundle("fitted", channels=3, hidden=6, layers=2)
    weights, rng, rows = bundle.weights, np.random.default_rng(0), 5
    state, scratch, tile = new_state(rows, weights), new_scratch(TILE, weights), lstm.new_tile(weights.network)
    state.h[:, :, :6], state.c[:, :, :6] = rng.uniform(-1, 1, (rows, 2, 6)), rng.normal(0, 3, (rows, 2, 6))
    u = rng.normal(0, 9, (rows, 3)).astype(np.float32)
    there = [cuda.to_device(a) for a in (state.h, state.c, u, np.zeros((rows, 6), np.float32))]
    network = pack(weights.network)
    _at(step_kernel(True), 1, 4, plan(network, 4).shared_bytes)(_up(network), *there, 4)
    h, c, _, out = (array.copy_to_host() for array in there)
    packed = lstm.pack(weights.network)
    for row in range(rows):
        tile.rows[0], scratch.u[0, :3] = row, u[row]
        cpu_step(packed, state.h, state.c, tile, scratch.u, scratch.out)
        assert scratch.out[0, :6].tobytes() == out[row].tobytes()
    assert (h.tobytes(), c.tobytes()) == (state.h.tobytes(), state.c.tobytes())


@kernel
def cpu_step(packed: Any, h: Any, c: Any, tile: Any, u: Any, out: Any) -> None:
    lstm.step(packed, h, c, tile, 1, u, out)


@pytest.mark.parametrize(
    ("inputs", "hidden", "layers"), [(1, 1, 1), (8, 64, 1), (8, 64, 4), (8, 128, 1), (1024, 2048, 1), (2, 2048, 16)]
)
def test_every_network_has_a_plan(inputs: int, hidden: int, layers: int) -> None:
    bias, head = np.zeros((layers, 4 * hidden), np.float32), np.zeros(2, np.float32)
    words = np.zeros(hidden * (inputs + hidden) + (layers - 1) * 2 * hidden * hidden, np.int32)
    made = plan(Packed(words, bias, bias, bias, head, head, inputs, np.float32(1), np.float32(1), np.float32(1)), 64)
    assert 1 <= made.tile <= 64
    assert 0 < made.shared_bytes <= SHARED_BYTES
    assert made.resident == (hidden <= 64 and layers == 1)


@pytest.mark.parametrize("head", ["forecast", "reconstruction", "classification"])
def test_layers_of_any_kind(head: str) -> None:
    for seed in range(3):
        bundle = random_layers_bundle(seed, head, channels=2)
        t, x = troubled(120, 2, seed)
        rows = np.random.default_rng(seed).integers(0, 3, 120)
        advance_both(*both(bundle, 3), rows, t, x)


@pytest.mark.parametrize(("window", "copies"), [(6, 3), (4, 1)])
def test_windows(window: int, copies: int) -> None:
    plain = random_bundle("fitted", channels=2, hidden=3, layers=2, window=window, copies=copies, horizon=2)
    layers = random_layers_bundle(3, "forecast", 2, window=window, copies=copies)
    for bundle in (plain, layers):
        t, x = troubled(120, 2, window)
        advance_both(*both(bundle, 2), np.arange(120) % 2, t, x)
