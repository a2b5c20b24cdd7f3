"""Keras models: .keras, whole-model .h5, and weights alone (.weights.h5), read with h5py; Keras is not needed."""

import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_lstm.convert import files
from edge_lstm.convert.checks import check
from edge_lstm.convert.formats.keras import variables as keras_variables
from edge_lstm.convert.formats.keras import weights_only as keras_weights_only
from edge_lstm.convert.formats.keras.builder import Builder
from edge_lstm.convert.formats.keras.chain import Chain, chain
from edge_lstm.convert.formats.keras.hdf5 import SIGNATURE, Contents, load
from edge_lstm.convert.formats.keras.layers import apply
from edge_lstm.convert.formats.keras.settings import refuse
from edge_lstm.convert.formats.keras.variables import Variables
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError

SUFFIXES = (".keras", ".h5", ".hdf5")
_ZIP = b"PK\x03\x04"
_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
_MAX_JSON_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Source:
    """A file, taken apart.

    Attributes:
        words: what it is.
        version: of the Keras that wrote it, "" if it does not say.
        config: the model's, None in a file of weights alone.
    """

    words: str
    version: str
    config: Any
    weights: Contents

    @property
    def major(self) -> int:
        """The version's first number; 3 for weights alone, which only Keras 3 and 2.12+ write without a version."""
        match = re.match(r"(\d{1,4})\.", self.version)
        if match:
            return int(match[1])
        return refuse("the file does not say which Keras wrote it") if self.config is not None else 3


def recognizes(head: bytes) -> bool:
    """Tell whether a file begins as HDF5 does, or as a .keras archive."""
    return head.startswith(SIGNATURE) or (head.startswith(_ZIP) and head[30:].startswith(tuple(_encoded(_MEMBERS))))


def _encoded(names: tuple[str, ...]) -> list[bytes]:
    return [name.encode() for name in names]


def read(path: Path) -> Model:
    """Read a Keras model.

    Args:
        path: a .keras archive, a whole model in HDF5, or weights alone.

    Raises:
        WeightsError: it is none of these, is damaged, or holds what can't be streamed; says which layer.
    """
    found = source(path)
    if found.major not in (2, 3):
        refuse(f"written by Keras {found.version}, expected 2 or 3; load and save the model once in Keras 2")
    layers, variables = _taken_apart(found)
    _, rows, inputs = layers.shape or (None, None, None)
    builder = Builder(found.major, inputs)
    for layer in layers.layers:
        apply(builder, layer, variables[layer.name])
    if found.config is None:
        builder.notes.append(keras_weights_only.ASSUMED)
    return check(builder.finished(found.words, rows or 0))


def _taken_apart(found: Source) -> tuple[Chain, dict[str, Variables]]:
    """Return the layers and their arrays, whichever the layout."""
    numbered = keras_variables.container(found.weights) is not None
    if found.config is not None:
        layers = chain(found.config)
    else:
        layers = keras_weights_only.by_place(found.weights) if numbered else keras_weights_only.by_name(found.weights)
    sort = keras_variables.by_place if numbered else keras_variables.by_name
    return layers, sort(found.weights, layers.stored)


def source(path: Path) -> Source:
    """Take a file apart, without looking at its layers.

    Raises:
        WeightsError: it is not a Keras file, or damaged.
    """
    content = files.content(path)
    if content.startswith(_ZIP):
        return _archive(content)
    if content.startswith(SIGNATURE):
        return _hdf5(content)
    refuse("neither a .keras archive nor HDF5; save the model with model.save('model.keras')")


def _hdf5(content: bytes) -> Source:
    contents = load(content)
    config = contents.text("", "model_config")
    if config is None:
        version = contents.text("", "keras_version") or ""
        return Source(f"Keras {version} weights (.h5)".replace("  ", " "), version, None, contents)
    if "model_weights" not in contents.texts:
        refuse("the file has a model_config, but no group of model_weights; save the model again")
    aside = [name for name in contents.arrays if not name.startswith("model_weights/")]
    if aside:
        refuse(f"the file has arrays outside of its model_weights: {aside[:8]}")
    version = contents.text("", "keras_version") or ""
    return Source(
        f"Keras {version} model (.h5)", version, _json(config, "model_config"), contents.within("model_weights")
    )


def _archive(content: bytes) -> Source:
    config, metadata, weights = _members(content)
    told = _json(metadata, "metadata.json")
    version = told.get("keras_version") if isinstance(told, dict) else None
    if not isinstance(version, str):
        refuse("metadata.json does not say which Keras wrote the file")
    return Source(f"Keras {version} model (.keras)", version, _json(config, "config.json"), load(weights))


def _members(content: bytes) -> list[bytes]:
    """Return the three members of a .keras archive; nothing is written anywhere, whatever their names."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = sorted(entry.filename for entry in entries)
            if names != list(_MEMBERS):
                refuse(f"the archive has members {names[:8]}, expected {list(_MEMBERS)}; save the model again in Keras")
            if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content) for entry in entries):
                refuse("the archive is compressed, which Keras does not do; save the model again in Keras")
            return [archive.read(name) for name in _MEMBERS]
    except WeightsError:
        raise
    except Exception as error:  # zipfile raises several types of its own
        refuse(f"damaged: {error!s:.200}; save the model again")


def _json(text: str | bytes, where: str) -> Any:
    if len(text) > _MAX_JSON_BYTES:
        refuse(f"{where} has {len(text)} bytes, expected at most {_MAX_JSON_BYTES}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        refuse(f"{where} is not JSON; save the model again")
