"""Pipelines that have been through something, and what their checkpoints hold."""

import json
from typing import Any

import numpy as np

from edge_lstm.bundle import Bundle
from edge_lstm.lane import Settings
from edge_lstm.messages import Message
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.saved import SavedState, unpack
from edge_lstm.stages.decode import Source
from tests.bundles import random_bundle, random_stream

START = 1_000.0  # on the steady clock
PARTS = Source("parts/{stream}/{channel}", format="number")


def bundle_of(judge: str, **changes: object) -> Bundle:
    return random_bundle(judge, channels=3, hidden=5, seed=31, **changes)


def route_of(bundle: Bundle, source: Source | str = "plant/+/data", **settings: Any) -> Route:
    source = Source(source) if isinstance(source, str) else source
    return Route(source, bundle, Settings(budget_s=600.0, **settings), Outputs())


def sample_of(stream: str, at: int, values: list[float], prefix: str = "plant") -> Message:
    """Return the message with a stream's sample of a second."""
    fields = {f"c{k}": value for k, value in enumerate(values)} if len(values) > 1 else {"value": values[0]}
    return Message(f"{prefix}/{stream}/data", json.dumps({"t": 1.7e9 + at, **fields}).encode())


def feed(pipeline: Pipeline, streams: str, first: int, count: int) -> list[Message]:
    """Send samples of some streams, of so many seconds; return what goes out."""
    channels = len(pipeline.routes[0].lane.bundle.metadata.channels)
    out = []
    for at in range(first, first + count):
        rows = {stream: random_stream(first + count, channels, seed)[1][at] for seed, stream in enumerate(streams)}
        messages = [sample_of(stream, at, row.tolist()) for stream, row in rows.items()]
        out += pipeline.handle(messages, now=START + at, wall=1.7e9 + at)
    return out


def state_of(*pipelines: Pipeline, **fields: Any) -> SavedState:
    return SavedState(routes=[saved for pipeline in pipelines for saved in pipeline.snapshot()], **fields)


def plain(state: SavedState) -> dict[str, Any]:
    """Return all that a state says as values that can be compared."""
    head = {name: getattr(state, name) for name in ("serial", "written", "filters", "pending")}
    routes = []
    for route in state.routes:
        arrays = {
            name: (array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())
            for name, array in route.lane.arrays.items()
        }
        routes.append((route.topic, route.bundle, route.silent, route.lane.streams, route.lane.waiting, arrays))
    return head | {"routes": routes}


def restored(data: bytes, *routes: Route) -> Pipeline:
    """Return a pipeline that goes on from a checkpoint."""
    pipeline = Pipeline(list(routes))
    assert pipeline.restore(unpack(data).routes) == []
    return pipeline
