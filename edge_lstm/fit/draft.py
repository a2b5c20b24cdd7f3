"""What a bundle holds before it is judged by anything: a judge that never speaks, and the input of its golden run."""

import numpy as np

from edge_lstm.fit.calibrate import Floats
from edge_lstm.fit.normal import Normal

GOLDEN_ROWS = 96


def no_judge(channels: int) -> dict[str, Floats]:
    """Return a judge that never speaks, to run a network before there is one."""
    return {
        "judge.center": np.zeros((2, channels)),
        "judge.whiten": np.zeros((2, channels, channels)),
        "judge.blame": np.zeros((2, channels)),
        "judge.evidence": np.tile([0.0, 1.0], (3, 1)),
        "judge.tail": np.array([0.0, 1.0, 1.0, 0.1]),
    }


def golden_input(normal: Normal, period_s: float) -> tuple[Floats, Floats]:
    """Return the input of a golden run: invented samples in the system's range, one outlier, one missing value."""
    rng = np.random.default_rng(GOLDEN_ROWS)
    phase = rng.uniform(0.0, 2.0 * np.pi, len(normal.mean))
    wave = np.sin(np.arange(GOLDEN_ROWS)[:, None] / 5.0 + phase)
    z = wave + 0.3 * rng.standard_normal((GOLDEN_ROWS, len(normal.mean)))
    z[GOLDEN_ROWS // 2] = 8.0
    x = normal.mean + normal.scale * np.where(normal.constant, 0.0, z)
    x[GOLDEN_ROWS // 4, 0] = np.nan
    return np.arange(GOLDEN_ROWS, dtype=np.float64) * (period_s or 1.0), x
