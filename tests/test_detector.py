"""The library face."""

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge_lstm
from edge_lstm.bundle import Bundle, seal, write
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import TIME
from edge_lstm.detector import BLOCK, Detector
from edge_lstm.errors import PayloadError, StateError, WeightsError
from edge_lstm.messages import Alert, Score
from tests.bundles import hostile_stream, random_bundle, random_stream

JUDGES = ["fitted", "adaptive"]
BUDGET_S = 600.0


def bundle_of(judge: str, **changes: object) -> Bundle:
    return random_bundle(judge, channels=3, hidden=5, seed=21, **changes)


def deaf(bundle: Bundle) -> Bundle:
    """Return the bundle with a judge that nothing surprises, so that the rules alone raise alerts."""
    tensors = {name: tensor for name, tensor in bundle.tensors.items() if not name.startswith("golden.")}
    tensors["judge.evidence"] = np.array([[0.0, 1e6]] * 3)
    return seal(bundle.metadata, tensors, bundle.tensors["golden.t"], bundle.tensors["golden.x"])


def troubled(bundle: Bundle, rows: int = 900) -> tuple[np.ndarray, np.ndarray]:
    """Return a hostile stream with two long excursions."""
    t, x = hostile_stream(rows, len(bundle.metadata.channels), 3)
    x[rows // 3 : rows // 3 + 20] += 70.0
    x[2 * rows // 3 : 2 * rows // 3 + 20] -= 90.0
    return t, x


def one_by_one(detector: Detector, t: np.ndarray, x: np.ndarray) -> tuple[list[Score | None], list[Alert]]:
    scores: list[Score | None] = []
    alerts = []
    for k in range(len(t)):
        try:
            scores.append(detector.score_one(x[k].tolist(), float(t[k])))
        except PayloadError:
            scores.append(None)
        alerts += detector.alerts
    return scores, alerts


def number(value: float | None) -> float:
    return math.nan if value is None else value


def state_bits(detector: Detector) -> list[bytes]:
    return [array.tobytes() for array in detector._engine.state]


@pytest.mark.parametrize("judge", JUDGES)
def test_many_equals_one_by_one(judge: str) -> None:
    bundle = bundle_of(judge)
    t, x = troubled(bundle)
    single, many = Detector(bundle, BUDGET_S), Detector(bundle, BUDGET_S)
    scores, alerts = one_by_one(single, t, x)
    result = many.score_many(x, t)
    assert np.array([number(s and s.score) for s in scores]).tobytes() == result.score.tobytes()
    assert np.array([number(s and s.surprise) for s in scores]).tobytes() == result.surprise.tobytes()
    assert [bool(s and s.alert) for s in scores] == result.alert.tolist()
    assert alerts == result.alerts
    assert alerts
    assert scores.count(None) > 10
    assert state_bits(single) == state_bits(many)


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("period_s", [0.1, 0.3, 7.0])
def test_times_that_are_not_given(judge: str, period_s: float) -> None:
    """Added up one by one, so that the clock of a block is that of single samples to the last bit."""
    bundle = bundle_of(judge, period_s=period_s)
    _, x = random_stream(400, len(bundle.metadata.channels))
    x[300:310] += 80.0
    single, halves = Detector(bundle, BUDGET_S), Detector(bundle, BUDGET_S)
    scores = [single.score_one(row.tolist()) for row in x]
    halves.score_many(x[:150])
    halves.score_many(x[150:])
    assert scores[0].t == 0.0
    assert scores[2].t == period_s + period_s
    assert state_bits(single) == state_bits(halves)
    assert halves._engine.state.row[0, TIME] == scores[-1].t


def test_score_equals_the_engine() -> None:
    bundle = bundle_of("fitted")
    t, x = random_stream(300, 3)
    results = Engine(bundle.weights, 1, BUDGET_S).advance(np.zeros(300, np.int64), t, x)
    detector = Detector(bundle, BUDGET_S)
    for k in range(300):
        score = detector.score_one(x[k].tolist(), t[k])
        assert score.t == t[k]
        assert number(score.surprise) == results.surprise[k] or score.quality == "warming_up"
        assert (score.score is None) == (k < bundle.metadata.warm_up)
    assert score.model == f"random-21-{bundle.digest}"
    assert score.stream == ""


def test_names_in_any_order_and_one_missing() -> None:
    bundle = bundle_of("fitted")
    t, x = random_stream(200, 3)
    x[60, 1] = np.nan
    listed, named = Detector(bundle), Detector(bundle)
    for k in range(200):
        a = listed.score_one(x[k].tolist(), t[k])
        values = {"c2": x[k, 2], "c0": x[k, 0], "c1": x[k, 1], "humidity": 4.0}
        if k == 60:
            del values["c1"], values["humidity"]
        b = named.score_one(values, t[k])
        assert a == b
        assert (a.quality == "suspect") == (k == 60)
    assert state_bits(listed) == state_bits(named)


def test_a_misspelt_channel_is_refused() -> None:
    detector = Detector(bundle_of("fitted"))
    with pytest.raises(StateError, match="no channel 'c1' but 'C1'"):
        detector.score_one({"c0": 1.0, "C1": 2.0, "c2": 3.0})


def test_first_sample_must_be_complete() -> None:
    detector = Detector(bundle_of("fitted"))
    with pytest.raises(PayloadError, match="missing") as raised:
        detector.score_one({"c0": 1.0})
    assert raised.value.reason == "missing"
    assert not any(array.any() for array in detector._engine.state)


@pytest.mark.parametrize(
    ("value", "later", "reason"),
    [
        (math.inf, 1.0, "not_finite"), (-math.inf, 1.0, "not_finite"), (math.nan, 1.0, "missing"),
        (1.0, math.nan, "bad_time"), (1.0, 1e12, "bad_time"), (1.0, 0.0, "duplicate"), (1.0, -3.0, "out_of_order"),
    ],
)  # fmt: skip
def test_refused_samples(value: float, later: float, reason: str) -> None:
    bundle = bundle_of("fitted")
    t, x = random_stream(80, 3)
    detector, other = Detector(bundle, BUDGET_S), Detector(bundle, BUDGET_S)
    for one in (detector, other):
        one.score_many(x[:60], t[:60])
    before = state_bits(detector)
    with pytest.raises(PayloadError) as raised:
        detector.score_one([value] * 3, t[59] + later)
    assert raised.value.reason == reason
    assert detector.alerts == []
    if reason in ("duplicate", "out_of_order"):  # counted, in case the clock was set back
        assert state_bits(detector)[:-2] == before[:-2]
    else:
        assert state_bits(detector) == before
    a, b = detector.score_many(x[60:], t[60:]), other.score_many(x[60:], t[60:])
    assert a.surprise.tobytes() == b.surprise.tobytes()
    assert state_bits(detector) == state_bits(other)


def test_alerts_are_of_the_last_call_only() -> None:
    detector = Detector(deaf(bundle_of("fitted")), BUDGET_S)
    t, x = random_stream(62, 3)
    assert detector.score_many(np.clip(x[:60], -6, 6), t[:60]).alerts == []
    detector.score_one([500.0, 0.0, 0.0], t[60])
    assert [alert.phase for alert in detector.alerts] == ["start"]
    with pytest.raises(PayloadError):
        detector.score_one([math.inf] * 3, t[61])
    assert detector.alerts == []


@pytest.mark.parametrize("bad", [[1.0], 1.0, [1.0, 2.0], [1.0] * 4, [[1.0, 2.0, 3.0]], [], np.ones((1, 3))])
def test_samples_of_another_width_are_refused(bad: object) -> None:
    """NumPy would repeat a single value for all channels."""
    detector = Detector(bundle_of("fitted"))
    with pytest.raises(StateError, match="expected 3 values"):
        detector.score_one(bad)  # type: ignore[arg-type]
    assert not any(array.any() for array in detector._engine.state)


def test_blocks_of_another_width_are_refused() -> None:
    detector = Detector(bundle_of("fitted"))
    with pytest.raises(StateError, match=r"\(5, 2\) and \(5,\), expected \(5, 3\), a column for each of c0, c1, c2"):
        detector.score_many(np.ones((5, 2)))
    with pytest.raises(StateError, match=r"shapes \(5, 3\) and \(4,\), expected \(5, 3\), .* and \(5,\)"):
        detector.score_many(np.ones((5, 3)), np.arange(4.0))
    with pytest.raises(StateError, match=r"shapes \(5,\) and"):
        detector.score_many(np.ones(5))
    assert not any(array.any() for array in detector._engine.state)


def test_times_that_do_not_fit_are_refused_whole() -> None:
    detector = Detector(bundle_of("adaptive"))
    for n, times in ((5000, 4999), (4096, 5000), (10, 11)):
        with pytest.raises(StateError, match="expected"):
            detector.score_many(np.ones(n), np.arange(float(times)))
    assert not any(array.any() for array in detector._engine.state)


def test_arrays_that_may_not_be_written_are_scored() -> None:
    one, other = Detector(bundle_of("adaptive")), Detector(bundle_of("adaptive"))
    _, x = random_stream(300, 1)
    t = np.arange(300.0)
    for array in (x, t):
        array.flags.writeable = False
    one.score_many(x, t)
    other.score_many(x.copy(), t.copy())
    assert state_bits(one) == state_bits(other)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda detector: pickle.loads(pickle.dumps(detector))])
