"""From the engine's arrays to the nouns that are published."""

from typing import cast

from edge_lstm.bundle import Bundle
from edge_lstm.core.table import (
    END,
    FITTED,
    QUALITIES,
    REASONS,
    START,
    START_END,
    WARMING_UP,
    Results,
)
from edge_lstm.messages import Alert, Cause, Phase, Quality, Score

GAUSS_95 = 1.959963984540054  # half a 95 % band in standard deviations
LAPLACE_95 = 2.995732273553991  # the same in Laplace scales, ln 20


class Reporter:
    """Words for the results of one bundle's engine.

    Attributes:
        model: the bundle's name and digest, as it stands in every score.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.model = f"{bundle.metadata.name}-{bundle.digest}"
        self._channels = bundle.metadata.channels
        self._band = GAUSS_95 if bundle.weights.judge == FITTED else LAPLACE_95

    def score(self, stream: str, t: float, results: Results, k: int) -> Score:
        """Return what sample ``k`` of the results says of a stream."""
        known = results.quality[k] != WARMING_UP
        return Score(
            stream=stream,
            t=t,
            score=float(results.score[k]) if known else None,
            surprise=float(results.surprise[k]) if known else None,
            quality=cast(Quality, QUALITIES[results.quality[k]]),
            alert=bool(START <= results.phase[k] < END),
            reason=REASONS[results.reason[k]],
            model=self.model,
        )

    def alerts(self, stream: str, t: float, results: Results, k: int) -> list[Alert]:
        """Return the alerts that sample ``k`` starts or ends, in order; usually none."""
        phase = results.phase[k]
        if phase == START:
            return [self._alert("start", stream, t, results, k)]
        if phase == END:
            return [self._alert("end", stream, t, results, k)]
        if phase == START_END:
            return [
                self._alert("start", stream, t, results, k),
                self._alert("end", stream, t, results, k),
            ]
        return []

    def _alert(self, phase: Phase, stream: str, t: float, results: Results, k: int) -> Alert:
        start, peak, end, strength, reason = results.event[k].tolist()
        return Alert(
            stream=stream,
            phase=phase,
            t=t,
            start=start,
            peak=peak,
            end=end if phase == "end" else None,
            duration_s=end - start if phase == "end" else 0.0,
            strength=strength,
            level=float(results.level[k]),
            reason=REASONS[int(reason)],
            causes=self._causes(results, k),
            model=self.model,
        )

    def _causes(self, results: Results, k: int) -> tuple[Cause, ...]:
        """Return the channels in order of blame."""
        causes = []
        for channel, numbers in zip(self._channels, results.cause[k].tolist(), strict=True):
            observed, expected, spread, blame = numbers
            foreseen = spread > 0.0
            causes.append(
                Cause(
                    channel=channel.name,
                    blame=blame,
                    observed=observed,
                    expected=expected if foreseen else None,
                    low=expected - self._band * spread if foreseen else None,
                    high=expected + self._band * spread if foreseen else None,
                    unit=channel.unit,
                )
            )
        return tuple(sorted(causes, key=lambda cause: -cause.blame))

    def silence(self, stream: str, t: float, start: float, *, over: bool) -> Alert:
        """Return the alert for a stream that stopped talking.

        Args:
            t: when this was noticed, Unix seconds.
            start: when its last sample had come.
            over: it talks again.
        """
        return Alert(
            stream=stream,
            phase="end" if over else "start",
            t=t,
            start=start,
            peak=start,
            end=t if over else None,
            duration_s=max(0.0, t - start),
            strength=0.0,
            level=0.0,
            reason="silence",
            causes=(),
            model=self.model,
        )
