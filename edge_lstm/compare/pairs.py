"""Two bundles over one recording."""

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save

from edge_lstm.bundle import Bundle
from edge_lstm.compare.differences import Difference, difference
from edge_lstm.compare.long_run import LongRun, long_run
from edge_lstm.core.table import new_state
from edge_lstm.errors import ConfigError
from edge_lstm.replay.tracks import Track, replay
from edge_lstm.tables import Table


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        file_bytes: of the bundle.
        row_bytes: of one stream's state.
    """

    name: str
    bundle: Bundle
    tracks: list[Track]
    file_bytes: int
    row_bytes: int


@dataclass(frozen=True)
class Pair:
    """Both, and how far apart they are; a difference for each stream of the recording."""

    a: Side
    b: Side
    differences: list[Difference]
    long: LongRun | None


def pair(a: tuple[str, Bundle], b: tuple[str, Bundle], table: Table, budget_s: float, *, steps: int) -> Pair:
    """Run a recording through both.

    Args:
        a: what it is called, and the bundle; b likewise.
        steps: samples of the long run; 0 for none.

    Raises:
        ConfigError: they have different channels, or the recording lacks one.
    """
    channels = [(bundle.metadata.judge == "adaptive", bundle.metadata.channel_names) for _, bundle in (a, b)]
    if channels[0][0] != channels[1][0] or (not channels[0][0] and channels[0] != channels[1]):
        ours, theirs = (", ".join(names) for _, names in channels)
        raise ConfigError(f"{a[0]} has channels {ours}; {b[0]} has {theirs}: there is nothing to compare")
    sides = [_side(name, bundle, table, budget_s) for name, bundle in (a, b)]
    differences = [
        difference(x.results, y.results, (x.expected, y.expected))
        for x, y in zip(sides[0].tracks, sides[1].tracks, strict=True)
    ]
    track = sides[0].tracks[0]
    rows = track.x[np.isfinite(track.x).all(1)]
    period_s = a[1].metadata.period_s or 1.0
    long = long_run(a[1], b[1], rows, steps, period_s) if steps and len(rows) else None
    return Pair(sides[0], sides[1], differences, long)


def _side(name: str, bundle: Bundle, table: Table, budget_s: float) -> Side:
    state = new_state(1, bundle.weights)
    return Side(
        name=name,
        bundle=bundle,
        tracks=replay(bundle, table, budget_s=budget_s),
        file_bytes=len(save(dict(bundle.tensors))),
        row_bytes=sum(array.nbytes for array in state),
    )
