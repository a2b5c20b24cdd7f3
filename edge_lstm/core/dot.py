"""The integer dot product, one implementation per instruction set. Exact, so any order of summation gives the same."""

import numpy as np

from edge_lstm.core.cache import jit
from edge_lstm.core.table import I8, I16


@jit
def dot(weight: I8, activation: I16, n: int) -> np.int32:
    """Return ``sum(weight[k] * activation[k])`` over the first ``n``, in int32.

    The bound ``n * 127 * 32767 < 2**31`` is checked when the bundle is read. The loop is plain so that LLVM
    vectorizes it for whatever the CPU has.
    """
    total = np.int32(0)
    for k in range(n):
        total += np.int32(weight[k]) * np.int32(activation[k])
    return total
