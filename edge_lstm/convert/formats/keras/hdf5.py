"""HDF5 as Keras writes it, as plain arrays and texts.

A process of its own reads it: HDF5's C library can hang or crash on damaged bytes, whatever Python does around it.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load as load_safetensors

from edge_lstm.errors import WeightsError

Array = NDArray[Any]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
CHILD = "edge_lstm.convert.formats.keras.hdf5_child"
REFUSED = 3  # the child's exit code when it says why
TIMEOUT_S = 300  # should the system not keep the child's own limits


@dataclass
class Contents:
    """What a file holds, by path without a leading slash; the root is ''."""

    arrays: dict[str, Array] = field(default_factory=dict)
    texts: dict[str, dict[str, str | list[str]]] = field(default_factory=dict)

    def within(self, place: str) -> "Contents":
        """Return what lies under a group, by path from there."""
        cut = len(place) + 1
        return Contents(
            {path[cut:]: array for path, array in self.arrays.items() if path.startswith(f"{place}/")},
            {path[cut:]: texts for path, texts in self.texts.items() if f"{path}/".startswith(f"{place}/")},
        )

    def children(self, place: str) -> list[str]:
        """Return the names of the groups right under a group."""
        return [path[len(place) + 1 :] for path in self.texts if path and path.rpartition("/")[0] == place]

    def text(self, place: str, name: str) -> str | None:
        """Return one text, or None; of several, none."""
        found = self.texts.get(place, {}).get(name)
        return found if isinstance(found, str) else None

    def names(self, place: str, name: str) -> list[str] | None:
        """Return a list of texts, or None."""
        found = self.texts.get(place, {}).get(name)
        return [found] if isinstance(found, str) else found


def load(content: bytes) -> Contents:
    """Return every array of an HDF5 file, and the texts that Keras describes them with.

    Raises:
        WeightsError: the file is damaged, or holds something that Keras does not write.
    """
    if importlib.util.find_spec("h5py") is None:
        raise WeightsError("h5py is not installed, which reads Keras' files: pip install h5py")
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", CHILD],
            input=content,
            capture_output=True,
            timeout=TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"damaged: reading its HDF5 does not come to an end ({type(error).__name__}); save the model again"
        raise WeightsError(message) from None
    if done.returncode == REFUSED:
        raise WeightsError(done.stdout.decode(errors="replace"))
    if done.returncode != 0:
        message = f"damaged: HDF5's library gave up on it (exit code {done.returncode}); save the model again"
        raise WeightsError(message)
    return _unpacked(done.stdout)


def _unpacked(output: bytes) -> Contents:
    """Return what the child wrote."""
    try:
        header = json.loads(output[8 : 8 + int.from_bytes(output[:8], "little")])
        return Contents(load_safetensors(output), json.loads(header["__metadata__"]["texts"]))
    except Exception as error:  # safetensors raises several types of its own
        message = f"damaged: what HDF5's library made of it can't be read: {error}"
        raise WeightsError(message) from None
