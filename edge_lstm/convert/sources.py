"""Which importer reads a file."""

from importlib import import_module
from pathlib import Path
from typing import Any

from edge_lstm.convert.files import content
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError

IMPORTERS = {
    ".pt": "pytorch", ".pth": "pytorch", ".safetensors": "pytorch",
    ".onnx": "onnx",
    ".keras": "keras", ".h5": "keras", ".hdf5": "keras",
    ".tflite": "litert",
    ".json": "rtneural",
}  # fmt: skip


def importer_of(path: Path) -> str:
    """Return the name of the importer for a file, by its suffix.

    Raises:
        WeightsError: there is none.
    """
    name = IMPORTERS.get(path.suffix.lower())
    if name is None:
        found = path.suffix or "a file without a suffix"
        message = f"{path}: no importer for {found}; known are {', '.join(IMPORTERS)}"
        raise WeightsError(message)
    return name


def read_model(path: Path, layers: str = "") -> Model:
    """Read a model, whatever tool wrote it.

    Args:
        path: of the file; its suffix says what it is.
        layers: of a PyTorch state_dict, the order and activations of its layers: "fc1:relu,fc2".

    Raises:
        WeightsError: it is not a model that can be streamed, or not all of it was understood.
    """
    name = importer_of(path)
    content(path)  # said in the same words for all: it is not there, or too large
    if layers and name not in ("pytorch", "rtneural"):
        message = f"{path}: --layers is for a PyTorch state_dict; this format says itself what its layers are"
        raise WeightsError(message)
    module: Any = import_module(f"edge_lstm.convert.formats.{name}.reader")
    model: Model = module.read(path, layers) if layers else module.read(path)
    return model
