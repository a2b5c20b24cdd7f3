"""A state table on a CUDA device (docs/numerics.md).

The table stays on the device; a batch is one launch, and only samples go up and results come down. Needs the extra
``cuda`` and a device, or Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``).
"""

from typing import Any

import numba.cuda
import numpy as np
from numpy.typing import NDArray

from edge_lstm.core.cpu_kernels import DONE, MISSHAPEN
from edge_lstm.core.cuda_kernels import Batch, advance_kernel, config, silent
from edge_lstm.core.cuda_layers import advance_layers
from edge_lstm.core.cuda_pack import pack, plan
from edge_lstm.core.layers import new_rooms
from edge_lstm.core.layers import pack as pack_layers
from edge_lstm.core.network import as_layers
from edge_lstm.core.table import (
    END,
    F64,
    I64,
    START,
    START_END,
    Network,
    Results,
    State,
    Weights,
    new_results,
    new_scratch,
    new_state,
)

cuda: Any = numba.cuda
THREADS = 64  # a block: as many as a tile has rows, for the judge has one thread a row
BLOCKS = 4  # a multiprocessor, what the registers of the judge allow


def schedule(rows: I64) -> tuple[I64, I64, I64, I64]:
    """Return ``rows``, ``first``, ``length`` and ``order`` of ``Batch``."""
    n = len(rows)
    if n == 0 or (np.diff(rows) > 0).all():
        return rows, np.arange(n), np.ones(n, np.int64), np.arange(n)
    order = np.argsort(rows, kind="stable")
    unique, first, length = np.unique(rows[order], return_index=True, return_counts=True)
    longest = np.argsort(-length, kind="stable")
    return unique[longest], first[longest], length[longest], order


