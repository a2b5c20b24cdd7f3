"""Two recordings with labels, as they are fitted and judged: SKAB's valve1, BATADAL's dataset04.

Each benchmark's own rule: valve1 is fitted on the first 400 rows of each of its files and judged on the rest of them;
dataset04 on all of dataset03. A label is never an input. Rows are read as ``edge-lstm fit`` reads them, down to the
order in memory, which sums depend on: so bundles have the same bits.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_lstm.fit.recordings import Sequence, read_csv
from edge_lstm.tables import Table, read_table

START_ROWS = 400
SKAB = (
    "Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure",
    "Temperature", "Thermocouple", "Voltage", "Volume Flow RateRMS",
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """A recording that is judged.

    Attributes:
        truth: (n,) which rows are anomalous.
        start: rows before it are not judged.
    """

    name: str
    table: Table
    truth: NDArray[np.bool_]
    start: int

    def when(self, row: int) -> str:
        """Return the time of a row as the file has it."""
        return self.table.clock[row]


@dataclass(frozen=True)
class System:
    """A system: its normal rows and what is judged of it."""

    name: str
    columns: tuple[str, ...]
    normal: list[Sequence]
    files: list[File]


def _file(path: Path, columns: tuple[str, ...], label: str, start: int) -> File:
    table = read_table(path, columns)
    if not np.isfinite(table.x).all():
        raise SystemExit(f"{path}: values are missing")
    return File(path.name, table, read_table(path, (label,)).x[:, 0] == 1.0, start)


def valve1(data: Path) -> System:
    """Return SKAB's valve1; ``data`` is a folder with ``skab/valve1``."""
    paths = sorted((data / "skab" / "valve1").glob("*.csv"))
    normal = [s for path in paths for s in read_csv(path, SKAB, rows=START_ROWS).ordered(SKAB).sequences]
    return System("SKAB valve1", SKAB, normal, [_file(path, SKAB, "anomaly", START_ROWS) for path in paths])


def dataset04(data: Path) -> System:
    """Return BATADAL's dataset04; ``data`` is a folder with ``batadal``."""
    recording = read_csv(data / "batadal" / "dataset03.csv")
    columns = recording.columns
    judged = _file(data / "batadal" / "dataset04.csv", columns, "ATT_FLAG", 0)
    return System("BATADAL dataset04", columns, list(recording.ordered(columns).sequences), [judged])
