from pathlib import Path

import numpy as np
import pytest

from edge_lstm.errors import ConfigError
from edge_lstm.fit.recordings import read_csv

ROWS = 60


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def plain(delimiter: str = ",", number: str = "{}.5") -> list[str]:
    return [delimiter.join((f"{100 + k}", number.format(k), f"{k % 2}")) for k in range(ROWS)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_finds_delimiter_clock_and_channels(tmp_path: Path, delimiter: str) -> None:
    header = delimiter.join(("time", "flow", "anomaly"))
    recording = read_csv(write(tmp_path / "a.csv", header, plain(delimiter)))
    assert recording.columns == ("flow",)
    assert recording.has_clock
    (sequence,) = recording.sequences
    assert sequence.t.tolist() == [100.0 + k for k in range(ROWS)]
    assert sequence.x[:, 0].tolist() == [k + 0.5 for k in range(ROWS)]


def test_decimal_commas(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path / "a.csv", "time;flow;x", plain(";", "{},5")))
    assert recording.sequences[0].x[:3].tolist() == [[0.5, 0.0], [1.5, 1.0], [2.5, 0.0]]


@pytest.mark.parametrize(
    ("first", "step_s"),
    [
        ("2020-03-09 10:14:{:02d}", 1),
        ("2020-03-09T10:14:{:02d}.000Z", 1),
        ("2020-03-09T10:14:{:02d}+01:00", 1),
        ("09/03/2020 10:{:02d}", 60),
        ("15834{:02d}", 1),
        ("15834328{:02d}000", 1),
    ],
)
def test_clocks(tmp_path: Path, first: str, step_s: int) -> None:
    rows = [f"{first.format(k)},{k}" for k in range(ROWS)]
    recording = read_csv(write(tmp_path / "a.csv", "when,x", rows), time_column="when")
    assert np.diff(recording.sequences[0].t).tolist() == [step_s] * (ROWS - 1)


@pytest.mark.parametrize("name", ["Time (s)", "timestamp_ms", "T", "epoch"])
def test_a_clock_of_numbers_is_known_by_name_and_because_it_rises(tmp_path: Path, name: str) -> None:
    rising = read_csv(write(tmp_path / "a.csv", f"x,{name}", [f"{k % 7},{k / 2}" for k in range(ROWS)]))
    assert rising.columns == ("x",)
    assert rising.has_clock
    wavy = read_csv(write(tmp_path / "b.csv", f"x,{name}", [f"{k % 7},{k % 5}" for k in range(ROWS)]))
    assert wavy.columns == ("x", name)
    assert not wavy.has_clock


def test_day_first_or_month_first_by_what_rises(tmp_path: Path) -> None:
    rows = [f"{1 + k // 24:02d}/06/14 {k % 24:02d},{k}" for k in range(ROWS)]
    recording = read_csv(write(tmp_path / "a.csv", "DATETIME,x", rows))
    assert np.diff(recording.sequences[0].t).tolist() == [3600.0] * (ROWS - 1)


def test_without_a_clock_samples_are_counted(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path / "a.csv", "x,name", [f"{k},pump" for k in range(ROWS)]))
    assert recording.columns == ("x",)
    assert not recording.has_clock
    assert recording.sequences[0].t.tolist() == list(range(ROWS))


def test_missing_values_repeat_the_one_before(tmp_path: Path) -> None:
    rows = [f"{k},{'' if k in (0, 7) else k},{'nan' if k == 5 else 2 * k}" for k in range(ROWS)]
    recording = read_csv(write(tmp_path / "a.csv", "time,x,y", rows))
    (sequence,) = recording.sequences
    assert recording.dropped == 1  # before every channel had a value
    assert sequence.t[0] == 1.0
    assert sequence.x[4].tolist() == [5.0, 8.0]
    assert sequence.x[6].tolist() == [6.0, 14.0]


def test_repeated_and_late_rows_are_dropped_and_gaps_cut(tmp_path: Path) -> None:
    times = [*range(50), 49, 20, *range(1000, 1050)]
    recording = read_csv(write(tmp_path / "a.csv", "time,x", [f"{t},{k}" for k, t in enumerate(times)]))
    assert recording.dropped == 2
    assert [len(sequence.t) for sequence in recording.sequences] == [50, 50]


def test_rows_between_gaps_that_are_too_few_are_counted(tmp_path: Path) -> None:
    times = [*range(50), *range(500, 510), *range(1000, 1050)]
    recording = read_csv(write(tmp_path / "a.csv", "time,x", [f"{t},{t}" for t in times]))
    assert recording.dropped == 10


def test_channels_in_another_order(tmp_path: Path) -> None:
    rows = [f"{k},{k}.5,{-k}" for k in range(ROWS)]
    recording = read_csv(write(tmp_path / "a.csv", "time,flow,level", rows)).ordered(("level", "flow"))
    assert recording.columns == ("level", "flow")
    assert recording.sequences[0].x[1].tolist() == [-1.0, 1.5]
    with pytest.raises(ConfigError, match=r"a\.csv: columns"):
        recording.ordered(("level", "flux"))


def test_first_rows_only(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path / "a.csv", "time,flow,anomaly", plain()), rows=45)
    assert len(recording.sequences[0].t) == 45


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("", {}, "header"),
        ("time,x\n", {}, "rows below"),
        ("time,x\n1,2\n2,3\n", {}, "usable rows"),
        ("time,x\n1,2\n", {"columns": ("y",)}, "no column 'y'"),
        ("time,x\n1,2\n", {"time_column": "clock"}, "no column 'clock'"),
        ("time,x\n1,red\n", {"columns": ("x",)}, "row 1 is not a number"),
        ("time,label\n1,0\n2,0\n", {}, "no numeric column"),
        ("time,x\nsoon,0\n", {}, "not dates"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: str, options: dict[str, tuple[str, ...]], says: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(ConfigError, match=says):
        read_csv(path, **options)  # type: ignore[arg-type]


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_csv(tmp_path / "none.csv")
