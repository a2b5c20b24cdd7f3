"""How far apart two runs over the same samples are, in words of a user."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_lstm.core.table import END, SCORED, START, START_END, WARMING_UP, Results

Floats = NDArray[np.float64]
NEAR = 20  # samples: what an alert waits before it ends, so nearer ones may be one


@dataclass(frozen=True)
class Difference:
    """Run B beside run A.

    Attributes:
        rows: samples that both scored.
        alerts: of A, of B.
        lost: (first sample, last sample) of each alert of A that B has none near to.
        gained: likewise of B.
        rank_correlation: Spearman's, of the surprises.
        surprise_max: largest difference of surprises.
        forecast_max: (C,) largest difference of forecasts, data units; 0 where there are none.
        forecast_rms: (C,) its root mean square.
    """

    rows: int
    alerts: tuple[int, int]
    lost: tuple[tuple[int, int], ...]
    gained: tuple[tuple[int, int], ...]
    rank_correlation: float
    surprise_max: float
    forecast_max: Floats
    forecast_rms: Floats


def difference(a: Results, b: Results, expected: tuple[Floats, Floats] | None = None) -> Difference:
    """Compare two runs over the same samples of one stream.

    Args:
        expected: (n, C, 2) of each, location and spread for each sample, where their heads may differ; by default
            what each says after a sample.
    """
    ours_expected, theirs_expected = expected or (a.forecast, b.forecast)
    both = (a.outcome == SCORED) & (b.outcome == SCORED)
    scored = both & (a.quality != WARMING_UP) & (b.quality != WARMING_UP)
    foreseen = both[:, None] & (ours_expected[..., 1] > 0.0) & (theirs_expected[..., 1] > 0.0)
    apart = np.where(foreseen, np.abs(ours_expected[..., 0] - theirs_expected[..., 0]), 0.0)
    ours, theirs = spans(a), spans(b)
    surprises = a.surprise[scored], b.surprise[scored]
    return Difference(
        rows=int(scored.sum()),
        alerts=(len(ours), len(theirs)),
        lost=tuple(span for span in ours if not _near(span, theirs)),
        gained=tuple(span for span in theirs if not _near(span, ours)),
        rank_correlation=rank_correlation(*surprises),
        surprise_max=float(np.abs(surprises[0] - surprises[1]).max(initial=0.0)),
        forecast_max=apart.max(0, initial=0.0),
        forecast_rms=np.sqrt(np.square(apart).sum(0) / np.maximum(1, foreseen.sum(0))),
    )


def spans(results: Results) -> list[tuple[int, int]]:
    """Return first and last sample of each alert."""
    found, start = [], -1
    for k, phase in enumerate(results.phase.tolist()):
        if phase == START:
            if start >= 0:  # of a run before, that ended with the alert on
                found.append((start, k - 1))
            start = k
        elif phase == START_END:
            found.append((k, k))
        elif phase == END and start >= 0:
            found.append((start, k))
            start = -1
    return [*found, (start, len(results.phase) - 1)] if start >= 0 else found


def _near(span: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    return any(other[0] <= span[1] + NEAR and span[0] <= other[1] + NEAR for other in others)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's correlation; where one is constant 0, where both are 1."""
    ranks = [_ranks(a), _ranks(b)]
    deviations = [rank - rank.mean() for rank in ranks] if len(a) else [np.zeros(1)] * 2
    norm = float(np.sqrt(np.square(deviations[0]).sum() * np.square(deviations[1]).sum()))
    return float(deviations[0] @ deviations[1]) / norm if norm else float(deviations[0].any() == deviations[1].any())


def _ranks(values: Floats) -> Floats:
    """Return the rank of each value, the mean one where some are equal."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
