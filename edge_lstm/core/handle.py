"""Arrays that stay the same from call to call are handed over once: a kernel gets a handle in their place.

Unpacking an array from Python costs 0.1 us; the fifty of an engine cost more than a step. A handle is the address of
the same tuple as Numba holds it, so the arrays must outlive it, unmoved.
"""

from typing import Any

import numpy as np
from numba.core import types
from numba.core.registry import cpu_target

from edge_lstm.core.cache import config, intrinsic, kernel, overload, typeof
from edge_lstm.errors import StateError


class Handle:
    """Holds a tuple of arrays for kernels.

    Args:
        tables: what ``fetch`` is to give.
        like: a tuple of the type that the kernels are compiled for.

    Attributes:
        address: what kernels take; un-jitted, the tuple itself.

    Raises:
        StateError: an array has another dtype, number of dimensions or layout than in ``like``.
    """

    def __init__(self, tables: Any, like: Any) -> None:
        self.tables = tables
        if config.DISABLE_JIT:
            self.address = tables
            return
        kind = typeof(tables)
        if kind != typeof(like):
            message = f"arrays of another type than the kernels take: {kind}, expected {typeof(like)}"
            raise StateError(message)
        context = cpu_target.target_context
        self._room = np.zeros(context.get_abi_sizeof(context.get_value_type(kind)), np.uint8)
        self.address = self._room.ctypes.data
        _put(tables, self.address)

    def __reduce__(self) -> Any:
        raise TypeError("a handle is an address; make a new one for the copied arrays")


@intrinsic
def _store(typingctx: Any, tables: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[0], builder.inttoptr(args[1], args[0].type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(tables, address), codegen


@kernel
def _put(tables: Any, address: int) -> None:
    _store(tables, address)


def fetcher(like: Any) -> Any:
    """Return the function by which kernels turn an address into tables of the type of ``like``."""
    kind: Any = None if config.DISABLE_JIT else typeof(like)

    def fetch(address: Any) -> Any:
        return address

    @intrinsic
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], context.get_value_type(kind).as_pointer())
            return builder.load(pointer, align=1)

        return kind(address), codegen

    @overload(fetch)
    def _fetch(address: Any) -> Any:
        return lambda address: load(address)

    return fetch