def test_a_copy_is_another_detector(copied: Callable[[Detector], Detector]) -> None:
    """It has tables of its own: the original neither moves with it nor is needed by it."""
    detector = Detector(bundle_of("adaptive"))
    _, x = random_stream(400, 1)
    detector.score_many(x[:200])
    before, again = state_bits(detector), copied(detector)
    scores = again.score_many(x[200:]).surprise
    assert state_bits(detector) == before != state_bits(again)
    assert np.array_equal(detector.score_many(x[200:]).surprise, scores, equal_nan=True)


def test_a_copy_packs_its_weights_anew() -> None:
    """They are packed for a CPU, and a pickle may go to another one."""
    detector = Detector(random_bundle("adaptive", hidden=32))
    packed = detector._engine._table._tables.packed.code
    assert packed.tobytes() not in pickle.dumps(detector)
    again = pickle.loads(pickle.dumps(detector))._engine._table._tables.packed.code
    assert again.tobytes() == packed.tobytes()
    assert again.ctypes.data % 64 == 0


def test_long_recordings_are_scored_in_blocks() -> None:
    """The same bits as in one piece, whatever the block."""
    whole, parts = Detector(bundle_of("adaptive")), Detector(bundle_of("adaptive"))
    _, x = random_stream(2 * BLOCK + 5, 1)
    x[6000:6040] += 50.0
    scores = whole.score_many(x)
    assert len(scores.score) == len(x)
    surprise = np.concatenate([parts.score_many(part).surprise for part in np.split(x, [7, BLOCK + 9])])
    assert np.array_equal(scores.surprise, surprise, equal_nan=True)
    assert scores.alerts
    assert state_bits(whole) == state_bits(parts)


