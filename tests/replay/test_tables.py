"""CSV files as people have them, to columns of numbers."""

import math
from pathlib import Path

import numpy as np
import pytest

from edge_lstm.errors import ConfigError
from edge_lstm.tables import FIRST, Table, read_table

NAN = math.nan
NEW_YEAR = 1767225600.0  # 2026-01-01T00:00:00Z


def table_of(tmp_path: Path, text: str | bytes, **options: object) -> Table:
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, **options)  # type: ignore[arg-type]


def same(a: np.ndarray, b: object) -> None:
    np.testing.assert_array_equal(a, np.asarray(b, float))


# name: (text, columns, times, values)
TABLES: dict[str, tuple[str, tuple[str, ...], list[float], list[list[float]]]] = {
    "comma": ("a,b\n1,2\n3,4\n", ("a", "b"), [0, 1], [[1, 2], [3, 4]]),
    "semicolon": ("a;b\n1;2\n3;4.5\n", ("a", "b"), [0, 1], [[1, 2], [3, 4.5]]),
    "tab": ("a\tb\n1\t2\n", ("a", "b"), [0], [[1, 2]]),
    "decimal commas": ("a;b\n1,5;-2,25e3\n3;4,0\n", ("a", "b"), [0, 1], [[1.5, -2250], [3, 4]]),
    "quoted": ('"a","b"\n"1.5","2"\n', ("a", "b"), [0], [[1.5, 2]]),
    "thousands are no decimal commas": ('a,b\n"1,234",2\n', ("b",), [0], [[2]]),
    "quoted decimal comma": ('a;b\n"1,5";2\n', ("a", "b"), [0], [[1.5, 2]]),
    "index of pandas": (",a\n0,5\n1,6\n", ("a",), [0, 1], [[5], [6]]),
    "index of pandas, again": ("Unnamed: 0.1,Unnamed: 0,a\n0,0,5\n1,1,6\n", ("a",), [0, 1], [[5], [6]]),
    "dates without a name": (",a\n2026-01-01,1\n2026-01-02,2\n", ("a",), [NEW_YEAR, NEW_YEAR + 86400], [[1], [2]]),
    "a date is missing": ("time,a\n,0\n2026-01-01,1\n,2\n2026-01-02,3\n", ("a",),
        [NAN, NEW_YEAR, NAN, NEW_YEAR + 86400], [[0], [1], [2], [3]]),
    "one column": ("a\n1\n2\n", ("a",), [0, 1], [[1], [2]]),
    "spaces": (" a , b \n 1 , 2 \n", ("a", "b"), [0], [[1, 2]]),
    "blank lines": ("a,b\n\n1,2\n,\n\n3,4\n", ("a", "b"), [0, 1], [[1, 2], [3, 4]]),
    "windows": ("\ufeffa,b\r\n1,2\r\n3,4\r\n", ("a", "b"), [0, 1], [[1, 2], [3, 4]]),
    "short and long rows": ("a,b\n1\n3,4,5\n", ("a", "b"), [0, 1], [[1, NAN], [3, 4]]),
    "missing": ("a,b\n,2\nnan,4\nNA,5\n-,6\nunknown,7\n8,null\n9,None\n1,unavailable\n", ("a", "b"), list(range(8)),
        [[NAN, 2], [NAN, 4], [NAN, 5], [NAN, 6], [NAN, 7], [8, NAN], [9, NAN], [1, NAN]]),
    "infinite is missing": ("a,b\ninf,2\n-Infinity,3\n1e999,4\n1,5\n", ("a", "b"), [0, 1, 2, 3],
        [[NAN, 2], [NAN, 3], [NAN, 4], [1, 5]]),
    "texts left out": ("id,a,state\nx1,1,on\nx2,2,off\n", ("a",), [0, 1], [[1], [2]]),
    "nothing but missing left out": ("a,b\n1,\n2,nan\n", ("a",), [0, 1], [[1], [2]]),
    "labels left out": ("a,label,Anomaly,changepoint,is_anomaly,event\n1,0,0,0,0,0\n", ("a",), [0], [[1]]),
    "index left out": ("index,a\n0,5\n1,6\n", ("a",), [0, 1], [[5], [6]]),
    "exact": ("a\n0.1\n1e-320\n1.7976931348623157e308\n-0.0\n", ("a",), [0, 1, 2, 3],
        [[0.1], [1e-320], [1.7976931348623157e308], [-0.0]]),
    "unix seconds": ("time,a\n1767225600.5,1\n1767225601.5,2\n", ("a",), [NEW_YEAR + 0.5, NEW_YEAR + 1.5], [[1], [2]]),
    "unix milliseconds": ("ts,a\n1767225600500,1\n1767225601500,2\n", ("a",), [NEW_YEAR + 0.5, NEW_YEAR + 1.5],
        [[1], [2]]),
    "a time is missing": ("t,a\n5,1\n,2\n7,3\n", ("a",), [5, NAN, 7], [[1], [2], [3]]),
    "iso": ("timestamp,a\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:10.25Z,2\n", ("a",), [NEW_YEAR, NEW_YEAR + 10.25],
        [[1], [2]]),
    "iso without zone is UTC": ("Timestamp,a\n2026-01-01 00:00:00,1\n2026-01-01 00:01,2\n", ("a",),
        [NEW_YEAR, NEW_YEAR + 60], [[1], [2]]),
    "iso with a zone": ("datetime,a\n2026-01-01T01:00:00+01:00,1\n2026-01-01T00:00:02+00:00,2\n", ("a",),
        [NEW_YEAR, NEW_YEAR + 2], [[1], [2]]),
    "clock by its dates": ("a,when\n1,2026-01-01\n2,2026-01-02\n", ("a",), [NEW_YEAR, NEW_YEAR + 86400], [[1], [2]]),
    "german": ("Datum;a\n01.01.2026 00:00;1,5\n02.01.2026 00:00;2,5\n", ("a",), [NEW_YEAR, NEW_YEAR + 86400],
        [[1.5], [2.5]]),
    "british": ("date,a\n31/12/2025 23:59,1\n01/01/2026 00:00,2\n", ("a",), [NEW_YEAR - 60, NEW_YEAR], [[1], [2]]),
    "american by order": ("date,a\n01/01/2026 00:00,1\n01/02/2026 00:00,2\n01/13/2026 00:00,3\n", ("a",),
        [NEW_YEAR, NEW_YEAR + 86400, NEW_YEAR + 12 * 86400], [[1], [2], [3]]),
    "american, as only that rises": ("date,a\n01/11/2026 00:00,1\n01/12/2026 00:00,2\n02/01/2026 00:00,3\n", ("a",),
        [NEW_YEAR + 10 * 86400, NEW_YEAR + 11 * 86400, NEW_YEAR + 31 * 86400], [[1], [2], [3]]),
    "batadal": ("DATETIME,L_T1,ATT_FLAG\n31/12/25 23,1.5,0\n01/01/26 00,1.6,1\n", ("L_T1",),
        [NEW_YEAR - 3600, NEW_YEAR], [[1.5], [1.6]]),
    "slashes": ("time,a\n2026/01/01 00:00:00,1\n2026/01/01 00:00:05,2\n", ("a",), [NEW_YEAR, NEW_YEAR + 5], [[1], [2]]),
    "dates out of order": ("time,a\n2026-01-01T00:00:05,1\n2026-01-01T00:00:00,2\n", ("a",), [NEW_YEAR + 5, NEW_YEAR],
        [[1], [2]]),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables(case: str, tmp_path: Path) -> None:
    text, columns, t, x = TABLES[case]
    table = table_of(tmp_path, text)
    assert table.columns == columns
    same(table.t, t)
    assert table.x.shape == (len(t), len(columns))
    assert table.x.dtype == table.t.dtype == np.float64
    same(table.x, x)
    assert len(table.clock) in (0, len(t))


def test_choice_of_columns_and_clock(tmp_path: Path) -> None:
    text = "a,time,b,label,stamp\n1,5,2,7,100\n3,6,4,8,101\n"
    table = table_of(tmp_path, text)
    assert table.columns == ("a", "b", "stamp")
    assert table.clock == ["5", "6"]
    table = table_of(tmp_path, text, columns=("label", "a"), time_column="stamp")
    assert table.columns == ("label", "a")
    same(table.x, [[7, 1], [8, 3]])
    same(table.t, [100, 101])
    assert table.clock == ["100", "101"]


LATER = "".join(f"{NEW_YEAR + k},{k},{2 * k}\n" for k in range(FIRST))


@pytest.mark.parametrize("last", ["x,1,ERR", "1767225700000,ERR,ERR", "2026-01-01,,"])
def test_what_comes_later_changes_nothing_before(last: str, tmp_path: Path) -> None:
    before, after = (table_of(tmp_path, f"time,a,b\n{LATER}{more}\n") for more in ("", last))
    assert before.columns == after.columns == ("a", "b")
    same(after.t[:FIRST], before.t)
    same(after.x[:FIRST], before.x)
    assert math.isnan(after.x[FIRST, 1])
    with pytest.raises(ConfigError, match="row 31 is not a number" if "ERR" in last else "no column"):
        table_of(tmp_path, f"time,a,b\n{LATER}{last}\n", columns=("b", *("c" if "ERR" not in last else ())))


def test_a_date_that_can_not_be_read_is_missing_later_on(tmp_path: Path) -> None:
    dates = "".join(f"{1 + k // 24:02d}/01/2026 {k % 24:02d}:00,{k}\n" for k in range(FIRST))
    table = table_of(tmp_path, f"time,a\n{dates}ERR,1\n")
    same(table.t, [*(NEW_YEAR + 3600 * np.arange(FIRST)), NAN])


def test_month_first_shows_where_the_first_rows_leave_it_open(tmp_path: Path) -> None:
    hours = range(24 * 15)
    dates = "".join(f"01/{1 + k // 24:02d}/2026 {k % 24:02d}:00,{k}\n" for k in hours)
    same(table_of(tmp_path, "time,a\n" + dates).t, [NEW_YEAR + 3600 * k for k in hours])
    first_day = "".join(f"01/02/2026 00:{k:02d},{k}\n" for k in range(FIRST))  # and then Jan 13th
    table = table_of(tmp_path, f"time,a\n{first_day}01/13/2026 00:00,1\n01/14/2026 00:00,1\n")
    assert table.t[0] == NEW_YEAR + 86400


def test_a_sensor_that_starts_late_is_a_channel(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,b\n" + "1,\n" * (FIRST + 5) + "1,2\n")
    assert table.columns == ("a", "b")


def test_rows_without_a_clock_are_a_period_apart(tmp_path: Path) -> None:
    same(table_of(tmp_path, "a\n1\n2\n3\n", period_s=60.0).t, [0, 60, 120])


def test_first_rows_only(tmp_path: Path) -> None:
    same(table_of(tmp_path, "a\n1\n2\nbad\n", rows=2).x, [[1], [2]])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "expected a header line and rows below it"),
        ("a,b\n", {}, "expected a header line and rows below it"),
        ("a,b\n,\n", {}, "expected a header line and rows below it"),
        ("a,b\nx,y\n", {}, "no numeric column besides clocks and labels"),
        ("time,label\n1,0\n", {}, "no numeric column besides clocks and labels"),
        ("a,b\n1,2\n", {"columns": ("c",)}, "no column 'c'; it has a, b"),
        ("a,b\n1,2\n", {"time_column": "when"}, "no column 'when'; it has a, b"),
        ("a,b\n1,x\n2,y\n", {"columns": ("b",)}, "column 'b' row 1 is not a number: 'x'"),
        ("a,b\n1,2\n2,1.5.0\n", {"columns": ("a", "b")}, "column 'b' row 2 is not a number: '1.5.0'"),
        ("a,b\n1,\n2,\n", {"columns": ("b",)}, "column 'b' holds no number"),
        ("a,b,a\n1,2,3\n", {}, "two columns are called 'a'"),
        ("time,a\n,1\n", {}, "times are not dates of a known format: the column is empty"),
        ("time,a\nyesterday,1\n", {}, "times are not dates of a known format"),
        ("time,a\n2026-01-01,1\n2026-13-01,2\n", {}, "times are not dates of a known format"),
        (b"\xff\xfea,b\n1,2\n", {}, "can't be read"),
        (b"a,b\n1,\xff\n", {}, "can't be read"),
        ("a\n" + '"' + "x" * 200_000 + '"\n', {}, "can't be read"),
    ],
)
def test_what_is_wrong_is_said(text: str | bytes, options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        table_of(tmp_path, text, **options)
    assert str(raised.value).startswith(f"{tmp_path / 't.csv'}: ")
    assert message in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ConfigError, match="can't be read"):
            read_table(path)
