"""From the engine's arrays to the nouns that are published."""

from collections.abc import Iterable, Iterator
from typing import cast

from edge_lstm.bundle import Bundle
from edge_lstm.core.engine import Engine
from edge_lstm.core.table import (
    ALERT_START,
    END,
    F64,
    FITTED,
    LEVEL,
    PEAK_TIME,
    QUALITIES,
    REASON,
    REASONS,
    SCORED,
    START,
    START_END,
    STRENGTH,
    TIME,
    WARMING_UP,
    Results,
)
from edge_lstm.messages import Alert, Cause, Phase, Quality, Score

GAUSS_95 = 1.959963984540054  # half a 95 % band in standard deviations
LAPLACE_95 = 2.995732273553991  # the same in Laplace scales, ln 20

KINDS = cast(tuple[Quality, ...], QUALITIES)
TOLD: dict[int, tuple[Phase, ...]] = {START: ("start",), END: ("end",), START_END: ("start", "end")}


class Reporter:
    """Words for the results of one bundle's engine.

    Attributes:
        model: the bundle's name and digest, as it stands in every score.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.model = f"{bundle.metadata.name}-{bundle.digest}"
        self._channels = bundle.metadata.channels
        self._band = GAUSS_95 if bundle.weights.norms.kind == FITTED else LAPLACE_95

    def scores(self, streams: Iterable[str], t: F64, results: Results) -> Iterator[Score | None]:
        """Yield what each sample of the results says of its stream; ``None`` for one that was not taken."""
        r, model = results, self.model
        columns = (t, r.outcome, r.score, r.surprise, r.quality, r.phase, r.reason)
        lists = (column.tolist() for column in columns)  # once a block: a number at a time, NumPy takes longer than we
        for stream, time, outcome, score, surprise, quality, phase, reason in zip(streams, *lists, strict=True):
            if outcome != SCORED:
                yield None
                continue
            if quality == WARMING_UP:
                score = surprise = None
            on = START <= phase < END
            yield Score(stream, time, score, surprise, KINDS[quality], on, REASONS[reason], model)

    def alerts(self, stream: str, t: float, results: Results, k: int) -> list[Alert]:
        """Return the alerts that sample ``k`` starts or ends, in order; usually none."""
        told = TOLD.get(int(results.phase[k]))
        if told is None:
            return []
        event, level = results.event[k].tolist(), float(results.level[k])
        return [self._alert(phase, stream, t, event, level, results.cause[k]) for phase in told]

    def unfinished(self, phase: Phase, stream: str, engine: Engine, row: int) -> Alert:
        """Return the alert that a row is in, as it stands: to be told again, or ended with the last sample."""
        state, cause = engine.read("row", row, row + 1)[0], engine.read("peak", row, row + 1)[0]
        t, start, peak, strength, reason, level = state[
            [TIME, ALERT_START, PEAK_TIME, STRENGTH, REASON, LEVEL]
        ].tolist()
        return self._alert(phase, stream, t, [start, peak, t, strength, reason], level, cause)

    def _alert(self, phase: Phase, stream: str, t: float, event: list[float], level: float, cause: F64) -> Alert:
        start, peak, end, strength, reason = event
        return Alert(
            stream=stream,
            phase=phase,
            t=t,
            start=start,
            peak=peak,
            end=end if phase == "end" else None,
            duration_s=end - start if phase == "end" else 0.0,
            strength=strength,
            level=level,
            reason=REASONS[int(reason)],
            causes=self._causes(cause),
            model=self.model,
        )

    def _causes(self, cause: F64) -> tuple[Cause, ...]:
        """Return the channels in order of blame."""
        causes = []
        for channel, numbers in zip(self._channels, cause.tolist(), strict=True):
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
