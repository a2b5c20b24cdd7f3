"""A checkpoint gives back what went in, bit for bit, or is refused in words; nothing between."""

import tracemalloc
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from edge_lstm import saved
from edge_lstm.errors import StateError
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline
from edge_lstm.saved import MAGIC, SavedState, pack, unpack
from tests.states import PARTS, START, bundle_of, feed, plain, restored, route_of, sample_of, state_of

JUDGES = ["fitted", "adaptive"]


def lived(judge: str, **options: Any) -> Pipeline:
    """Return a pipeline with three streams past their warm-up."""
    pipeline = Pipeline([route_of(bundle_of(judge, warm_up=20), **options)])
    feed(pipeline, "abc", 0, 40)
    return pipeline


def sealed(body: bytes) -> bytes:
    """Return bytes as a checkpoint with the right digest, whatever they are."""
    packed = zlib.compress(body, 1)
    return MAGIC + saved._digest(packed) + packed


@pytest.fixture(scope="module")
def data() -> bytes:
    return pack(state_of(lived("fitted"), serial=7, written=1.7e9, filters=["plant/+/data"], pending={3: b"\x00\xff"}))


# ---- There and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", JUDGES)
def test_a_state_comes_back_as_it_was(judge: str) -> None:
    state = state_of(lived(judge), serial=9, written=1.5, filters=["a/#", "ü/+"], pending={65535: bytes(range(16))})
    assert plain(unpack(pack(state))) == plain(state)


def test_an_empty_state_comes_back() -> None:
    for state in (SavedState(), state_of(Pipeline([route_of(bundle_of("fitted"))]))):
        assert plain(unpack(pack(state))) == plain(state)


@pytest.mark.parametrize("judge", JUDGES)
def test_scores_go_on_as_if_nothing_had_happened(judge: str) -> None:
    pipeline = lived(judge)
    other = restored(pack(state_of(pipeline)), route_of(bundle_of(judge, warm_up=20)))
    expected = feed(pipeline, "abcd", 40, 60)
    assert feed(other, "abcd", 40, 60) == expected
    assert len(expected) >= 240


def test_rows_of_streams_that_gave_way_stay_free() -> None:
    pipeline = lived("fitted", max_streams=3, idle_s=5.0)
    feed(pipeline, "ac", 40, 10)
    pipeline.watch(START + 50, 1.7e9 + 50)
    state = state_of(pipeline)
    assert state.routes[0].lane.streams == ["plant/a/data", "", "plant/c/data"]
    other = restored(pack(state), route_of(bundle_of("fitted", warm_up=20), max_streams=3))
    assert state_of(other).routes[0].lane.streams == state.routes[0].lane.streams
    expected = feed(pipeline, "acd", 50, 30)
    assert feed(other, "acd", 50, 30) == expected
    assert other.routes[0].lane.streams == ["plant/a/data", "plant/d/data", "plant/c/data"]


def test_samples_that_wait_for_their_other_parts_come_back() -> None:
    def part(channel: str, value: bytes) -> Message:
        return Message(f"parts/x/{channel}", value, arrived=1.7e9)

    pipeline = Pipeline([route_of(bundle_of("fitted"), PARTS)])
    pipeline.handle([part("c0", b"1.5"), part("c2", b"-2")])
    other = restored(pack(state_of(pipeline)), route_of(bundle_of("fitted"), PARTS))
    out = other.handle([part("c1", b"3")])
    assert out == pipeline.handle([part("c1", b"3")])
    assert len(out) == 1


def test_silences_come_back_and_end() -> None:
    pipeline = lived("fitted", silence_s=5.0)
    feed(pipeline, "ac", 40, 20)
    assert len(pipeline.watch(START + 60, 1.7e9 + 60)) == 1
    assert list(pipeline.routes[0].silent) == ["plant/b/data"]
    other = restored(pack(state_of(pipeline)), route_of(bundle_of("fitted", warm_up=20), silence_s=5.0))
    assert other.routes[0].silent == pipeline.routes[0].silent
    assert other.watch(5.0, 1.7e9 + 61) == []  # told already
    ends = [message for message in feed(other, "abc", 60, 1) if message.topic == "edge-lstm/plant/b/data/alert"]
    assert b'"silence"' in ends[0].payload
    assert b'"end"' in ends[0].payload


