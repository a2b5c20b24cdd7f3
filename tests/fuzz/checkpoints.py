"""The readers of saved state: a detector's file, and a daemon's checkpoint with a pipeline that goes on from it."""

import hashlib
import json
import zlib
from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from edge_lstm.detector import Detector
from edge_lstm.errors import StateError
from edge_lstm.lane import Settings
from edge_lstm.messages import Message
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.stages.decode import Source
from tests.bundles import random_bundle, random_stream
from tests.fuzz import mutate
from tests.fuzz.scratch import scratch

DETECTOR, DAEMON = b"\x00", b"\x01"
VALUES = (np.nan, np.inf, -1.0, 1e300, -1e300, 5e-324, 1e18)
DIGEST_BYTES = 32


class Checkpoints:
    """Content of a state file; the first byte says whose."""

    refusal = StateError

    def __init__(self) -> None:
        self._path = scratch() / "case"
        self._bundle = random_bundle(channels=2, hidden=3, warm_up=5)
        self._detector = Detector(self._bundle)
        self._detector.score_many(*reversed(random_stream(40, 2)))
        self._detector.save_state(self._path)
        self._corpus = [DETECTOR + self._path.read_bytes()]
        self._saved: Any = import_module("edge_lstm.saved") if find_spec("edge_lstm.saved") else None
        if self._saved:
            self._pipeline = self._new_pipeline()
            for t, (a, b) in zip(*(array.tolist() for array in random_stream(40, 2)), strict=True):
                for name in "xyz":
                    self._pipeline.handle([Message(f"s/{name}", json.dumps({"t": t, "c0": a, "c1": b}).encode())])
            self._pipeline.handle([Message("s/w", b'{"t": 1, "c0": 2}')])
            state = self._saved.SavedState(
                serial=7, written=1.7e9, filters=["s/+"], pending={1: b"digest"}, routes=self._pipeline.snapshot()
            )
            self._corpus.append(DAEMON + self._saved.pack(state))

    def _new_pipeline(self) -> Pipeline:
        return Pipeline([Route(Source("s/+"), self._bundle, Settings(window_s=5.0, max_streams=8), Outputs())])

    def case(self, rng: Random) -> bytes:
        """Return a state with damaged bytes, or with odd content under an honest checksum."""
        whole = rng.choice(self._corpus)
        if rng.random() < 0.4:
            return whole[:1] + mutate.bytes_of(rng, whole[1:], self._corpus)
        return whole[:1] + (self._forged(rng, whole[1:]) if whole[:1] == DAEMON else _odd(rng, whole[1:]))

    def _forged(self, rng: Random, content: bytes) -> bytes:
        """Change what is inside a checkpoint, and sign it as ours."""
        start = len(self._saved.MAGIC) + DIGEST_BYTES
        inside = zlib.decompress(content[start:])
        inside = mutate.bytes_of(rng, inside, self._corpus) if rng.random() < 0.3 else _odd(rng, inside)
        body = zlib.compress(inside, 1)
        return self._saved.MAGIC + hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() + body

    def run(self, case: bytes) -> str:
        """Read it, and go on from it."""
        if case[:1] == DETECTOR or self._saved is None:
            self._path.write_bytes(case[1:])
            self._detector.load_state(self._path)
            self._detector.reset()
            return "a detector's state"
        state = self._saved.unpack(case[1:])
        pipeline = self._new_pipeline()
        problems = pipeline.restore(state.routes)
        for problem in problems:
            assert problem.isprintable(), problem
        samples = [Message(f"s/{name}", b'{"t": 1700000100, "c0": 1, "c1": 2}') for name in "xyzuvw"]
        pipeline.resume(1.7e9)
        pipeline.handle([*samples, *samples], 10.0, 1.7e9)
        pipeline.watch(1e6, 1.7e9)
        pipeline.close(1.7e9)
        for array in pipeline.routes[0].lane.engine.state:
            assert np.isfinite(array).all()
        return "refused in part" if problems else "a state"


def _odd(rng: Random, content: bytes) -> bytes:
    """Change an array, or the JSON document in one."""
    try:
        arrays = load(content)
    except Exception:
        return content
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    name = rng.choice(sorted(arrays))
    if "document" in arrays and rng.random() < 0.5:
        document = mutate.tree_of(rng, json.loads(arrays["document"].tobytes()), rng.choice((1, 1, 2, 3)))
        arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    else:
        kind = rng.randrange(4)
        array = arrays.pop(name)
        if kind == 0:
            arrays[rng.choice((*sorted(arrays), "x", "0.row", "1.row", "row"))] = array
        elif kind == 1:
            arrays[name] = array.astype(rng.choice((np.float64, np.float32, np.uint8)), casting="unsafe")
        elif kind == 2:
            arrays[name] = np.ascontiguousarray(rng.choice((array[:1], array.T, array[None], array.ravel(), array[:0])))
        else:
            changed = array.copy()
            if changed.size and changed.dtype.kind == "f":
                with np.errstate(all="ignore"):
                    changed.flat[rng.randrange(changed.size)] = rng.choice(VALUES)
            arrays[name] = changed
    return save(arrays, header.get("__metadata__"))