def test_a_single_channel_takes_a_bare_number() -> None:
    bundle = bundle_of("adaptive")
    _, x = random_stream(300, 1)
    listed, bare, flat = Detector(bundle), Detector(bundle), Detector(bundle)
    for value in x[:, 0].tolist():
        assert listed.score_one([value]) == bare.score_one(value)
    flat.score_many(x[:, 0])
    assert state_bits(listed) == state_bits(bare) == state_bits(flat)


# ---- State ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", JUDGES)
def test_saved_state_goes_on(judge: str, tmp_path: Path) -> None:
    bundle = bundle_of(judge)
    t, x = troubled(bundle)
    whole = Detector(bundle, BUDGET_S)
    expected = [whole.score_many(x[a:b], t[a:b]) for a, b in ((0, 310), (310, 900))][1]
    first, second = Detector(bundle, BUDGET_S), Detector(bundle, BUDGET_S)
    first.score_many(x[:310], t[:310])  # in the middle of the excursion
    first.save_state(tmp_path / "state")
    second.score_many(x[:50] + 3.0, t[:50])  # all of this is forgotten
    second.load_state(tmp_path / "state")
    found = second.score_many(x[310:], t[310:])
    assert found.surprise.tobytes() == expected.surprise.tobytes()
    assert found.alerts == expected.alerts
    assert state_bits(second) == state_bits(whole)
    second.save_state(tmp_path / "b")
    whole.save_state(tmp_path / "c")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_foreign_state_is_refused(tmp_path: Path) -> None:
    bundle, other = bundle_of("fitted"), bundle_of("fitted", settle=11)
    detector = Detector(bundle)
    t, x = random_stream(50, 3)
    detector.score_many(x, t)
    before = state_bits(detector)
    Detector(other).save_state(tmp_path / "other")
    with pytest.raises(StateError, match=f"state of bundle {other.digest}, expected {bundle.digest}"):
        detector.load_state(tmp_path / "other")
    write(bundle, tmp_path / "bundle")
    detector.save_state(tmp_path / "good")
    (tmp_path / "half").write_bytes((tmp_path / "good").read_bytes()[:-100])
    (tmp_path / "text").write_text("no state")
    for bad in ("half", "text", "missing", "."):
        with pytest.raises(StateError, match="not a saved state"):
            detector.load_state(tmp_path / bad)
    with pytest.raises(StateError, match="state of bundle None"):
        detector.load_state(tmp_path / "bundle")
    assert state_bits(detector) == before
    detector.load_state(tmp_path / "good")


