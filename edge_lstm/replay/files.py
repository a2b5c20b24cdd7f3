"""Files that replay writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_lstm.errors import ConfigError

PICTURES = (".png", ".svg", ".pdf")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a file's folder first, and say it in words when the file can't be written.

    Raises:
        ConfigError: it can't.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None
