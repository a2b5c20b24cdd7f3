"""Values of options that several commands share: a budget of alerts, and the bundle that is shipped."""

import re
from importlib.resources import files
from pathlib import Path

from edge_lstm.errors import ConfigError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PERIODS = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "month": 30 * 86_400.0, "year": 365 * 86_400.0}
_BUDGET = re.compile(r"(?P<count>\d{1,6})/(?P<per>[a-z]+)|(?P<every>\d{1,6}(?:\.\d{1,6})?)(?P<unit>[smhdw])")
_LONGEST_BUDGET_S = 100 * _PERIODS["year"]


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
    checkout = Path(__file__).resolve().parent.parent / "weights"
    try:
        folder = checkout if checkout.is_dir() else Path(str(files("edge_lstm_weights")))
    except ModuleNotFoundError:
        folder = checkout
    path = folder / "universal.safetensors"
    if not path.is_file():
        raise ConfigError(f"{path} is not there, and it is what runs without 'weights'; name a bundle")
    return path
