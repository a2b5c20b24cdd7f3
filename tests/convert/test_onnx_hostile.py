"""Broken and hostile files: each is refused in a sentence, without another exception and without much memory."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from edge_lstm.convert.formats.onnx.reader import read, recognizes
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError
from tests.convert.onnx_changes import CASES, whole
from tests.convert.onnx_files import random_model

FLIPS, SPLICES = 350, 250


def _written(path: Path, proto: Any) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def test_unchanged_is_read(path: Path) -> None:
    model = read(_written(path, whole()))
    assert [layer.hidden_size for layer in model.layers] == [6, 5]
    assert recognizes(path.read_bytes()[:64])


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, path: Path) -> None:
    change, sentence = CASES[name]
    proto = whole()
    change(proto)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=sentence):
        read(_written(path, proto))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 2**10  # KiB


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


BYTES = {
    "empty": b"",
    "zeros": bytes(1000),
    "text": b"#!/bin/sh\ntouch /tmp/owned\n",
    "zip": b"PK\x03\x04" + bytes(60),
    "pickle": b"\x80\x04cposix\nsystem\n(S'touch /tmp/owned'\ntR.",
    "a million empty nodes": _field(7, _field(1, b"") * 10**6),
    "a million tensors": _field(7, _field(5, b"") * 10**6),
    "a length beyond the file": b"\x3a\xff\xff\xff\xff\x7f",
    "an endless varint": b"\x08" + b"\xff" * 100,
    "groups": b"\x3b" * 500,
    "packed varints": _field(7, _field(5, _field(7, bytes(20 * 2**20)))),
    "one graph in another": b"",
    "names of 20 MiB": _field(2, b"a" * (20 * 2**20)),
    "bad UTF-8": _field(2, b"\xff\xfe"),
}
_deep = b""
for _ in range(400):  # attribute.g of a node of a graph
    _deep = _field(1, _field(5, _field(6, _deep)))
BYTES["one graph in another"] = _field(7, _deep)


@pytest.mark.parametrize("name", BYTES)
def test_bytes(name: str, path: Path) -> None:
    path.write_bytes(BYTES[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 2**10
    assert not Path("/tmp/owned").exists()


def test_every_truncation_is_refused(path: Path) -> None:
    content = whole().SerializeToString()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(WeightsError):
            read(path)


def test_not_a_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(WeightsError, match="file"):
            read(path)


def _shapes(model: Model) -> list[Any]:
    return [layer.weight_ih.shape for layer in model.layers] + [layer.weight_hh.shape for layer in model.layers]


def test_flipped_bits_and_spliced_bytes(path: Path) -> None:
    """What still can be read is a network of the same shape; nothing but WeightsError is raised."""
    original = whole().SerializeToString()
    other = random_model(4).SerializeToString()
    rng, accepted, unexpected = np.random.default_rng(0), 0, []
    for k in range(FLIPS + SPLICES):
        content = bytearray(original)
        if k < FLIPS:
            content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        else:
            at, size = rng.integers(len(content)), rng.integers(1, 40)
            start = rng.integers(len(other) - size)
            content[at : at + rng.integers(0, 40)] = other[start : start + size]
        path.write_bytes(content)
        try:
            model = read(path)
        except WeightsError:
            continue
        except BaseException as error:
            unexpected.append((k, repr(error)))
            continue
        accepted += 1
        if k < FLIPS:
            assert _shapes(model) == _shapes(read(_written(path, whole())))
    assert unexpected == []
    assert 0 < accepted < FLIPS
