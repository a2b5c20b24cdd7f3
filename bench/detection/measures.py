"""How well scores tell labelled rows from the others."""

import numpy as np
from numpy.typing import NDArray

from bench.detection.labelled import System

ALARM = 0.99  # a score that one normal sample in a hundred reaches
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def auc_roc(truth: Flags, score: Floats) -> float:
    """Return the area under the curve of true positives over false ones; equal scores count half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    positive = int(truth.sum())
    above = ranks[truth].sum() - positive * (positive + 1) / 2.0
    return float(above / (positive * (len(truth) - positive)))


def balanced_accuracy(truth: Flags, alarm: Flags) -> float:
    """Return the mean of the shares of anomalous rows with an alarm and of normal ones without."""
    return float((alarm[truth].mean() + (~alarm[~truth]).mean()) / 2.0)


def time_to_detection(truth: Flags, alarm: Flags) -> float:
    """Return 1 less the mean, over events, of the share of each that passed before its first alarm."""
    edges = np.flatnonzero(np.diff(np.r_[False, truth, False]))
    late = []
    for first, end in edges.reshape(-1, 2):
        hits = np.flatnonzero(alarm[first:end])
        late.append(hits[0] / (end - first) if len(hits) else 1.0)
    return 1.0 - float(np.mean(late))


def measure(system: System, scores: list[Floats]) -> dict[str, float]:
    """Return area, balanced accuracy and BATADAL's S of the scores of each file; S where files are judged whole."""
    truth = np.concatenate([file.truth[file.start :] for file in system.files])
    score = np.concatenate([part[file.start :] for file, part in zip(system.files, scores, strict=True)])
    balanced = balanced_accuracy(truth, score >= ALARM)
    found = {"auc_roc": auc_roc(truth, score), "balanced_accuracy": balanced}
    if not any(file.start for file in system.files):
        found["s"] = (time_to_detection(truth, score >= ALARM) + balanced) / 2.0
    return found
