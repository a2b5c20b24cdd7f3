"""Weights to int8, one scale a row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def quantize(tensors: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
    """Return a network's tensors as a bundle has them.

    Weights become int8 in [-127, 127] with a float32 scale a row (symmetric, to nearest even); biases float32.

    Args:
        tensors: by the bundle's names, without scales: ``weight_ih_l0``, ..., ``head.weight``, ``head.bias``.
    """
    bundle: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if "bias" in name:
            bundle[name] = tensor.astype(np.float32)
            continue
        largest = np.abs(tensor).max(axis=1)
        scale = np.where(largest > 0.0, largest / 127.0, 1.0).astype(np.float32)
        steps = np.rint(tensor / scale.astype(np.float64)[:, None])
        bundle[name] = np.clip(steps, -127, 127).astype(np.int8)
        bundle[f"{name}.scale"] = scale
    return bundle
