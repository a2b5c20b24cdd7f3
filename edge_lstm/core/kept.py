"""What Numba's cache lacks: it trusts the files that it finds, and ends with an error where it can't read or write."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any


class Kept:
    """Numba's cache of one kernel, which can only be of use.

    What is not as it was written (a card that fails, a power cut) is compiled again, and what can't be written is not
    kept. Numba has no checksum: it would end with any error at a file that was cut off, and run one with a flipped bit.

    Args:
        cache: Numba's.
        name: of the kernel's module and function.
    """

    def __init__(self, cache: Any, name: str) -> None:
        self._cache = cache
        self._folder = Path(cache.cache_path)
        self._files = f"{name}-*.nb[ci]"
        self._sums = self._folder / f"{name}.sums"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the compiled kernel, ``None`` if it is not there or not intact."""
        with suppress(Exception):  # whatever damaged bytes, or another version's, may raise
            if self._sums.read_text(encoding="ascii") == self._digests():
                return self._cache.load_overload(signature, context)
        self._forget()
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep the compiled kernel, if there is room for it."""
        with suppress(OSError):
            self._sums.unlink(missing_ok=True)  # what follows may end half way
            self._cache.save_overload(signature, compiled)
            self._sums.write_text(self._digests(), encoding="ascii")

    def _digests(self) -> str:
        files = sorted(self._folder.glob(self._files))
        return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n" for path in files)

    def _forget(self) -> None:
        with suppress(OSError):
            for path in (self._sums, *self._folder.glob(self._files)):
                path.unlink(missing_ok=True)
