"""What is normal: from residuals on held-back rows to the judge's numbers (docs/numerics.md, sections 6 and 7)."""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHRINKAGE = 0.1  # of a covariance to its diagonal
FLOOR = 0.1  # standard deviation, in scales, below which no direction of the residual counts as small
CLIP = 20.0  # scales
LOG_FLOOR = 0.05
BODY = -np.log10(0.02)  # surprise at the threshold of the tail
TARGET, TARGET_SHARE = 2.0, 0.99  # score 0.99 lies at the 99 % quantile of held-back normal rows
SHAPES = np.linspace(0.1, 0.3, 21)


class Residuals(NamedTuple):
    """One sequence's residuals, in scales.

    Attributes:
        e: (n - 1, C); row k belongs to sample k + 1, as the first has no forecast.
        held: the first row that the weights have not seen.
    """

    e: Floats
    held: int


class Judge(NamedTuple):
    """The fitted judge. Shapes as in weights/README.md."""

    center: Floats
    whiten: Floats
    blame: Floats
    evidence: Floats
    tail: Floats
    tau_b: float
    tau_c: float

    def tensors(self) -> dict[str, Floats]:
        """Return the bundle's ``judge.*`` tensors."""
        names = ("center", "whiten", "blame", "evidence", "tail")
        return {f"judge.{name}": getattr(self, name) for name in names}

    def statistics(self, e: Floats) -> Floats:
        """Return a, b and c of each row, (n, 3)."""
        distances = []
        for k, v in enumerate((e, averaged(e, self.tau_c))):
            white = (v - self.center[k]) @ self.whiten[k].T
            distances.append(np.log((white * white).sum(1) / e.shape[1] + LOG_FLOOR))
        return np.stack([distances[0], averaged(distances[0], self.tau_b), distances[1]], axis=1)

    def evidences(self, e: Floats) -> Floats:
        """Return the largest of the three, each relative to its median and 99 % quantile, (n,)."""
        median, high = self.evidence.T
        return np.asarray(((self.statistics(e) - median) / (high - median)).max(1))

    def surprise(self, e: Floats) -> Floats:
        """Return -log10 of the probability of what is at least as far out, (n,)."""
        origin, threshold, sigma, xi = self.tail
        u = self.evidences(e)
        body = BODY * np.maximum(u - origin, 0.0) / (threshold - origin)
        far = BODY + np.log10(1.0 + xi * np.maximum(u - threshold, 0.0) / sigma) / xi
        return np.asarray(np.where(u > threshold, np.minimum(15.0, far), body))


def averaged(x: Floats, tau: float) -> Floats:
    """Return the exponential mean of all rows so far, with weights max(1/tau, 1/n); x is (n,) or (n, C)."""
    return np.asarray(_averaged(x.reshape(len(x), -1), tau)).reshape(x.shape)


@numba.njit(error_model="numpy")
def _averaged(x: Floats, tau: float) -> Floats:
    out = np.empty_like(x)
    mean = np.zeros(x.shape[1])
    for k in range(x.shape[0]):
        w = max(1.0 / tau, 1.0 / (k + 1))
        for c in range(x.shape[1]):
            mean[c] += w * (x[k, c] - mean[c])
            out[k, c] = mean[c]
    return out


def residuals(z: Floats, forecast: Floats, held: int) -> Residuals:
    """Return what the judge sees of one sequence.

    Args:
        z: (n, C) normalized samples.
        forecast: (n, C) made after each sample for the next one.
        held: the first sample that the weights have not seen.
    """
    return Residuals(np.clip(z[1:] - forecast[:-1], -CLIP, CLIP), held - 1)


