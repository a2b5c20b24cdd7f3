"""Devices as CSV files: what a fleet would send, written down, with the truth beside it."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from firmware_sim import wire
from firmware_sim.device import Device
from firmware_sim.faults import Fault

DEFAULT_START = datetime(2025, 1, 1, tzinfo=UTC).timestamp()  # so that a file depends on its seed alone


def write_csv(
    path: Path,
    kind: str,
    seed: int,
    rows: int,
    faults: Sequence[Fault] = (),
    start_time: float = DEFAULT_START,
) -> list[dict[str, object]]:
    """Write ``rows`` samples, fewer where the device is silent; return the truth.

    Raises:
        ValueError: unknown kind, or a fault that does not fit it.
    """
    device = Device(kind, seed, faults, start_time)
    truth = []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["timestamp", *device.channels])
        for _ in range(rows):
            stamp = iso(start_time + device.elapsed_s)
            values = device.sample()
            truth += [_truth(fault, start_time) for fault in device.begun]
            if values is not None:
                writer.writerow([stamp, *values.values()])
    return truth


def iso(t: float) -> str:
    """Return unix seconds as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(text: str) -> float:
    """Return a timestamp in unix seconds; ISO 8601 (UTC if it names no zone) or a number.

    Raises:
        ValueError: neither.
    """
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()


def _truth(fault: Fault, start_time: float) -> dict[str, object]:
    start, end = start_time + fault.start_s, start_time + fault.end_s
    content = wire.truth(fault, start, end)
    return {**content, "start_iso": iso(start), "end_iso": iso(end)}
