"""What a daemon kept in its state folder, held against a pipeline that nothing ever happened to."""

from pathlib import Path

import numpy as np

from edge_lstm.bundle import Bundle
from edge_lstm.core.table import ARRIVED, INTERVAL, LONGEST_WAIT, SEEN, SILENT_SINCE
from edge_lstm.daemon.folder import SLOTS
from edge_lstm.lane import Saved, Settings
from edge_lstm.messages import Message
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.saved import SavedState, unpack
from edge_lstm.stages.decode import Source
from tests.faults.clients import Arrival, sample
from tests.faults.ledger import Key, Ledger, key_of

ABOUT_ARRIVAL = [ARRIVED, INTERVAL, LONGEST_WAIT, SILENT_SINCE]  # a clock's, so never the same twice


def undisturbed(bundle: Bundle) -> Pipeline:
    """Return a pipeline like that of the daemon under test."""
    return Pipeline([Route(Source("plant/+/data"), bundle, Settings(), Outputs())])


def replayed(bundle: Bundle, samples: list[Message]) -> Saved:
    """Return the state after samples that nothing happened to."""
    pipeline = undisturbed(bundle)
    pipeline.handle(samples)
    return pipeline.snapshot()[0].lane


def newest(folder: Path) -> SavedState:
    """Return the last state in a folder."""
    states = [unpack((folder / slot).read_bytes()) for slot in SLOTS if (folder / slot).exists()]
    return max(states, key=lambda state: state.serial)


def rows_of(saved: Saved) -> dict[str, dict[str, bytes]]:
    """Return every stream's row, array by array, without what is about arrival."""
    row = saved.arrays["row"].copy()
    row[:, ABOUT_ARRIVAL] = 0.0
    arrays = saved.arrays | {"row": row}
    return {
        stream: {name: np.ascontiguousarray(array[n]).tobytes() for name, array in arrays.items()}
        for n, stream in enumerate(saved.streams)
        if stream
    }


def steps_of(saved: Saved) -> dict[str, int]:
    """Return how many samples stepped each stream's row."""
    return {stream: int(saved.arrays["row"][n, SEEN]) for n, stream in enumerate(saved.streams) if stream}


def sent_by(ledger: Ledger) -> list[Message]:
    """Return all samples that a ledger has sent, in whole rounds."""
    rounds = len(ledger.publisher.sent) // len(ledger.streams)
    return [Message(*sample(stream, seq)) for seq in range(rounds) for stream in ledger.streams]


def expected_scores(bundle: Bundle, samples: list[Message]) -> dict[Key, bytes]:
    """Return the scores of a daemon that nothing ever happened to."""
    out = undisturbed(bundle).handle(samples)
    keyed = ((key_of(Arrival(0.0, each.topic, each.payload, False)), each.payload) for each in out)
    return {key: payload for key, payload in keyed if key}


def unlike_undisturbed(ledger: Ledger, bundle: Bundle) -> int:
    """Return how many scores differ from those of an undisturbed daemon, be it only in their quality."""
    expected = expected_scores(bundle, sent_by(ledger))
    came = ((key_of(arrival), arrival.payload) for arrival in ledger.collector.arrivals)
    return sum(payload != expected[key] for key, payload in came if key)