def test_many_sources_keep_apart() -> None:
    judges = [JUDGES[n % 2] for n in range(12)]
    routes = [route_of(bundle_of(judge), f"s{n}/+/data") for n, judge in enumerate(judges)]
    pipeline = Pipeline(routes)
    for n, judge in enumerate(judges):
        values = [float(n)] * (3 if judge == "fitted" else 1)
        pipeline.handle([sample_of("x", at, values, prefix=f"s{n}") for at in range(n + 1)])
    state = state_of(pipeline, serial=1)
    assert plain(unpack(pack(state))) == plain(state)
    assert [route.lane.streams for route in unpack(pack(state)).routes] == [[f"s{n}/x/data"] for n in range(12)]


# ---- What is none --------------------------------------------------------------------------------


def test_every_flipped_byte_is_found(data: bytes) -> None:
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(StateError):
            unpack(bytes(damaged))


def test_every_truncation_is_found(data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(StateError):
            unpack(data[:end])
    with pytest.raises(StateError):
        unpack(data + b"\0")


@given(st.binary(max_size=300), st.sampled_from([b"", MAGIC, MAGIC + bytes(32)]))
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused(garbage: bytes, head: bytes) -> None:
    with pytest.raises(StateError):
        unpack(head + garbage)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_garbage_with_a_right_digest_is_refused(garbage: bytes) -> None:
    with pytest.raises(StateError):
        unpack(sealed(garbage))
    packed = garbage
    with pytest.raises(StateError):
        unpack(MAGIC + saved._digest(packed) + packed)


def test_a_bomb_is_refused_before_it_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "LARGEST", 2**20)
    bomb = sealed(bytes(2**26))
    tracemalloc.start()
    with pytest.raises(StateError, match="more than"):
        unpack(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23


def document(**changes: object) -> bytes:
    fields = {"serial": 1, "written": 0.0, "filters": [], "pending": {}, "routes": []}
    return msgspec.json.encode(fields | changes)


ROUTE = {"topic": "t", "bundle": "b", "silent": {}, "streams": ["x"], "waiting": {}}


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        (b"", {}),
        (b"{", {}),
        (b"[]", {}),
        (document(future=1), {}),
        (document(serial="1"), {}),
        (document(serial=1.5), {}),
        (document(pending={"x": "AA=="}), {}),
        (document(pending={"1": "no base64"}), {}),
        (document(routes=[ROUTE | {"streams": [1]}]), {}),
        (document(routes=[ROUTE | {"silent": {"x": None}}]), {}),
        (document(routes=[{"topic": "t"}]), {}),
        (document(), {"0.row": np.zeros(3)}),
        (document(routes=[ROUTE]), {"1.row": np.zeros(3)}),
        (document(routes=[ROUTE]), {"row": np.zeros(3)}),
    ],
)
def test_another_document_is_refused(text: bytes, arrays: dict[str, Any]) -> None:
    with pytest.raises(StateError):
        unpack(sealed(save(arrays | {"document": np.frombuffer(text, np.uint8)})))


def test_counts_beyond_all_bounds_are_refused() -> None:
    for shape in ("[1099511627776,1099511627776]", "[18446744073709551615]", "[-1]", "[1,18446744073709551616]"):
        header = f'{{"document":{{"dtype":"F64","shape":{shape},"data_offsets":[0,8]}}}}'.encode()
        with pytest.raises(StateError):
            unpack(sealed(len(header).to_bytes(8, "little") + header + bytes(8)))
    with pytest.raises(StateError):
        unpack(sealed((2**63).to_bytes(8, "little") + b"{}"))
    with pytest.raises(StateError, match="expected"):
        unpack(b"edge-lstm state 2\n" + pack(SavedState())[len(MAGIC) :])


