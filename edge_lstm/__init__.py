"""Watches sensor streams with a stateful, quantized LSTM, one sample at a time."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Detector", "__version__"]

if TYPE_CHECKING:
    from edge_lstm.detector import Detector


def __getattr__(name: str) -> Any:
    """Import the library face when it is asked for, so that the command line starts without the compiler."""
    if name == "Detector":
        from edge_lstm.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
