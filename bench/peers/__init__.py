"""Other libraries' LSTM step, one file each. Those that are not installed are left out, and said to be."""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from bench.peers.lstm import Peer

FILES = {
    "numpy_float": ("NumpyFloat",),
    "onnx_runtime": ("OrtFloat", "OrtInt8"),
    "litert": ("LiteRtLstm", "LiteRtCell"),
    "pytorch": ("TorchCell", "TorchLstm", "TorchInt8"),
}
LIBRARIES = ("ai-edge-litert", "numpy", "onnxruntime", "torch")


def versions() -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def installed() -> list[type[Peer]]:
    """Return the classes of peers that can be run here."""
    found = []
    for file, classes in FILES.items():
        try:
            module = import_module(f"bench.peers.{file}")
        except ImportError as error:
            print(f"without bench.peers.{file}: {error}", file=sys.stderr)
            continue
        found += [getattr(module, name) for name in classes]
    return found
