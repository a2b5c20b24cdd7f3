"""The scaler that a model was trained behind, from JSON: nothing of joblib or pickle, which run code."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_lstm.convert.files import content
from edge_lstm.convert.model import Floats, Scaler
from edge_lstm.errors import WeightsError

HOW = (
    "expected the numbers of a scikit-learn scaler by their names: mean_ and scale_ (StandardScaler), center_ and "
    "scale_ (RobustScaler), min_ and scale_ or data_min_ and data_max_ (MinMaxScaler), scale_ (MaxAbsScaler); or mean "
    "and scale"
)
LARGEST = 1e15


def read_scaler(path: Path, channels: int) -> Scaler:
    """Read a scaler.

    scikit-learn's write it so: ``json.dump({k: v.tolist() for k, v in vars(scaler).items() if hasattr(v, "tolist")},
    file)``.

    Args:
        path: a JSON object.
        channels: how many numbers each of its lists must have.

    Raises:
        WeightsError: it is not a scaler of so many channels.
    """
    try:
        document = json.loads(content(path))
    except (ValueError, RecursionError):
        message = f"{path}: not JSON; {HOW}"
        raise WeightsError(message) from None
    except WeightsError as error:
        message = f"{path}: {error}"
        raise WeightsError(message) from None
    if not isinstance(document, dict):
        message = f"{path}: not an object; {HOW}"
        raise WeightsError(message)
    mean, scale = _linear({str(name).rstrip("_"): value for name, value in document.items()}, path, channels)
    for what, numbers, least in (("mean", mean, -LARGEST), ("scale", scale, 1.0 / LARGEST)):
        fits = (numbers >= least) & (numbers <= LARGEST)
        if not fits.all():
            at = int(np.argmin(fits))
            message = f"{path}: channel {at} has a {what} of {numbers[at]:g}, expected {least:g} to {LARGEST:g}"
            raise WeightsError(message)
    return Scaler(mean, scale)


def _linear(given: dict[str, Any], path: Path, channels: int) -> tuple[Floats, Floats]:
    """Return mean and scale, whatever kind of scaler it is; with ``u = x * a + b``, mean is -b/a and scale 1/a."""

    def numbers(name: str) -> Floats:
        return _numbers(given[name], f"{path}: {name}", channels)

    names = given.keys()
    if {"min", "scale"} <= names:  # MinMaxScaler: u = x * scale_ + min_
        with np.errstate(all="ignore"):
            return -numbers("min") / numbers("scale"), 1.0 / numbers("scale")
    if {"data_min", "data_max"} <= names:
        with np.errstate(over="ignore"):
            return numbers("data_min"), numbers("data_max") - numbers("data_min")
    for center in ("mean", "center"):
        if {center, "scale"} <= names:
            return numbers(center), numbers("scale")
    if names & {"scale", "max_abs"}:
        return np.zeros(channels), numbers("scale" if "scale" in names else "max_abs")
    message = f"{path}: found {', '.join(sorted(names)) or 'nothing'}; {HOW}"
    raise WeightsError(message)


def _numbers(value: Any, what: str, channels: int) -> Floats:
    values = value if isinstance(value, list) else [value]
    if not all(type(v) in (int, float) and abs(v) <= sys.float_info.max for v in values):
        message = f"{what}: expected a list of finite numbers"
        raise WeightsError(message)
    if len(values) != channels:
        message = f"{what} has {len(values)} numbers, the model {channels} channels"
        raise WeightsError(message)
    return np.array(values, np.float64)
