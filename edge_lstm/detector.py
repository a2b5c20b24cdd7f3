"""The library face: one stream, one object.

detector = Detector.load("pump.safetensors")
result = detector.score_one({"flow": 12.3, "pressure": 2.1})
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load_file, save_file

from edge_lstm.bundle import Bundle, read
from edge_lstm.core.engine import WEEK_S, Engine
from edge_lstm.core.table import ACTIVE, OUTCOMES, SCORED, SEEN, START, TIME, WARMING_UP
from edge_lstm.errors import PayloadError, StateError
from edge_lstm.messages import Alert, Score
from edge_lstm.report import Reporter

BLOCK = 4096  # samples of a long recording that are taken at once; their results take 600 kB


class Scores(NamedTuple):
    """Results of ``score_many``, one entry a row.

    Attributes:
        score: (n,) in [0, 1], high is anomalous; NaN where there is none.
        surprise: (n,) ``-log10(1 - score)``; NaN where there is none.
        alert: (n,) bool, an alert is on.
        alerts: the events, in order.
    """

    score: NDArray[np.float64]
    surprise: NDArray[np.float64]
    alert: NDArray[np.bool_]
    alerts: list[Alert]


class Detector:
    """Scores one stream, one sample at a time; calling it is what advances its state.

    Args:
        bundle: what ``edge_lstm.bundle.read`` returned.
        budget_s: one alert in this many seconds is allowed to chance.

    Attributes:
        alerts: events that the last call started or ended.
    """

    def __init__(self, bundle: Bundle, budget_s: float = WEEK_S) -> None:
        self.bundle = bundle
        self.alerts: list[Alert] = []
        self._engine = Engine(bundle.weights, 1, budget_s)
        self._reporter = Reporter(bundle)
        self._names = bundle.metadata.channel_names
        self._period_s = bundle.metadata.period_s or 1.0
        self._row = np.zeros(1, np.int64)
        self._t = np.zeros(1)
        self._x = np.zeros((1, len(self._names)))

    @classmethod
    def load(cls, path: str | Path, budget_s: float = WEEK_S) -> Self:
        """Read a bundle and return a fresh detector.

        Raises:
            WeightsError: the file is not a bundle that this build computes exactly.
        """
        return cls(read(path), budget_s)

    def score_one(self, x: float | Sequence[float] | Mapping[str, float], t: float | None = None) -> Score:
        """Judge a sample by the forecast made before it, then let the network see it.

        Args:
            x: a value per channel, in the bundle's order or by name; NaN or absent where missing. Other names are
                passed over, but not while one of the bundle's is absent.
            t: Unix seconds; one period after the last sample if not given.

        Raises:
            PayloadError: the sample was not taken (not finite, not later than the last); state
                is as it was.
            StateError: it has not one value per channel, or a name that looks misspelt.
        """
        self.alerts = []
        if isinstance(x, Mapping):
            missing, unknown = set(self._names) - x.keys(), x.keys() - set(self._names)
            if missing and unknown:  # one of either alone is honest; both look like a misspelling
                raise StateError(f"no channel {min(missing)!r} but {min(unknown)!r}; is it misspelt?")
            x = [x.get(name, np.nan) for name in self._names]
        values = np.atleast_1d(x)
        if values.shape != self._x[0].shape:  # NumPy would repeat a single value for all channels
            raise StateError(f"a sample of shape {values.shape}, expected {len(self._names)} values")
        self._x[0] = values
        self._t[0] = self._next_time() if t is None else t
        results = self._engine.advance(self._row, self._t, self._x)
        [score] = self._reporter.scores(("",), self._t, results)
        if score is None:
            reason = OUTCOMES[results.outcome[0]]
            detail = f"t = {self._t[0]}, x = {self._x[0].tolist()}, last t = {self._time()}"
            raise PayloadError(reason, detail)
        self.alerts = self._reporter.alerts("", float(self._t[0]), results, 0)
        return score

    def score_many(self, x: ArrayLike, t: ArrayLike | None = None) -> Scores:
        """Take many samples of the stream, in order; the same bits as one by one.

        Args:
            x: (n, C), or (n,) for one channel; data units, NaN where missing.
            t: (n,) Unix seconds; one period apart if not given.

        Returns:
            An entry a row; samples that were not taken have NaN.

        Raises:
            StateError: the shapes do not fit; nothing was taken.
        """
        samples = np.require(x, np.float64, ["C", "W"])
        if samples.ndim < 2 and len(self._names) == 1:
            samples = samples.reshape(-1, 1)
        n = len(samples) if samples.ndim else 0
        times = (
            np.cumsum(np.r_[self._next_time(), np.full(n, self._period_s)])[:n]  # added up, as one by one
            if t is None
            else np.require(t, np.float64, ["C", "W"])
        )
        if samples.shape != (n, len(self._names)) or times.shape != (n,):
            expected = f"({n}, {len(self._names)}), a column for each of {', '.join(self._names)}, and ({n},)"
            raise StateError(f"x and t have shapes {samples.shape} and {times.shape}, expected {expected}")
        self.alerts = []
        parts = [self._scores(times[k : k + BLOCK], samples[k : k + BLOCK]) for k in range(0, max(n, 1), BLOCK)]
        score, surprise, alert = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return Scores(score, surprise, alert, self.alerts)

    def _scores(
        self, t: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Take a block of samples; return score, surprise, alert, and note the events."""
        results = self._engine.advance(np.zeros(len(t), np.int64), t, x)
        for k in np.flatnonzero(results.phase).tolist():
            self.alerts += self._reporter.alerts("", float(t[k]), results, k)
        known = (results.outcome == SCORED) & (results.quality != WARMING_UP)
        score, surprise = np.where(known, results.score, np.nan), np.where(known, results.surprise, np.nan)
        return score, surprise, (results.phase == START) | (results.phase == ACTIVE)

    def _time(self) -> float:
        return float(self._engine.read("row", 0, 1)[0, TIME])

    def _next_time(self) -> float:
        row = self._engine.read("row", 0, 1)[0]
        return float(row[TIME]) + self._period_s if row[SEEN] else 0.0

    def reset(self) -> None:
        """Forget everything; the next sample is the first."""
        self._engine.reset(0)
        self.alerts = []

    def save_state(self, path: str | Path) -> None:
        """Write the state, so that another detector can go on from here with the same bits."""
        save_file(self._engine.snapshot(1), str(path), {"bundle": self.bundle.digest})

    def load_state(self, path: str | Path) -> None:
        """Go on from a saved state.

        Raises:
            StateError: the file is not a state, or one of another bundle.
        """
        try:
            arrays = load_file(str(path))
            from safetensors import safe_open

            with safe_open(str(path), "numpy") as file:
                digest = (file.metadata() or {}).get("bundle")
        except Exception as error:
            raise StateError(f"{path}: not a saved state: {error}") from None
        if digest != self.bundle.digest:
            raise StateError(f"{path}: state of bundle {digest}, expected {self.bundle.digest}")
        self._engine.restore(arrays)