@pytest.mark.parametrize("judge", JUDGES)
def test_reset_equals_new(judge: str) -> None:
    bundle = bundle_of(judge)
    t, x = troubled(bundle)
    used, new = Detector(bundle, BUDGET_S), Detector(bundle, BUDGET_S)
    used.score_many(x + 5.0, t)
    used.reset()
    assert used.alerts == []
    a, b = used.score_many(x, t), new.score_many(x, t)
    assert a.score.tobytes() == b.score.tobytes()
    assert a.alerts == b.alerts
    assert state_bits(used) == state_bits(new)


def test_load_reads_a_bundle(tmp_path: Path) -> None:
    write(bundle_of("fitted"), tmp_path / "a")
    detector = edge_lstm.Detector.load(tmp_path / "a", budget_s=3.0)
    assert detector.score_one([1.0, 2.0, 3.0]).quality == "warming_up"
    with pytest.raises(WeightsError):
        Detector.load(tmp_path / "b")


# ---- Alerts --------------------------------------------------------------------------------------


def daily(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 20.0 + 5.0 * np.sin(np.arange(rows) * 2 * np.pi / 60) + rng.normal(0, 0.2, rows)


def test_a_planted_spike_is_found() -> None:
    """Whatever the network forecasts, the adaptive judge learns how wrong it usually is."""
    bundle = random_bundle("adaptive", hidden=4, seed=3)
    for seed in range(5):
        x = daily(2000, seed)
        spike = 1500 + 37 * seed
        x[spike] += 40.0
        result = Detector(bundle, budget_s=10_000.0).score_many(x)
        starts = [alert for alert in result.alerts if alert.phase == "start"]
        assert spike in [alert.start for alert in starts]
        quiet = np.delete(result.surprise, [spike, spike + 1])
        assert result.surprise[spike] > np.nanquantile(quiet, 0.999)
        assert result.score[spike] > 0.99
        found = next(alert for alert in starts if alert.start == spike)
        assert found.causes[0].observed == x[spike]
        assert found.level == pytest.approx(4.0)
        assert found.strength >= found.level


@pytest.mark.parametrize("judge", JUDGES)
def test_alerts_are_told_in_order(judge: str) -> None:
    bundle = bundle_of(judge)
    alerts: list[Alert] = []
    for seed in range(4):
        t, x = hostile_stream(1500, len(bundle.metadata.channels), seed)
        t[750:] += 5000.0  # no clock set back here
        x[500:520] += 70.0
        x[1000:1020, -1] -= 90.0
        alerts += (told := Detector(bundle, 5000.0).score_many(x, t).alerts)
        phases = [alert.phase for alert in told]
        assert phases == (["start", "end"] * len(phases))[: len(phases)]
        for start, end in zip(told[::2], told[1::2], strict=False):
            assert end.start == start.start
            assert end.strength >= start.strength
    assert len(alerts) > 8
    for alert in alerts:
        assert alert.start <= alert.peak <= alert.t or alert.reason == "gap"
        assert alert.strength >= alert.level or alert.phase == "end"
        blames = [cause.blame for cause in alert.causes]
        assert blames == sorted(blames, reverse=True)
        assert {cause.channel for cause in alert.causes} == set(bundle.metadata.channel_names)
        assert alert.reason
        if alert.phase == "start":
            assert alert.end is None
            assert alert.duration_s == 0.0
        else:
            assert alert.end is not None
            assert alert.start <= alert.peak <= alert.end <= alert.t
            assert alert.duration_s == alert.end - alert.start
        for cause in alert.causes:
            assert (cause.expected is None) == (cause.low is None) == (cause.high is None)
            if cause.low is not None and cause.high is not None and cause.expected is not None:
                assert cause.low < cause.expected < cause.high


@pytest.mark.parametrize("judge", JUDGES)
def test_a_clock_set_back_ends_an_alert_as_of_the_old_clock(judge: str) -> None:
    bundle = bundle_of(judge)
    t, x = random_stream(400, len(bundle.metadata.channels))
    x[300:310] += 300.0
    t[310:] -= 10_000.0
    detector = Detector(bundle, 600.0)
    start = detector.score_many(x[:310], t[:310]).alerts[-1]
    assert start.phase == "start"
    scores = detector.score_many(x[310:], t[310:])
    end = scores.alerts[0]
    assert np.isnan(scores.score[:9]).all()  # stale, until the tenth that rises
    assert not np.isnan(scores.score[9])
    assert end.phase == "end"
    assert end.t == t[319]
    assert end.start == start.start
    assert end.end == t[309]
    assert end.start <= end.peak <= end.end


def test_the_channel_at_fault_is_named_first() -> None:
    bundle = deaf(bundle_of("fitted"))
    for channel in range(3):
        t, x = random_stream(300, 3, seed=channel)
        x = 5.0 * np.sin(x)
        x[250, channel] = 900.0
        found, over = Detector(bundle, 1e6).score_many(x, t).alerts
        assert found.start == found.peak == over.end == t[250]
        assert over.t == t[270]
        assert found.causes[0].channel == f"c{channel}"
        assert found.reason == "out_of_range"
        assert [cause.blame for cause in found.causes[1:]] == [0.0, 0.0]


def test_a_gap_is_an_alert_that_starts_and_ends_at_once() -> None:
    bundle = random_bundle("adaptive", hidden=4, seed=3)
    x = daily(400)
    t = np.arange(400.0)
    t[300:] += 500.0
    alerts = [alert for alert in Detector(bundle, 1e9).score_many(x, t).alerts if alert.reason == "gap"]
    assert [alert.phase for alert in alerts] == ["start", "end"]
    for alert in alerts:
        assert alert.start == 299.0
        assert alert.t == alert.peak == 800.0
        assert alert.strength == 15.0
    assert alerts[1].end == 800.0
    assert alerts[1].duration_s == 501.0
