"""Bytes of a source file, bounded before they are read."""

from pathlib import Path

from edge_lstm.errors import WeightsError

MAX_BYTES = 512 * 2**20


def content(path: Path) -> bytes:
    """Return what is in a regular file of at most ``MAX_BYTES``.

    Raises:
        WeightsError: it is something else, too large, or can't be read.
    """
    try:
        if not path.is_file():
            message = "not a regular file" if path.exists() else "no such file"
            raise WeightsError(message)
        size = path.stat().st_size
        if size > MAX_BYTES:
            message = f"{size} bytes, expected at most {MAX_BYTES}"
            raise WeightsError(message)
        return path.read_bytes()
    except OSError as error:
        message = f"can't be read: {error.strerror}"
        raise WeightsError(message) from None
