"""The bundle reader: files that are nearly bundles, damaged on the outside or changed within."""

import json
from random import Random
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import save

from edge_lstm.bundle import KEY, Bundle, read, write
from edge_lstm.errors import WeightsError
from tests.bundles import random_bundle, random_layers_bundle
from tests.fuzz import mutate
from tests.fuzz.scratch import scratch

VALUES = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 1e15, 5e-324, 127, -128)
TYPES = (np.float64, np.float32, np.int16, np.uint8, np.bool_)


class Bundles:
    """Content of a file that says it is a bundle."""

    refusal = WeightsError

    def __init__(self) -> None:
        self._path = scratch() / "case"
        made = (
            random_bundle(channels=2, hidden=3, seed=1),
            random_bundle("adaptive", hidden=4, layers=2, bits=8, seed=2),
            random_layers_bundle(3, channels=2),
        )
        self._contents = [self._content(bundle) for bundle in made]
        self._parts = [_parts(bundle) for bundle in made]

    def _content(self, bundle: Bundle) -> bytes:
        write(bundle, self._path)
        return self._path.read_bytes()

    def case(self, rng: Random) -> bytes:
        """Return a file with damaged bytes, header, document or tensors."""
        kind = rng.randrange(4)
        if kind == 0:
            return mutate.bytes_of(rng, rng.choice(self._contents), self._contents)
        if kind == 1:
            return _with_header(rng, rng.choice(self._contents))
        document, tensors = rng.choice(self._parts)
        if kind == 2:
            document = mutate.tree_of(rng, document, rng.choice((1, 1, 2, 3)))
        else:
            tensors = _changed(rng, tensors)
        return save(tensors, {KEY: json.dumps(document)})

    def run(self, case: bytes) -> str:
        """Read it as at a start, golden run and all."""
        self._path.write_bytes(case)
        read(self._path)
        return "a bundle"


def _parts(bundle: Bundle) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return document and tensors, without the checksum that would refuse any change."""
    document = json.loads(msgspec.json.encode(bundle.metadata))
    del document["sha256"]
    return document, bundle.tensors


def _with_header(rng: Random, content: bytes) -> bytes:
    """Change the tree of the header: names, types, shapes, places."""
    size = int.from_bytes(content[:8], "little")
    header = mutate.tree_of(rng, json.loads(content[8 : 8 + size]), rng.choice((1, 1, 2)))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _changed(rng: Random, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Change a tensor: a value of it, its type, its shape, its name."""
    tensors = dict(tensors)
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    kind = rng.randrange(5)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[rng.choice(mutate.TEXTS).replace("\x00", "") or "x"] = tensors.pop(name)
    elif kind == 2:
        tensors[name] = tensor.astype(rng.choice(TYPES), casting="unsafe")
    elif kind == 3:
        shapes = (tensor[:1], tensor.T, tensor[None], tensor.ravel(), tensor[:0])
        tensors[name] = np.ascontiguousarray(rng.choice(shapes))
    else:
        tensors[name] = _poked(rng, tensor)
    return tensors


def _poked(rng: Random, tensor: np.ndarray) -> np.ndarray:
    """Put an odd value anywhere."""
    values = VALUES if tensor.dtype.kind == "f" else (127, -128, 0, 1)
    changed = tensor.copy()
    with np.errstate(all="ignore"):
        changed.flat[rng.randrange(changed.size)] = rng.choice(values)
    return changed
