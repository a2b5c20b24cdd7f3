"""Values of options that several commands share: a budget of alerts, the bundle that is shipped, files to write."""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from edge_lstm.errors import ConfigError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PERIODS = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "month": 30 * 86_400.0, "year": 365 * 86_400.0}
_BUDGET = re.compile(r"(?P<count>\d{1,6})/(?P<per>[a-z]+)|(?P<every>\d{1,6}(?:\.\d{1,6})?)(?P<unit>[smhdw])")
_LONGEST_BUDGET_S = 100 * _PERIODS["year"]
_UNIVERSAL = "universal.safetensors"


def parse_budget(text: str) -> float:
    """Return in how many seconds a stream may raise one alert by chance.

    Args:
        text: ``1/week``, ``2/day``, ``10/month``, or the seconds themselves as ``7d``, ``12h``, ``90m``.

    Raises:
        ConfigError: it is not a budget.
    """
    found = _BUDGET.fullmatch(text.strip())
    seconds = 0.0
    if found and found["count"]:
        seconds = _PERIODS.get(found["per"], 0.0) / max(int(found["count"]), 1e-9)
    elif found:
        seconds = float(found["every"]) * _SECONDS[found["unit"]]
    if not 1.0 <= seconds <= _LONGEST_BUDGET_S:
        raise ConfigError(f"budget is {text!r}, expected alerts per time such as '1/week' or '2/day', or a time, '12h'")
    return seconds


def default_weights() -> Path:
    """Return the path of the universal bundle, which is shipped.

    Raises:
        ConfigError: this installation has none.
    """
    path = Path(__file__).resolve().parent.parent / "weights" / _UNIVERSAL  # a checkout's own
    if not path.is_file():
        with suppress(ModuleNotFoundError):
            path = Path(str(files("edge_lstm_weights").joinpath(_UNIVERSAL)))
    if not path.is_file():
        raise ConfigError(f"{path} is not there, and it is what runs without 'weights'; name a bundle")
    return path


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of an option: a whole number, not below ``least``."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value}, expected {least} or more")
        return value

    return number


def check_outputs(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Check, before hours of work, that files can be written and that none is an input or written twice.

    Raises:
        ConfigError: what stands in the way.
    """
    sources = {path.resolve() for path in inputs}
    targets: set[Path] = set()
    for path in outputs:
        target = path.resolve()
        if target in sources:
            raise ConfigError(f"{path}: is an input, and would be overwritten")
        if target in targets:
            raise ConfigError(f"{path}: would be written twice")
        targets.add(target)
        if not _writable(target):
            raise ConfigError(f"{path}: can't be written")


def _writable(path: Path) -> bool:
    """Return whether a file can be written, or made with the folders that it lacks."""
    try:
        if path.exists():
            return not path.is_dir() and os.access(path, os.W_OK)
        folder = next(parent for parent in path.parents if parent.exists())
        return folder.is_dir() and os.access(folder, os.W_OK)
    except OSError:  # a folder that may not even be looked into
        return False