# ---- What fits nothing here ----------------------------------------------------------------------


def changed(data: bytes, **arrays: Any) -> bytes:
    """Return a checkpoint with other arrays of its first source, ``None`` for none, and the right digest."""
    body = load(zlib.decompress(data[len(MAGIC) + saved.DIGEST_BYTES :]))
    for name, array in arrays.items():
        if array is None:
            del body[f"0.{name}"]
        else:
            body[f"0.{name}"] = np.ascontiguousarray(array) if array.ndim else array
    return sealed(save(body))


def rows_of(data: bytes) -> Any:
    return unpack(data).routes[0].lane.arrays["row"]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {"row": row[:, :-1]},
        lambda row: {"row": row[:-1]},
        lambda row: {"row": np.vstack([row, row])},
        lambda row: {"row": row.astype(np.float32)},
        lambda row: {"row": row.T},
        lambda row: {"row": np.array(1.0)},
        lambda row: {"row": np.zeros((3, 0))},
        lambda row: {"row": np.where(row == row[0, 0], np.nan, row)},
        lambda row: {"row": np.where(row == row[0, 0], np.inf, row)},
        lambda row: {"row": None},
        lambda row: {"h": None},
        lambda row: {"h": np.array(1.0)},
        lambda row: {"peak": np.zeros(3)},
        lambda row: {"future": row},
    ],
)
def test_rows_of_another_shape_start_anew(data: bytes, change: Any) -> None:
    other = Pipeline([route_of(bundle_of("fitted", warm_up=20))])
    [problem] = other.restore(unpack(changed(data, **change(rows_of(data)))).routes)
    assert problem.startswith("source 'plant/+/data': ")
    new = Pipeline([route_of(bundle_of("fitted", warm_up=20))])
    assert feed(other, "abc", 40, 5) == feed(new, "abc", 40, 5)


def test_another_bundle_starts_anew_without_a_word(data: bytes) -> None:
    """What it was trained on is another, so nothing is wrong with the checkpoint."""
    other = Pipeline([route_of(bundle_of("fitted", warm_up=21))])
    assert other.restore(unpack(data).routes) == []
    assert other.routes[0].lane.streams == []


@pytest.mark.parametrize(
    "waiting",
    [{"x": 1}, {"x": {"oldest": 0, "newest": 0, "values": {"nobody": 1.0}}}, {"x": {"oldest": None}}],
)
def test_parts_that_fit_nothing_start_anew(waiting: dict[str, Any]) -> None:
    pipeline = Pipeline([route_of(bundle_of("fitted"), PARTS)])
    [route] = pipeline.snapshot()
    state = SavedState(routes=[route._replace(lane=route.lane._replace(waiting=waiting))])
    other = Pipeline([route_of(bundle_of("fitted"), PARTS)])
    assert len(other.restore(unpack(pack(state)).routes)) == 1
    assert other.routes[0].lane.snapshot().waiting == {}


def test_streams_without_rows_start_anew(data: bytes) -> None:
    [route] = unpack(data).routes
    for streams in (["x"], ["x"] * 3, [*route.lane.streams, "d"]):
        state = SavedState(routes=[route._replace(lane=route.lane._replace(streams=streams))])
        other = Pipeline([route_of(bundle_of("fitted", warm_up=20))])
        assert len(other.restore(unpack(pack(state)).routes)) == 1
        assert other.routes[0].lane.streams == []


def test_fewer_streams_than_the_checkpoint_has(data: bytes) -> None:
    other = Pipeline([route_of(bundle_of("fitted", warm_up=20), max_streams=2)])
    assert other.restore(unpack(data).routes) == []
    assert other.routes[0].lane.streams == ["plant/a/data", "plant/b/data"]
    feed(other, "abc", 40, 1)
    assert (other.scored, other.refused) == (2, {"stream_limit": 1})
