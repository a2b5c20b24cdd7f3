"""A group of processes that gets so much memory, or so much of a processor, and no more. For root only."""

import contextlib
import os
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


class Group:
    """A control group of version 1 or 2, whichever is there.

    Args:
        controller: ``memory`` or ``cpu``.

    Attributes:
        prefix: what to put before a command that shall run inside.
    """

    def __init__(self, controller: str) -> None:
        self._old = (ROOT / controller).is_dir()
        self._path = (ROOT / controller if self._old else ROOT) / f"faults-{os.getpid()}-{controller}"
        try:
            self._path.mkdir()
            if not self._old and controller not in (self._path / "cgroup.controllers").read_text():
                raise OSError(f"no {controller} controller")
        except OSError as error:
            pytest.skip(f"no control group can be made: {error}")
        self._processes = self._path / "cgroup.procs"
        self.prefix = ["sh", "-c", f'echo $$ > {self._processes}; exec "$@"', "sh"]

    def _write(self, old: str, new: str, value: str) -> None:
        (self._path / (old if self._old else new)).write_text(value)

    def limit_memory(self, mib: int) -> None:
        """Let its processes have so much memory together; who wants more is killed."""
        self._write("memory.limit_in_bytes", "memory.max", str(mib * 2**20))

    def limit_cpu(self, share: float) -> None:
        """Let its processes have so much of one processor together; 0: as much as they want."""
        quota = round(share * PERIOD_US)
        self._write("cpu.cfs_quota_us", "cpu.max", str(quota or -1) if self._old else f"{quota or 'max'} {PERIOD_US}")

    def take(self, pid: int) -> None:
        """Have a process that runs already inside from now on."""
        self._processes.write_text(str(pid))

    def most_mib(self) -> float:
        """Return how much memory they had at most."""
        file = self._path / ("memory.max_usage_in_bytes" if self._old else "memory.peak")
        return int(file.read_text()) / 2**20

    def close(self) -> None:
        """Remove it, when its processes have ended."""
        with contextlib.suppress(OSError):
            self._path.rmdir()
