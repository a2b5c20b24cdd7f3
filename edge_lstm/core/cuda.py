"""advance() on a CUDA device: the functions that the CPU runs, one thread a row (docs/numerics.md).

The table stays on the device; a batch is one launch. A row that stands in a batch many times takes its samples in
order, in one thread. Needs the extra ``cuda`` and a device, or Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``).
"""

from typing import Any

import numba.cuda
import numpy as np

from edge_lstm.core.advance import advance_row
from edge_lstm.core.table import F64, I64, Results, Scratch, State, Weights, new_results, new_scratch, new_state

cuda: Any = numba.cuda
THREADS = 64  # a block; the step is bound by registers and weight reads, not by occupancy


def advance(
    weights: Weights, state: State, rows: I64, first: I64, order: I64, t: F64, x: F64,
    budget_s: float, scratch: Scratch, results: Results,
) -> None:  # fmt: skip
    """Kernel: thread ``i`` takes the samples ``order[first[i]:first[i + 1]]`` into row ``rows[i]``."""
    i = cuda.grid(1)
    if i < rows.shape[0]:
        own = Scratch(
            scratch.u[i], scratch.q_in[i], scratch.q_h[i], scratch.out[i], scratch.x[i], scratch.e[i], scratch.blame[i]
        )
        for j in range(first[i], first[i + 1]):
            k = order[j]
            advance_row(weights, state, rows[i], t[k], x[k], budget_s, own, results, k)


kernel = cuda.jit(advance)


class CudaTable:
    """A state table on the device.

    Args:
        weights: what was trained.
        rows: how many streams.
        budget_s: each row may raise one alert in this many seconds by chance.
    """

    def __init__(self, weights: Weights, rows: int, budget_s: float) -> None:
        self.budget_s = budget_s
        self._channels = len(weights.head_bias) // 2
        self._weights = _to_device(weights)
        self._state = _to_device(new_state(rows, weights))
        one = new_scratch(weights)
        self._scratch = _to_device(Scratch._make(np.zeros((rows, *array.shape), array.dtype) for array in one))

    def advance(self, rows: I64, t: F64, x: F64) -> Results:
        """Take ``n`` samples into their rows, in order; the arguments of ``Engine.advance``."""
        n = len(rows)
        order = np.argsort(rows, kind="stable")
        unique, first = np.unique(rows[order], return_index=True)
        results = _to_device(new_results(n, self._channels))
        if n:
            blocks = -(-len(unique) // THREADS)
            kernel[blocks, THREADS](
                self._weights, self._state, unique, np.append(first, n), order,
                np.ascontiguousarray(t), np.ascontiguousarray(x), self.budget_s, self._scratch, results,
            )  # fmt: skip
        return Results._make(array.copy_to_host() for array in results)

    def snapshot(self) -> State:
        """Return a copy of the table in host memory."""
        return State._make(array.copy_to_host() for array in self._state)


def _to_device(arrays: Any) -> Any:
    """Return the same named tuple with its arrays on the device; numbers stay numbers."""
    return type(arrays)(*(cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in arrays))
