"""A wall clock that can be set while a process runs; all other clocks, and how long it sleeps, are left alone.

Not libfaketime: version 0.9.10 makes ``clock_nanosleep`` fail or hang, and ``time.sleep`` with it, whenever the clock
is set back.
"""

import mmap
import shutil
import subprocess
import time
from pathlib import Path

import pytest

_SOURCE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *late;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("CLOCK_LATE"), O_RDONLY);
    void *there = mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    late = there == MAP_FAILED ? 0 : there;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && late && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *late;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""


class Clock:
    """The wall clock of processes that are given its ``environment``."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("there is no C compiler for a clock that can be set (apt install gcc)")
        source, library, late = (folder / f"clock.{end}" for end in ("c", "so", "late"))
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-O", "-shared", "-fPIC", "-o", library, source], check=True)
        late.write_bytes(bytes(4096))
        with late.open("r+b") as file:
            self._late = mmap.mmap(file.fileno(), 4096)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_LATE": str(late)}

    def set(self, late_s: int) -> None:
        """Let it be late by so many seconds, or early."""
        self._late[:8] = late_s.to_bytes(8, "little", signed=True)

    def set_to(self, unix_s: int) -> None:
        """Let it show this moment now."""
        self.set(unix_s - int(time.time()))

    def close(self) -> None:
        self._late.close()
