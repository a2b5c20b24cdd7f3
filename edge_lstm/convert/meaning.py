"""What a model's outputs mean: chosen by the user, or inferred where only one reading fits."""

from dataclasses import dataclass
from typing import Literal

from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError

Head = Literal["forecast", "reconstruction", "classification"]


@dataclass(frozen=True)
class Choice:
    """What the user said; empty where nothing.

    Attributes:
        targets: channels that the outputs are of, in the outputs' order.
        horizon: which step of a forecast of several is judged by, from 1.
        ahead: samples that the first step of a forecast is ahead.
        classes: names of the outputs.
        normal: the classes that are normal.
    """

    head: Head | Literal[""] = ""
    targets: tuple[str, ...] = ()
    horizon: int = 1
    ahead: int = 1
    classes: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Meaning:
    """What the outputs are.

    Attributes:
        rows: which outputs count, in the order of ``targets``; all of a classification.
        targets: channels that they are of, as indices.
        horizon: samples ahead; 0 unless they forecast.
        anomalous: those of ``classes`` that are not normal.
        notes: what was inferred, in words.
    """

    head: Head
    rows: tuple[int, ...]
    targets: tuple[int, ...]
    horizon: int
    classes: tuple[str, ...] = ()
    anomalous: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def meaning(model: Model, channels: tuple[str, ...], choice: Choice) -> Meaning:
    """Return what the outputs of a model are.

    Raises:
        WeightsError: the choice does not fit the model, or without one more than one reading fits.
    """
    last = model.head[-1].activation.kind if model.head else ""
    outputs = model.output_size
    head, notes = choice.head, []
    if not head:
        single = last == "sigmoid" and outputs == 1 and not choice.targets
        head = "classification" if last == "softmax" or single or choice.classes or choice.normal else "forecast"
        why = f"a {last} at the end" if head == "classification" and last else "the default"
        notes.append(f"taken for a {head} ({why}); --head says otherwise")
    if head == "classification":
        return _classes(outputs, choice, tuple(notes))
    if last == "softmax":
        message = f"the model ends in a softmax over {outputs} outputs: its outputs are classes, not a {head}"
        raise WeightsError(message)
    targets = _targets(channels, choice)
    steps, rest = divmod(outputs, len(targets))
    if rest or not steps or (head == "reconstruction" and steps > 1):
        message = (
            f"the model has {outputs} outputs, which are not those of {len(targets)} channels "
            f"({', '.join(channels[k] for k in targets)}); --targets says which channels they are of, in order, or "
            "--head classification that they are classes"
        )
        raise WeightsError(message)
    if not 1 <= choice.horizon <= steps:
        message = f"--horizon {choice.horizon}: the model forecasts {steps} step{'s' if steps > 1 else ''}"
        raise WeightsError(message)
    if choice.ahead < 1:
        raise WeightsError(f"--ahead {choice.ahead}: expected 1 or more; a model of this very sample reconstructs")
    if steps > 1:
        notes.append(f"{steps} steps of {len(targets)} channels each; judged by step {choice.horizon}")
    first = (choice.horizon - 1) * len(targets)
    rows = tuple(range(first, first + len(targets)))
    horizon = 0 if head == "reconstruction" else choice.ahead + choice.horizon - 1
    return Meaning(head, rows, targets, horizon, notes=tuple(notes))


def _targets(channels: tuple[str, ...], choice: Choice) -> tuple[int, ...]:
    unknown = [name for name in choice.targets if name not in channels]
    if unknown or len(set(choice.targets)) < len(choice.targets):
        message = f"--targets {','.join(choice.targets)}: expected some of {', '.join(channels)}, each once"
        raise WeightsError(message)
    return tuple(channels.index(name) for name in choice.targets) or tuple(range(len(channels)))


def _classes(outputs: int, choice: Choice, notes: tuple[str, ...]) -> Meaning:
    default = ("anomaly",) if outputs == 1 else tuple(str(k) for k in range(outputs))
    classes = choice.classes or default
    if len(classes) != outputs or len(set(classes)) < outputs:
        message = f"--classes {','.join(classes)}: expected {outputs} different names, one for each output"
        raise WeightsError(message)
    unknown = [name for name in choice.normal if name not in classes]
    if unknown or (outputs > 1 and not 0 < len(set(choice.normal)) < outputs):
        message = (
            f"a classification into {', '.join(classes)}: --normal must say which of them are normal, and leave some"
        )
        raise WeightsError(message)
    anomalous = tuple(name for name in classes if name not in choice.normal)
    return Meaning("classification", tuple(range(outputs)), (), 0, classes, anomalous, notes)
