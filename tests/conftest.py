"""What no test may leave behind."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command that is run in this process sets the log up for itself, and some libraries have to be quieted."""
    logger = logging.getLogger("edge_lstm")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logging.disable(logging.NOTSET)
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate
