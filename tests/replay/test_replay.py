"""A recording gives the bits that the live stream gave."""

import base64
import csv
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_lstm.bundle import Bundle, seal, write
from edge_lstm.core.table import BLAME, GAP, OUTCOMES, QUIET, SCORED, WARMING_UP
from edge_lstm.detector import Detector
from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.lane import Settings
from edge_lstm.messages import Message
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.replay.recorded import messages_of, replay_messages
from edge_lstm.replay.tracks import HEADER, Track, _before, replay, rows_of, write_scores
from edge_lstm.stages.decode import Source
from edge_lstm.tables import Table, read_table
from tests.bundles import hostile_stream, random_bundle, random_stream

cli = pytest.importorskip("edge_lstm.daemon.cli")

BUDGET_S = 600.0
ROWS = 600
Line = dict[str, str]


def fitted() -> Bundle:
    return random_bundle("fitted", channels=3, hidden=5, seed=41)


def adaptive() -> Bundle:
    return random_bundle("adaptive", hidden=5, seed=42)


def recording(seed: int, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Return what a CSV can hold of a hostile stream, with an excursion; the last row complete."""
    t, x = hostile_stream(rows, 3, seed)
    x[rows // 3 : rows // 3 + 20] += 70.0
    x[-1] = [0.25, 0.5, 0.75]
    t[-1] = np.nanmax(t[np.isfinite(t)])
    good = np.isfinite(t) & (np.abs(t) < 1e11)
    x[np.isinf(x)] = np.nan
    return t[good], x[good]


def write_table(path: Path, t: np.ndarray, x: np.ndarray, names: tuple[str, ...] = ("c0", "c1", "c2")) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("time", *names, "label"))
        for time, values in zip(t.tolist(), x.tolist(), strict=True):
            writer.writerow((time, *("" if math.isnan(value) else value for value in values), 0))
    return path


def read_scores(path: Path) -> list[Line]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(lines: list[Line], name: str) -> list[float]:
    return [float(line[name]) for line in lines]


# ---- The same bits -------------------------------------------------------------------------------


def test_replay_equals_the_detector(tmp_path: Path) -> None:
    bundle = fitted()
    t, x = recording(1)
    table = read_table(write_table(tmp_path / "a.csv", t, x), bundle.metadata.channel_names)
    assert table.t.tobytes() == t.tobytes()
    assert np.array_equal(table.x, x, equal_nan=True)
    [track] = replay(bundle, table, budget_s=BUDGET_S)
    detector = Detector(bundle, BUDGET_S)
    expected = detector.score_many(x, t)
    known = (track.results.outcome == SCORED) & (track.results.quality != WARMING_UP)
    assert np.where(known, track.results.surprise, math.nan).tobytes() == expected.surprise.tobytes()
    assert np.where(known, track.results.score, math.nan).tobytes() == expected.score.tobytes()
    assert np.isin(track.results.phase, (1, 2)).tolist() == expected.alert.tolist()
    assert {OUTCOMES[k] for k in track.results.outcome} >= {"scored", "duplicate", "out_of_order"}


def test_replay_of_an_adaptive_bundle_equals_a_detector_for_each_column(tmp_path: Path) -> None:
    bundle = adaptive()
    t, x = recording(2)
    table = read_table(write_table(tmp_path / "a.csv", t, x))
    tracks = replay(bundle, table, budget_s=BUDGET_S)
    assert [track.name for track in tracks] == ["c0", "c1", "c2"]
    for c, track in enumerate(tracks):
        expected = Detector(bundle, BUDGET_S).score_many(x[:, c], t)
        known = (track.results.outcome == SCORED) & (track.results.quality != WARMING_UP)
        assert np.where(known, track.results.surprise, math.nan).tobytes() == expected.surprise.tobytes()
        assert expected.alerts


@pytest.mark.parametrize("make", [fitted, adaptive])
def test_replay_equals_the_pipeline(make: Any, tmp_path: Path) -> None:
    """The rows of a CSV as JSON messages through ``Pipeline.handle``."""
    bundle = make()
    t, x = recording(3)
    table = read_table(write_table(tmp_path / "a.csv", t, x))
    tracks = replay(bundle, table, budget_s=BUDGET_S)
    pipeline = Pipeline([Route(Source("s"), bundle, Settings(budget_s=BUDGET_S), Outputs())])
    messages = []
    for time, values in zip(table.t.tolist(), table.x.tolist(), strict=True):
        fields = {f"c{c}": None if math.isnan(value) else value for c, value in enumerate(values)}
        messages.append(Message("s", json.dumps({"t": time, **fields}).encode()))
    out = [json.loads(m.payload) for m in pipeline.handle(messages) if m.topic.endswith("/score")]
    for track in tracks:
        name = f"s/{track.name}" if track.name else "s"
        live = [score for score in out if score["stream"] == name]
        taken = np.flatnonzero(track.results.outcome == SCORED)
        assert [score["t"] for score in live] == table.t[taken].tolist()
        for score, k in zip(live, taken.tolist(), strict=True):
            if score["score"] is None:
                assert track.results.quality[k] == WARMING_UP
            else:
                assert score["score"] == track.results.score[k]
                assert score["surprise"] == track.results.surprise[k]


def test_a_long_table_is_no_different(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are an affair of speed alone."""
    bundle = fitted()
    t, x = recording(4)
    table = Table(bundle.metadata.channel_names, [], t, x)
    [whole] = replay(bundle, table, budget_s=BUDGET_S)
    monkeypatch.setattr("edge_lstm.replay.tracks.BLOCK", 7)
    [cut] = replay(bundle, table, budget_s=BUDGET_S)
    taken = whole.results.outcome == SCORED
    for name in ("outcome", "surprise", "score", "phase", "strength", "quality"):
        assert getattr(whole.results, name).tobytes() == getattr(cut.results, name).tobytes()
    assert whole.results.forecast[taken].tobytes() == cut.results.forecast[taken].tobytes()
    assert whole.expected.tobytes() == cut.expected.tobytes()


def test_what_was_expected_is_the_forecast_of_the_last_row_that_was_taken() -> None:
    bundle = fitted()
    t, x = recording(5)
    [track] = replay(bundle, Table(bundle.metadata.channel_names, [], t, x))
    held = np.zeros((3, 2))
    for k in range(len(t)):
        assert track.expected[k].tobytes() == held.tobytes(), k
        if track.results.outcome[k] == SCORED:
            held = track.results.forecast[k]


# ---- Warming up ----------------------------------------------------------------------------------


def test_a_warm_table_runs_before() -> None:
    bundle = fitted()
    t, x = random_stream(500, 3, 6)
    names = bundle.metadata.channel_names
    warm, table = Table(names, [], t[:200] + 1e6, x[:200]), Table(names, [], t[200:], x[200:])
    [track] = replay(bundle, table, warm, BUDGET_S)
    detector = Detector(bundle, BUDGET_S)
    detector.score_many(x[:200], t[:200])
    expected = detector.score_many(x[200:], t[200:])
    assert track.results.surprise.tobytes() == expected.surprise.tobytes()
    assert len(track.x) == len(track.expected) == 300
    assert (track.expected[0, :, 1] > 0).all()  # there is a forecast for the first row


def test_a_warm_table_whose_last_row_is_not_taken() -> None:
    """The forecast for the first row is then that of the last row that was taken."""
    bundle = fitted()
    t, x = random_stream(100, 3, 7)
    names = bundle.metadata.channel_names
    x[49] = np.nan
    [track] = replay(bundle, Table(names, [], t[50:], x[50:]), Table(names, [], t[:50], x[:50]))
    detector = Detector(bundle)
    detector.score_many(x[:50], t[:50])
    assert track.expected[0].tobytes() == detector._engine.state.forecast[0].tobytes()


DAY = 86_400.0


def test_warm_rows_keep_their_hours_under_an_adaptive_bundle() -> None:
    def days(first: float, count: int) -> Table:
        t = (first + np.arange(count * 24) / 24.0) * DAY
        return Table(("a",), [str(time) for time in t], t, np.zeros((len(t), 1)))

    warm, table = days(100.25, 4), days(400.0, 1)
    moved = _before(warm, table, adaptive())
    assert moved.t[-1] == table.t[0] - 3600.0
    assert moved.t[0] % DAY == warm.t[0] % DAY
    assert len(moved.t) == len(moved.x) == 4 * 24 - 6
    assert _before(days(396.0, 4), table, adaptive()).t.tolist() == days(396.0, 4).t.tolist()
    for other in (_before(warm, table, fitted()), _before(days(100.25, 1), table, adaptive())):
        assert len(other.t) in (96, 24)
        assert other.t[-1] == pytest.approx(table.t[0] - 3600.0)


def test_a_warm_table_whose_last_time_is_missing() -> None:
    bundle = fitted()
    t, x = random_stream(100, 3, 7)
    names = bundle.metadata.channel_names
    gone = t[:50].copy()
    gone[-1] = np.nan
    rest = t[50:].copy()
    rest[0] = np.nan
    moved = _before(Table(names, [], gone, x[:50]), Table(names, [], rest, x[50:]), bundle)
    assert moved.t[48] == pytest.approx(t[51] - np.median(np.diff(t[:49])))
    [track] = replay(bundle, Table(names, [], rest, x[50:]), Table(names, [], gone, x[:50]))
    assert not (track.results.quality == WARMING_UP)[1:].any()


def test_first_rows_only_warm_up() -> None:
    bundle = fitted()
    t, x = random_stream(120, 3, 8)
    table = Table(bundle.metadata.channel_names, [], t, x)
    tracks = replay(bundle, table, budget_s=BUDGET_S)
    plain, warm = list(rows_of(table, tracks)), list(rows_of(table, tracks, 80))
    assert plain[80:] == warm[80:]
    assert any(row[1] for row in plain[30:80])
    assert {row[1:] for row in warm[:80]} == {(0.0, 0.0, "warming_up", 0, "", 0.0)}
    assert {row[3] for row in plain[:30]} == {"warming_up"}


# ---- Output --------------------------------------------------------------------------------------


def test_numbers_read_back_to_the_same_bits(tmp_path: Path) -> None:
    bundle = fitted()
    t, x = recording(9)
    table = Table(bundle.metadata.channel_names, [], t, x)
    tracks = replay(bundle, table, budget_s=BUDGET_S)
    rows = list(rows_of(table, tracks))
    write_scores(tmp_path / "new" / "s.csv", iter(rows))
    lines = read_scores(tmp_path / "new" / "s.csv")
    assert tuple(lines[0]) == HEADER
    assert len(lines) == len(t)
    results = tracks[0].results
    taken = results.outcome == SCORED
    for name in ("score", "surprise", "strength"):
        found = np.array(column(lines, name))
        assert found.tobytes() == np.where(taken, getattr(results, name), 0.0).tobytes()
    assert [line["quality"] == "dropped" for line in lines] == (~taken).tolist()
    assert {line["reason"] for line in lines if line["quality"] == "dropped"} <= set(OUTCOMES[1:])
    assert {line["alert"] for line in lines} == {"0", "1"}
    assert [line["timestamp"] for line in lines] == [str(k) for k in range(len(t))]


def test_the_loudest_stream_speaks(tmp_path: Path) -> None:
    bundle = adaptive()
    t, x = recording(10)
    table = read_table(write_table(tmp_path / "a.csv", t, x))
    tracks = replay(bundle, table, budget_s=BUDGET_S)
    rows = list(rows_of(table, tracks))
    strengths = np.stack([track.results.strength for track in tracks])
    taken = np.stack([track.results.outcome == SCORED for track in tracks])
    on = np.stack([np.isin(track.results.phase, (1, 2, 4)) for track in tracks]).any(0)
    assert 0 < on.sum() < len(t)
    assert (taken.any(0) & ~taken.all(0)).sum() > 5  # rows that some of the columns lack
    for k, (stamp, score, surprise, quality, alert, reason, strength) in enumerate(rows):
        assert stamp == table.clock[k]
        assert (quality == "dropped") == (not taken[:, k].any())
        if quality != "dropped":
            assert strength == strengths[:, k].max()
            assert score == max(float(track.results.score[k]) for track in tracks)
            assert surprise == max(float(track.results.surprise[k]) for track in tracks)
            assert alert == int(on[k])
            assert reason == "" or reason.split(": ")[0] == tracks[int(strengths[:, k].argmax())].name


def test_an_alert_is_not_hidden_by_a_missing_cell_of_another_column() -> None:
    bundle = adaptive()
    t, x = random_stream(400, 2, 11)
    x[300:310, 1] += 900.0
    x[311:315, 0] = np.nan
    x[5:8, 0] = np.nan  # while the other column warms up
    table = Table(("a", "b"), [], t, x)
    tracks: list[Track] = replay(bundle, table, budget_s=1e9)
    rows = list(rows_of(table, tracks))
    active = tracks[1].results.phase[311:315]
    assert set(active.tolist()) == {2}
    assert [row[4] for row in rows[311:315]] == [1] * 4
    assert {row[3] for row in rows[:100]} == {"warming_up"}
    assert "dropped" not in {row[3] for row in rows}


def test_a_channel_that_is_not_there() -> None:
    table = Table(("c0", "c2"), [], np.arange(5.0), np.ones((5, 2)))
    with pytest.raises(ConfigError, match="no column 'c1', a channel of the bundle; the file has c0, c2"):
        replay(fitted(), table)


# ---- Recordings ----------------------------------------------------------------------------------


def record(message: Message, *, encode: bool = False) -> str:
    payload = base64.b64encode(message.payload).decode() if encode else message.payload.decode()
    line = {"topic": message.topic, "payload": payload, "arrived": message.arrived, "retain": message.retain, "qos": 1}
    return json.dumps(line | ({"encoding": "base64"} if encode else {})) + "\n"


def test_a_recording_equals_the_live_pipeline(tmp_path: Path) -> None:
    bundle = fitted()
    t, x = random_stream(700, 3, 12)
    topics = ("a/1", "b/2")
    messages = [
        Message(topics[k % 2], json.dumps({"c0": a, "c1": b, "c2": c}).encode(), arrived=time)
        for k, (time, (a, b, c)) in enumerate(zip(t.tolist(), x.tolist(), strict=True))
    ]
    messages[10] = Message("a/1", b"\xff\x00 not text", arrived=t[10])
    messages[11] = Message("b/2", b'{"c0": 1}', arrived=t[11], retain=True)
    messages[12] = Message("edge-lstm/a/1/score", b"{}", arrived=t[12])
    lines = [record(message, encode=k % 5 == 0) for k, message in enumerate(messages)]
    (tmp_path / "live.jsonl").write_text("".join(lines))
    read_back = list(messages_of(tmp_path / "live.jsonl"))
    assert [(m.topic, m.payload, m.arrived, m.retain) for m in read_back] == [
        (m.topic, m.payload, m.arrived, m.retain) for m in messages
    ]

    def fresh() -> Pipeline:
        return Pipeline([Route(Source("#"), bundle, Settings(budget_s=BUDGET_S), Outputs())])

    replay_messages(tmp_path / "live.jsonl", fresh(), tmp_path / "out" / "s.csv")
    live = fresh()
    expected = [json.loads(m.payload) for message in messages for m in live.handle([message]) if "/score" in m.topic]
    found = read_scores(tmp_path / "out" / "s.csv")
    assert column(found, "timestamp") == [score["t"] for score in expected]
    assert column(found, "score") == [score["score"] or 0.0 for score in expected]
    assert column(found, "surprise") == [score["surprise"] or 0.0 for score in expected]
    for key in ("stream", "quality", "reason"):
        assert [line[key] for line in found] == [score[key] for score in expected]
    assert len(found) == 697
    detectors = {topic: Detector(bundle, BUDGET_S) for topic in topics}
    for message, surprise in zip([m for m in messages if b'"c2"' in m.payload], column(found, "surprise"), strict=True):
        score = detectors[message.topic].score_one(json.loads(message.payload), message.arrived)
        assert (score.surprise or 0.0) == surprise


@pytest.mark.parametrize(
    "line",
    [
        "not json", "{}", "[]", "null", '{"topic": "a", "payload": 5, "arrived": 1}', '{"topic": "a", "payload": "x"}',
        '{"topic": "a", "payload": "x", "arrived": "soon"}', '{"topic": "a", "payload": "\\ud800", "arrived": 1}',
        '{"topic": "a", "payload": "x", "arrived": 1, "encoding": "base64"}', "",
        '{"topic": 5, "payload": "x", "arrived": 1}', '{"topic": "a", "payload": "x", "arrived": 1, "qos": 1e999}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_a_bad_line_is_named(line: str, tmp_path: Path) -> None:
    good = record(Message("a", b"1", arrived=1.0))
    (tmp_path / "live.jsonl").write_text(good * 2 + line + "\n")
    with pytest.raises(ConfigError, match=r"live\.jsonl:3: not a recorded message"):
        list(messages_of(tmp_path / "live.jsonl"))


# ---- The command ---------------------------------------------------------------------------------


def command(*arguments: object) -> int:
    return int(cli.main(["replay", *map(str, arguments)]))


def test_command_one_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = fitted()
    write(bundle, tmp_path / "w.safetensors")
    t, x = recording(13)
    source = write_table(tmp_path / "day.csv", t, x)
    out = tmp_path / "scores.csv"
    assert command("--weights", tmp_path / "w.safetensors", "--in", source, "--out", out, "--budget", "600s") == 0
    lines = read_scores(out)
    detector = Detector(bundle, 600.0)
    assert len(lines) == len(t)
    for k, line in enumerate(lines):
        if line["quality"] == "dropped":
            with pytest.raises(PayloadError, match=f"^{line['reason']}: "):
                detector.score_one(x[k].tolist(), t[k])
            continue
        score = detector.score_one(x[k].tolist(), t[k])
        assert float(line["score"]) == (score.score or 0.0)
        assert float(line["surprise"]) == (score.surprise or 0.0)
        assert line["quality"] == score.quality
        assert float(line["timestamp"]) == t[k]
    assert f"{len(t)} rows" in capsys.readouterr().out


def test_command_warms_up(tmp_path: Path) -> None:
    bundle = fitted()
    write(bundle, tmp_path / "w")
    t, x = random_stream(300, 3, 14)
    whole = write_table(tmp_path / "whole.csv", t, x)
    first = write_table(tmp_path / "first.csv", t[:150], x[:150])
    rest = write_table(tmp_path / "rest.csv", t[150:], x[150:])
    at = ("--weights", tmp_path / "w")
    assert command(*at, "--in", whole, "--out", tmp_path / "a.csv", "--warm", 150) == 0
    assert command(*at, "--in", rest, "--out", tmp_path / "b.csv", "--warm-file", first) == 0
    assert command(*at, "--in", rest, "--out", tmp_path / "cold.csv") == 0
    a, b, cold = (read_scores(tmp_path / name) for name in ("a.csv", "b.csv", "cold.csv"))
    assert a[150:] == b != cold
    assert {line["quality"] for line in a[:150]} == {"warming_up"}


def test_command_several_inputs(tmp_path: Path) -> None:
    write(adaptive(), tmp_path / "w")
    sources = []
    for k, place in enumerate(("north/day.csv", "south/day.csv", "south/night.csv")):
        (tmp_path / "in" / place).parent.mkdir(parents=True, exist_ok=True)
        sources.append(write_table(tmp_path / "in" / place, *random_stream(200, 2, k), names=("a", "b")))
    at = ("--weights", tmp_path / "w")
    assert command(*at, "--in", *sources, "--out", tmp_path / "out") == 0
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.csv")}
    assert found == {"north/day.csv", "south/day.csv", "south/night.csv"}
    assert command(*at, "--in", sources[1], "--out", tmp_path / "alone.csv") == 0
    assert (tmp_path / "alone.csv").read_bytes() == (tmp_path / "out/south/day.csv").read_bytes()
    assert command(*at, "--in", *sources, "--out", tmp_path / "one.csv") == 2
    assert not (tmp_path / "one.csv").exists()


def test_command_columns_and_clock(tmp_path: Path) -> None:
    write(adaptive(), tmp_path / "w")
    t, x = random_stream(250, 2, 15)
    source = write_table(tmp_path / "a.csv", t, x, names=("a", "when"))
    options = ("--columns", "a", "--time", "time")
    assert command("--weights", tmp_path / "w", "--in", source, "--out", tmp_path / "s.csv", *options) == 0
    expected = Detector(adaptive()).score_many(x[:, 0], t).surprise
    assert column(read_scores(tmp_path / "s.csv"), "surprise") == np.nan_to_num(expected).tolist()


def test_command_reads_a_recording(tmp_path: Path) -> None:
    bundle = adaptive()
    write(bundle, tmp_path / "w")
    t, x = random_stream(300, 1, 16)
    lines = [
        record(Message("hall/temperature", str(value).encode(), arrived=time))
        for time, value in zip(t.tolist(), x[:, 0].tolist(), strict=True)
    ]
    (tmp_path / "live.jsonl").write_text("".join(lines))
    arguments = ("--in", tmp_path / "live.jsonl", "--out", tmp_path / "s.csv", "--format", "number")
    assert command("--weights", tmp_path / "w", *arguments) == 0
    found = read_scores(tmp_path / "s.csv")
    expected = Detector(bundle).score_many(x, t).surprise
    assert column(found, "surprise") == np.nan_to_num(expected).tolist()
    assert {line["stream"] for line in found} == {"hall/temperature"}


def test_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(fitted(), tmp_path / "w")
    good = write_table(tmp_path / "a.csv", *random_stream(20, 3, 17))
    (tmp_path / "bad.csv").write_text("c0,c1\n1,2\n")
    for weights, source, budget, message in (
        (tmp_path / "none", good, "1/week", "can't be read"),
        (good, good, "1/week", "not a safetensors file"),
        (tmp_path / "w", tmp_path / "bad.csv", "1/week", "no column 'c2'"),
        (tmp_path / "w", tmp_path / "none.csv", "1/week", "can't be read"),
        (tmp_path / "w", good, "often", "often"),
    ):
        arguments = ("--weights", weights, "--in", source, "--out", tmp_path / "s.csv", "--budget", budget)
        assert command(*arguments) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()


def test_command_never_writes_over_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(adaptive(), tmp_path / "w")
    (tmp_path / "d").mkdir()
    a, b = (write_table(tmp_path / "d" / name, *random_stream(20, 3, 17)) for name in ("a.csv", "b.csv"))
    kept = a.read_bytes()
    (tmp_path / "d" / "a.jsonl").write_text("")
    (tmp_path / "link.csv").symlink_to(a)
    at = ("--weights", tmp_path / "w")
    for arguments, message in (
        (("--in", a, b, "--out", tmp_path / "d"), "is an input"),
        (("--in", a, "--out", a), "is an input"),
        (("--in", a, "--out", tmp_path / "d"), "is an input"),
        (("--in", a, "--out", tmp_path / "link.csv"), "is an input"),
        (("--in", b, "--warm-file", a, "--out", a), "is an input"),
        (("--in", b, "--out", tmp_path / "w"), "is an input"),
        (("--in", a, tmp_path / "d" / "a.jsonl", "--out", tmp_path / "o"), "written twice"),
        (("--in", a, "--out", tmp_path / "o.png", "--plot", tmp_path / "o.png"), "written twice"),
        (("--in", a, "--out", a / "o.csv"), "can't be written"),
        (("--in", a, "--out", tmp_path / "o.csv", "--plot", tmp_path / "o.bmp"), "ends in .png, .svg, .pdf"),
        (("--in", a, b, "--out", tmp_path / "o", "--plot", tmp_path / "o.png"), "2 inputs need a folder"),
    ):
        assert command(*at, *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert a.read_bytes() == kept
    assert not (tmp_path / "o").exists()


def test_command_plots_equal_names_apart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write(adaptive(), tmp_path / "w")
    sources = []
    for place in ("north", "south"):
        (tmp_path / place).mkdir()
        sources.append(write_table(tmp_path / place / "day.csv", *random_stream(20, 3, 17)))
    plots = ("--plot", tmp_path / "plots")
    assert command("--weights", tmp_path / "w", "--in", *sources, "--out", tmp_path / "o", *plots) == 0
    found = {path.relative_to(tmp_path / "plots").as_posix() for path in (tmp_path / "plots").rglob("*.png")}
    assert found == {"north/day.png", "south/day.png"}


def test_command_paces_rows_without_a_clock(tmp_path: Path) -> None:
    """Else each row of a bundle with a period of half a minute would be out of time, or a gap."""
    bundle = fitted()
    slow = seal(msgspec.structs.replace(bundle.metadata, period_s=0.01), _parts(bundle), *_golden(bundle))
    write(slow, tmp_path / "w")
    _, x = random_stream(100, 3, 18)
    rows = "".join(",".join(map(str, row)) + "\n" for row in x.tolist())
    (tmp_path / "a.csv").write_text("c0,c1,c2\n" + rows)
    assert command("--weights", tmp_path / "w", "--in", tmp_path / "a.csv", "--out", tmp_path / "s.csv") == 0
    lines = read_scores(tmp_path / "s.csv")
    assert [line["timestamp"] for line in lines] == [str(k) for k in range(100)]
    assert "gap" not in {line["reason"] for line in lines}
    assert "recovering" not in {line["quality"] for line in lines}


def _parts(bundle: Bundle) -> dict[str, Any]:
    return {name: tensor for name, tensor in bundle.tensors.items() if not name.startswith("golden.")}


def _golden(bundle: Bundle) -> tuple[Any, Any]:
    return bundle.tensors["golden.t"], bundle.tensors["golden.x"]


def test_command_says_what_is_wrong_with_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(adaptive(), tmp_path / "w")
    source = tmp_path / "live.jsonl"
    good = record(Message("a", b'{"x": 1}', arrived=1.0)).encode()
    at = ("--weights", tmp_path / "w", "--in", source, "--out", tmp_path / "s.csv")
    for content, options, message in (
        (good + b"\xff\n", (), "live.jsonl:2: not a recorded message"),
        (None, (), "live.jsonl: can't be read"),
        (good, ("--plot", tmp_path / "p.png"), "--plot does not apply"),
        (good, ("--columns", "a"), "--columns does not apply"),
        (good, ("--time", "t"), "--time does not apply"),
        (good, ("--warm", "5"), "--warm does not apply"),
        (good, ("--warm-file", tmp_path / "a.csv"), "--warm-file does not apply"),
    ):
        source.unlink(missing_ok=True)
        if content is not None:
            source.write_bytes(content)
        assert command(*at, *options) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    with pytest.raises(SystemExit):
        command(*at, "--format", "xml")
    table = write_table(tmp_path / "a.csv", *random_stream(20, 3, 17))
    assert command(*at[:2], "--in", table, "--out", tmp_path / "s.csv", "--format", "json") == 2
    assert "--format does not apply" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="can't be written"):
        write_scores(table / "s.csv", iter(()))


def test_command_sums_up_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(adaptive(), tmp_path / "w")
    (tmp_path / "a.csv").write_text("time,a,b\n1,5,6\n2,,\n3,7,8\n,7,8\n5,,9\n")
    assert command("--weights", tmp_path / "w", "--in", tmp_path / "a.csv", "--out", tmp_path / "s.csv") == 0
    assert "s.csv: 5 rows, 0 alerts; dropped: 1 missing, 1 bad_time\n" in capsys.readouterr().out


def test_command_sums_up_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(adaptive(), tmp_path / "w")
    messages = [Message("a", b'{"x": 1}', arrived=float(k)) for k in range(10)] + [Message("a", b"?", arrived=11.0)] * 2
    (tmp_path / "live.jsonl").write_text("".join(map(record, messages)))
    at = ("--weights", tmp_path / "w", "--in", tmp_path / "live.jsonl", "--out", tmp_path / "s.csv")
    assert command(*at) == 0
    assert "s.csv: 12 messages, 10 rows, 0 alerts; dropped: 2 bad_json" in capsys.readouterr().out


# ---- The picture ---------------------------------------------------------------------------------


def test_the_picture_of_gaps_and_of_rows_without_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from edge_lstm.replay import plot

    bundle = adaptive()
    t, x = random_stream(400, 1, 19)
    t = 1.7e9 + t
    t[200:] += 86_400.0
    t[50] = np.nan
    table = Table(("a",), [str(time) for time in t], t, x)
    [track] = replay(bundle, table, budget_s=BUDGET_S)
    assert track.results.reason[200] == GAP
    drawn: list[Any] = []
    monkeypatch.setattr(plot.plt, "close", drawn.append)
    plot.plot(table, [track], tmp_path / "p.png", title="t", model="m")
    channel, surprise = drawn[0].axes
    assert [text.get_text() for text in surprise.get_legend().get_texts()].count("gap") == 1
    grey = [patch for patch in channel.patches if patch.get_label() == "gap"]
    assert [patch.get_x() for patch in grey] == pytest.approx([t[199] / 86_400.0])
    spoken = np.where(track.results.reason == GAP, 0.0, track.results.strength)
    assert surprise.get_ylim()[1] == max(8.0, spoken.max() * 1.05)


def test_the_picture_shows_who_was_blamed_in_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from edge_lstm.replay import plot

    bundle = fitted()
    t, x = random_stream(300, 3, 20)
    x[200:220, 1] += 70.0
    [track] = replay(bundle, Table(bundle.metadata.channel_names, [], t, x), budget_s=BUDGET_S)
    monkeypatch.setattr(plot, "MOST_CHANNELS", 1)
    [(_, chosen)] = plot._most_blamed([track])
    assert track.results.cause[:, chosen, BLAME].any()
    track.results.cause[track.results.phase == QUIET, (chosen + 1) % 3, BLAME] = 9e9  # left from another call
    assert plot._most_blamed([track])[0][1] == chosen
