"""What the system says of a process, again and again: memory, threads, open files, and whether they grow."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.process import Process

HOUR_S = 3600.0


class Vitals:
    """Looks at a process now and then.

    Args:
        process: what to look at.
        every_s: how often.
    """

    def __init__(self, process: Process, every_s: float) -> None:
        self._process = process
        self._every_s = every_s
        self._due = 0.0
        self._seen: list[tuple[float, float, int, int]] = []  # moment, MiB, threads, files

    def look(self) -> None:
        """Look, if it is time."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._every_s
        process = self._process
        threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
        self._seen.append((now, process.rss_mib(), threads, process.descriptors()))

    def slope(self, since: float = 0.0) -> float:
        """Return by how many MiB an hour the memory grew, by least squares.

        Args:
            since: the share of the time that is left out at the beginning.
        """
        seen = np.array(self._seen)[:, :2]
        part = seen[seen[:, 0] >= seen[0, 0] + since * (seen[-1, 0] - seen[0, 0])]
        if len(part) < 3:
            return 0.0
        return float(np.polyfit((part[:, 0] - part[0, 0]) / HOUR_S, part[:, 1], 1)[0])

    def figures(self) -> dict[str, Any]:
        """Return what was seen so far."""
        _, mib, threads, files = np.array(self._seen).T
        return {
            "looks": len(self._seen),
            "rss_mib": {"first": round(mib[0], 1), "last": round(mib[-1], 1), "most": round(mib.max(), 1)},
            "slope_mib_h": round(self.slope(), 3),
            "slope_mib_h_second_half": round(self.slope(0.5), 3),
            "threads": [int(threads.min()), int(threads.max())],
            "files": [int(files.min()), int(files.max())],
        }
