"""What tests in several places start from, and what none may leave behind."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_lstm.bundle import Bundle, write
from tests.bundles import random_bundle


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


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return random_bundle(warm_up=5)


@pytest.fixture(scope="session")
def weights(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    write(bundle, path)
    return path
