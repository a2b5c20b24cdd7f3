"""A bundle with something changed, sealed anew."""

from typing import Any

import msgspec

from edge_lstm.bundle import Bundle, Tensors, seal
from edge_lstm.bundle_format import MAX_COPIES
from edge_lstm.errors import WeightsError


def variant(bundle: Bundle, tensors: Tensors | None = None, **fields: Any) -> Bundle:
    """Return the bundle with other fields of its metadata, and some other tensors."""
    kept = {name: tensor for name, tensor in bundle.tensors.items() if not name.startswith("golden.")}
    metadata = msgspec.structs.replace(bundle.metadata, **fields)
    return seal(metadata, kept | (tensors or {}), bundle.tensors["golden.t"], bundle.tensors["golden.x"])


def stateful(bundle: Bundle) -> Bundle:
    """Return the bundle with one state that never starts anew."""
    return variant(bundle, window=0, copies=1)


def whole_turns(window: int, copies: int) -> tuple[int, int]:
    """Return window and copies, so that a copy starts anew every few samples: a little longer, with fewer copies."""
    every = -(-window // max(1, min(copies, window)))
    copies = -(-window // every)
    return every * copies, copies


def staggered(bundle: Bundle, window: int, copies: int) -> Bundle:
    """Return the bundle with copies of the state that start anew in turn; the window becomes whole turns of them."""
    window, copies = whole_turns(window, copies)
    return variant(bundle, window=window, copies=copies)


def exact(bundle: Bundle, window: int) -> Bundle:
    """Return the bundle run over the exact window for every sample, by as many copies as it has samples.

    Raises:
        WeightsError: the window is too long for that.
    """
    if window > MAX_COPIES:
        message = f"a window of {window} samples, expected at most {MAX_COPIES} to run every one of them"
        raise WeightsError(message)
    return variant(bundle, window=window, copies=window)
