"""Folders that can't be written to."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def mount(*arguments: str | Path) -> None:
    """Mount something, or skip the test where that can't be done."""
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def unmount(path: Path) -> None:
    subprocess.run(["umount", "-l", str(path)], capture_output=True, check=True)


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Let nobody write to a folder meanwhile, root neither."""
    if os.geteuid() != 0:
        path.chmod(0o500)
        yield
        path.chmod(0o700)
        return
    mount("--bind", path, path)
    try:
        mount("-o", "remount,ro,bind", path)
        yield
    finally:
        unmount(path)
