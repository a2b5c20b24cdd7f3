"""A place for files that are written ten thousand times."""

import atexit
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")


def scratch() -> Path:
    """Return a folder that goes with the process, in memory where the system has that."""
    folder = tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
