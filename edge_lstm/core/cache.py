"""Where compiled kernels are kept, so that only the first start compiles.

Numba checks the file of the function that it loads from its cache, not the files of what that function calls. So our
cache stands in a directory named after all sources of the core: an upgrade can never run a stale kernel. Cached
kernels are pickles, so a directory that somebody else owns or may write to is not used.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numba.extending

from edge_lstm.core.kept import Kept

config: Any = numba.config  # filled at run time
njit: Any = numba.njit  # some of its options are not in its type
intrinsic: Any = numba.extending.intrinsic  # nor what its decorators make of a function
typeof: Any = numba.typeof


def _directory() -> Path | None:
    """Return a private, writable directory for this version of the core, or ``None``."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        home = Path(root) if root else Path.home() / ".cache"
        directory = home / "edge-lstm" / digest
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.stat()
        ours = facts.st_uid == os.geteuid() and not facts.st_mode & 0o022
    except (OSError, RuntimeError):  # no home, read-only, full: compile at every start
        return None
    return directory if ours and os.access(directory, os.W_OK) else None


DIRECTORY = _directory()


# IEEE arithmetic, no exceptions, and no runtime of Numba's: nothing can be allocated, and no array is counted in and
# out of every function, which cost more than the arithmetic (a step of 8 units: 5.5 us with it, 1.6 us without).
OPTIONS: Any = {"error_model": "numpy", "nogil": True, "_nrt": False}


def overload(function: Callable[..., Any]) -> Any:
    """Return what registers a jitted body for a Python function; it becomes part of its caller, as in ``jit``."""
    options: Any = {"forceinline": True, **OPTIONS}
    return numba.extending.overload(function, jit_options=options, strict=False)


def formula(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers; Python may call it too."""
    return njit(**OPTIONS)(function)


def jit(function: Callable[..., Any]) -> Any:
    """Compile a part of a kernel. Python can't call it: unpacking its many arrays would cost half of all compiling."""
    return njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls, and keep it on disk if there is a place."""
    dispatcher = njit(**OPTIONS)(function)
    if DIRECTORY is not None and hasattr(dispatcher, "enable_caching"):
        before, config.CACHE_DIR = config.CACHE_DIR, str(DIRECTORY)
        try:
            dispatcher.enable_caching()
            name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
            dispatcher._cache = Kept(dispatcher._cache, name)
        finally:
            config.CACHE_DIR = before  # other users of Numba in this process keep theirs
    return dispatcher


def close(compiled: Any) -> None:
    """Let a kernel be called with the types that it was compiled for only; others would take seconds to compile."""
    if hasattr(compiled, "disable_compile"):  # not under NUMBA_DISABLE_JIT
        compiled.disable_compile()