def calibrate(sequences: list[Residuals], constant: NDArray[np.bool_], tau_b: float, tau_c: float) -> Judge:
    """Fit the judge to held-back rows.

    With C the covariance of the residual e, its distance is taken under 0.9 C + 0.1 diag(C) + rho^2 I, and likewise for
    the averaged residual E, whose white noise is smaller by 2 tau_c - 1. The floor rho keeps directions in which normal
    operation happens to be still (rounding, pumps that rarely run) from deciding everything.

    Args:
        sequences: each begins with rows that the weights were trained on, which only warm the averages up.
        constant: (C,) channels that never change; they take no part.
        tau_b: memory of the averaged log distance, samples.
        tau_c: memory of the averaged residual, samples.

    Raises:
        ValueError: the held-back rows are all alike.
    """
    channels = len(constant)
    center, whiten, blame = np.zeros((2, channels)), np.zeros((2, channels, channels)), np.zeros((2, channels))
    for k, floor in enumerate((FLOOR**2, FLOOR**2 / (2.0 * tau_c - 1.0))):
        rows = np.concatenate([(averaged(e, tau_c) if k else e)[held:] for e, held in sequences])
        center[k] = rows.mean(0)
        covariance = np.atleast_2d(np.cov(rows.T, bias=True))
        whiten[k] = _whiten(covariance, floor, constant)
        blame[k] = np.where(constant, 0.0, 1.0 / np.sqrt(np.diag(covariance) + floor))
    draft = Judge(center, whiten, blame, np.tile([0.0, 1.0], (3, 1)), np.array([0.0, 1.0, 1.0, 0.1]), tau_b, tau_c)
    held_back = np.concatenate([draft.statistics(e)[held:] for e, held in sequences])
    evidence = np.stack([np.median(held_back, 0), np.quantile(held_back, TARGET_SHARE, axis=0)], axis=1)
    if not (evidence[:, 1] > evidence[:, 0]).all():
        message = "the held-back rows are all alike: there is nothing to calibrate a score on"
        raise ValueError(message)
    judge = draft._replace(evidence=evidence)
    return judge._replace(tail=tail_of(np.concatenate([judge.evidences(e)[held:] for e, held in sequences])))


def _whiten(covariance: Floats, floor: float, constant: NDArray[np.bool_]) -> Floats:
    """Return lower-triangular W with W^T W = inverse of the shrunk covariance; zeros for constant channels."""
    shrunk = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance)) + floor * np.eye(len(covariance))
    part = np.flatnonzero(~constant)
    whiten = np.zeros_like(covariance)
    whiten[np.ix_(part, part)] = np.tril(np.linalg.inv(np.linalg.cholesky(shrunk[np.ix_(part, part)])))
    return whiten


def tail_of(evidence: Floats) -> Floats:
    """Return origin, threshold, sigma, xi of a generalized Pareto tail beyond the 98 % quantile.

    For each shape in [0.1, 0.3], sigma is what puts surprise 2 (score 0.99) exactly on the 99 % quantile; of these the
    shape is taken whose mean excess, sigma / (1 - xi), is nearest to the observed one.
    """
    origin, threshold, high = np.quantile(evidence, [0.02, 0.98, TARGET_SHARE])
    spread = max(threshold - origin, 1e-9)
    excess = max(high - threshold, 1e-3 * spread)
    beyond = evidence[evidence > threshold] - threshold
    mean = beyond.mean() if len(beyond) else excess
    sigma = SHAPES * excess / (10.0 ** (SHAPES * (TARGET - BODY)) - 1.0)
    best = int(np.argmin(np.abs(sigma / (1.0 - SHAPES) - mean)))
    return np.array([threshold - spread, threshold, sigma[best], SHAPES[best]])


def rules(sequences: list[Floats], mean: Floats, scale: Floats, still: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return ``rules.range`` and ``rules.flat``.

    A still channel moves by less than what its scale was floored to: another transmitter's rounding would leave its
    range and hold it flat. Its range is widened to three scales, and a flat line of it says nothing.

    Args:
        sequences: each (n, C), data units.
        mean: (C,)
        scale: (C,)
        still: (C,)
    """
    low = np.min([x.min(0) for x in sequences], axis=0)
    high = np.max([x.max(0) for x in sequences], axis=0)
    equal, longest = np.zeros(len(low)), np.zeros(len(low))
    for x in sequences:
        run = np.zeros(len(low))
        for same in x[1:] == x[:-1]:
            run = np.where(same, run + 1.0, 0.0)
            equal += same
            longest = np.maximum(longest, run)
    low = np.where(still, np.minimum(low, mean - 3.0 * scale), low)
    high = np.where(still, np.maximum(high, mean + 3.0 * scale), high)
    repeat = np.where(still, 1.0, (equal + 1.0) / (sum(map(len, sequences)) + 2.0))
    return {"rules.range": np.stack([low, high], axis=1), "rules.flat": np.stack([repeat, longest], axis=1)}