class Tiles:
    """Launches the kernel for a plain network: a block takes tiles of rows."""

    def __init__(self, weights: Weights, threads: int, resident: bool) -> None:
        assert isinstance(weights.network, Network)
        network = pack(weights.network)
        self._threads = threads
        self._plan = plan(network, threads, resident)
        self._kernel = advance_kernel(self._plan.resident)
        self._network = _up(network)

    def launch(self, groups: int, blocks: int, tables: Any, now: float, budget_s: float) -> None:
        """Take the batch of ``groups`` rows; ``tables`` are norms, state, batch, scratch and results."""
        norms, state, batch, scratch, results = tables
        blocks = max(1, min(-(-groups // self._plan.tile), blocks))
        _at(self._kernel, blocks, self._threads, self._plan.shared_bytes)(
            self._network, norms, state, batch, groups, self._plan.tile, now, budget_s, scratch, results
        )


class Rows:
    """Launches the kernel for a network of any layers, or copies of its state: a thread takes a row."""

    def __init__(self, weights: Weights, threads: int, blocks: int) -> None:
        layers = as_layers(weights.network)
        self._threads = threads
        self._network = _up(pack_layers(layers))
        self._rooms = _up(new_rooms(layers, blocks * threads))

    def launch(self, groups: int, blocks: int, tables: Any, now: float, budget_s: float) -> None:
        """Do what that of ``Tiles`` does."""
        norms, state, batch, scratch, results = tables
        blocks = max(1, min(-(-groups // self._threads), blocks))
        _at(advance_layers, blocks, self._threads, 0)(
            self._network, norms, state, batch, groups, now, budget_s, scratch, self._rooms, results
        )


class CudaTable:
    """A state table on the device; to ``Engine`` the same as ``CpuTable``.

    Args:
        weights: what was trained.
        capacity: rows to start with.
        budget_s: each row may raise one alert in this many seconds by chance.
        threads: of a block.
        resident: whether the weights may stand in shared memory.
    """

    def __init__(
        self, weights: Weights, capacity: int, budget_s: float, threads: int = THREADS, resident: bool = True
    ) -> None:
        self.weights = weights
        self.budget_s = budget_s
        self._threads = threads
        self._blocks = BLOCKS * (1 if config.ENABLE_CUDASIM else cuda.get_current_device().MULTIPROCESSOR_COUNT)
        tiled = isinstance(weights.network, Network) and weights.norms.window == 0
        self._program = Tiles(weights, threads, resident) if tiled else Rows(weights, threads, self._blocks)
        self._norms = _up(weights.norms)
        self._state = _up(new_state(capacity, weights))
        self._scratch = _up(new_scratch(self._blocks * threads, weights))
        self._reserve(1)

    @property
    def capacity(self) -> int:
        """Rows in the table."""
        return int(self._state.row.shape[0])

    def _reserve(self, n: int) -> None:
        """Make room for the samples and results of calls of ``n`` samples."""
        results = new_results(n, len(self.weights.norms.mean))
        rows, first, length, order = (np.zeros(n, np.int64) for _ in range(4))
        batch = Batch(rows, first, length, order, np.zeros(n), np.zeros(results.cause.shape[:2]))
        self._batch, self._results = _up(batch), _up(results)
        self._host_batch, self._host = _pinned(batch), _pinned(results)

    @property
    def state(self) -> State:
        """A copy of the table."""
        return State._make(self.read(name, 0, self.capacity) for name in State._fields)

    def advance(self, rows: I64, t: F64, x: F64, now: float = 0.0) -> int:
        """Take ``n`` samples into their rows, in order; return what the CPU's kernel would."""
        n = len(rows)
        if "".join(a.dtype.str for a in (rows, t, x)) != "<i8<f8<f8" or (
            (rows.shape, t.shape, x.shape) != ((n,), (n,), (n, len(self.weights.norms.mean)))
        ):
            return MISSHAPEN
        beyond = (rows < 0) | (rows >= self.capacity)
        if beyond.any():
            return int(beyond.argmax())
        if n > len(self._host.outcome):
            self._reserve(max(n, 2 * len(self._host.outcome)))
        if n:
            self._launch(self._bring(Batch(*schedule(rows), t, x)), now)
        return DONE

    def compile(self) -> None:
        """Compile everything that ``advance`` and ``silent`` will run."""
        self._launch(0, 0.0)
        _at(silent, 1, 1, 0)(self._state, 0, 0.0, 0.0, cuda.device_array(1, np.int8))

    def _launch(self, groups: int, now: float) -> None:
        """Run the kernel on the samples that stand on the device, of so many rows; an int would compile it anew."""
        tables = self._norms, self._state, self._batch, self._scratch, self._results
        self._program.launch(groups, self._blocks, tables, float(now), float(self.budget_s))

    def _bring(self, batch: Batch) -> int:
        """Bring the samples up; return how many rows they have."""
        for theirs, pinned, ours in zip(self._batch, self._host_batch, batch, strict=True):
            pinned[: len(ours)] = ours
            theirs[: len(ours)].copy_to_device(pinned[: len(ours)])
        return len(batch.rows)

    def results(self, n: int) -> Results:
        """Bring the results of the last call's ``n`` samples down; of alerts only if there are any."""
        host = self._host.head(n)
        theirs, ours = self._results._asdict(), host._asdict()
        for late in (False, True):
            if late and not np.isin(host.phase, (START, END, START_END)).any():
                break
            for name, array in ours.items():
                if n and (name in ("event", "cause")) == late:
                    theirs[name][:n].copy_to_host(array)
        return host

    def silent(self, used: int, now: float, shortest_s: float) -> I64:
        """Return the rows among the first ``used`` that have newly stopped talking."""
        if not used:
            return np.zeros(0, np.int64)
        found = cuda.device_array(used, np.int8)
        _at(silent, -(-used // self._threads), self._threads, 0)(
            self._state, used, float(now), float(shortest_s), found
        )
        return found.copy_to_host().nonzero()[0]

    def grow(self, capacity: int) -> None:
        """Make the table ``capacity`` rows long; rows keep their places."""
        larger, old = _up(new_state(capacity, self.weights)), self.capacity
        for new, array in zip(larger, self._state, strict=True):
            if array.size:
                new[:old].copy_to_device(array)
        self._state = larger

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a copy of rows ``start`` to ``stop`` of an array of ``State``."""
        array = getattr(self._state, name)
        host = np.zeros((stop - start, *array.shape[1:]), array.dtype)
        if host.size:
            array[start:stop].copy_to_host(host)
        return host

    def write(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Set the rows of an array of ``State`` from ``start`` on."""
        if values.size:
            getattr(self._state, name)[start : start + len(values)].copy_to_device(np.array(values))


def _at(kernel: Any, blocks: int, threads: int, shared_bytes: int) -> Any:
    """Return the kernel, to be launched so; few rows are no reason to be warned of an idle device."""
    before, config.CUDA_LOW_OCCUPANCY_WARNINGS = config.CUDA_LOW_OCCUPANCY_WARNINGS, 0
    try:
        return kernel[blocks, threads, 0, shared_bytes]
    finally:
        config.CUDA_LOW_OCCUPANCY_WARNINGS = before  # other users of Numba in this process keep theirs


def _up(arrays: Any) -> Any:
    """Return the same named tuple with its arrays on the device; numbers stay numbers."""
    return type(arrays)(*(cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in arrays))


def _pinned(arrays: Any) -> Any:
    """Return a named tuple of arrays like these in memory that a device reaches by itself, zeroed."""
    pinned = type(arrays)(*(cuda.pinned_array(a.shape, a.dtype) for a in arrays))
    for array in pinned:
        array[:] = 0
    return pinned
