"""Weights to int8, one scale a row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-30  # rows below it count as zero: their scale would not be a float32


def rows_to_int8(matrix: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a matrix as int8 in [-127, 127], (rows, columns), and a scale a row: symmetric, to nearest even."""
    largest = np.abs(matrix).max(axis=1)
    scale = np.where(largest > SMALLEST, largest / 127.0, 1.0).astype(np.float32)
    steps = np.rint(matrix / scale.astype(np.float64)[:, None])
    return np.clip(steps, -127, 127).astype(np.int8), scale


def quantize(tensors: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
    """Return a network's tensors as a bundle has them.

    Weights become int8 with a scale a row, biases float32.

    Args:
        tensors: by the bundle's names, without scales: ``weight_ih_l0``, ..., ``head.weight``, ``head.bias``.
    """
    bundle: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if "bias" in name:
            bundle[name] = tensor.astype(np.float32)
            continue
        bundle[name], bundle[f"{name}.scale"] = rows_to_int8(tensor)
    return bundle
