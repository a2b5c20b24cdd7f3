"""A pickle read as data: the few opcodes that a PyTorch state_dict consists of, and nothing is executed.

Python's own unpickler calls what the file names. This one walks through the opcodes that ``pickletools`` gives, on a
stack of its own, and builds strings, numbers, tuples, lists, dicts, and records of what is a tensor in PyTorch.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from edge_lstm.convert.formats.pytorch.records import (
    CALLS,
    SAVE,
    SCRIPT_OBJECT,
    STORAGES,
    Name,
    ScriptRecord,
    Storage,
    known,
    require,
)
from edge_lstm.errors import WeightsError

MAX_OPCODES = 1_000_000  # about 60 per tensor


@dataclass(eq=False)
class Machine:
    """Where one pickle stands.

    Attributes:
        marks: the stacks below the open marks.
        storages: by key, as they are met.
    """

    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)

    def above_mark(self) -> list[Any]:
        """Return what was pushed since the last mark, and take it off."""
        items = self.stack
        self.stack = self.marks.pop()
        return items


def _push(machine: Machine, value: Any) -> None:
    machine.stack.append(value)


def _mark(machine: Machine, _: Any) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _tuple(machine: Machine, _: Any) -> None:
    items = tuple(machine.above_mark())
    machine.stack.append(items)


def _tuple_of(count: int) -> Callable[[Machine, Any], None]:
    def gather(machine: Machine, _: Any) -> None:
        require(len(machine.stack) >= count, "the pickle is damaged: a tuple of what is not there")
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return gather


def _extend(machine: Machine, items: list[Any]) -> None:
    require(type(machine.stack[-1]) is list, "the pickle is damaged: it appends to what is not a list")
    machine.stack[-1].extend(items)


def _append(machine: Machine, _: Any) -> None:
    _extend(machine, [machine.stack.pop()])


def _appends(machine: Machine, _: Any) -> None:
    _extend(machine, machine.above_mark())


def _set(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    require(type(target) is dict and len(items) % 2 == 0, "the pickle is damaged: it sets items of what is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Only these have a hash that takes no time, whatever the file nests.
        require(type(key) in (str, int), f"the pickle: a key that is a {type(key).__name__}, expected a name")
        require(key not in target, f"the pickle: {str(key)[:60]} is there twice")
        target[key] = value


def _set_item(machine: Machine, _: Any) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set(machine, [key, value])


def _set_items(machine: Machine, _: Any) -> None:
    _set(machine, machine.above_mark())


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _memoize(machine: Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _get(machine: Machine, index: int) -> None:
    machine.stack.append(machine.memo[index])


def _global(machine: Machine, argument: str) -> None:
    machine.stack.append(known(*argument.split(" ", 1)))


def _stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    require(type(name) is str and type(module) is str, "the pickle is damaged: a global without a name")
    machine.stack.append(known(module, name))


def _reduce(machine: Machine, _: Any) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    require(type(function) is Name and function in CALLS, f"the pickle: it calls what is not a function; {SAVE}")
    require(type(arguments) is tuple, "the pickle is damaged: arguments that are not a tuple")
    machine.stack.append(CALLS[function](*arguments))


def _new_object(machine: Machine, _: Any) -> None:
    arguments, kind = machine.stack.pop(), machine.stack.pop()
    require(kind == SCRIPT_OBJECT and arguments == (), f"the pickle: it makes an object of an unknown kind; {SAVE}")
    machine.stack.append(ScriptRecord())


def _build(machine: Machine, _: Any) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    if type(target) is ScriptRecord:
        named = type(state) is tuple and len(state) == 2 and type(state[1]) is str
        require(named and not target.type_name, "the pickle: a ScriptObject whose state is not known here")
        target.state, target.type_name = state
        return
    # The versions of the modules, which a state_dict carries as an attribute.
    versions = type(target) is dict and type(state) is dict and set(state) <= {"_metadata"}
    require(versions, f"the pickle: it sets attributes of a {type(target).__name__}; {SAVE}")


def _storage(machine: Machine, _: Any) -> None:
    what = machine.stack.pop()
    require(type(what) is tuple and len(what) in (5, 6) and what[0] == "storage", "the pickle: not a storage")
    kind, key, _, size = what[1:5]
    require(type(kind) is Name and kind.name in STORAGES, "the pickle: a storage of an unknown type")
    require(type(key) is str and type(size) is int and 0 <= size < 2**40, "the pickle: a storage without a size")
    require(what[5:] in ((), (None,)), "the pickle: a view of a storage, as PyTorch wrote them before 0.4")
    storage = machine.storages.setdefault(key, Storage(STORAGES[kind.name], size))
    same = (storage.dtype, storage.size) == (STORAGES[kind.name], size)
    require(same, f"the pickle: storage {key[:60]} has two types or sizes")
    machine.stack.append(storage)


def _nothing(machine: Machine, argument: Any) -> None:
    del machine, argument


def _constant(make: Callable[[], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


OPCODES: dict[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"), _push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_TUPLE": _constant(tuple),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "MARK": _mark,
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "MEMOIZE": _memoize,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _new_object,
    "BUILD": _build,
    "BINPERSID": _storage,
}


def load(stream: BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Return what one pickle describes and its storages by key, still empty; the stream stands behind it then.

    Raises:
        WeightsError: an opcode or a name that is not part of a state_dict, or bytes that are no pickle.
    """
    machine = Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            require(count < MAX_OPCODES, f"the pickle: more than {MAX_OPCODES} opcodes")
            require(opcode.name in OPCODES, f"the pickle: opcode {opcode.name} is not part of a state_dict; {SAVE}")
            OPCODES[opcode.name](machine, argument)
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle fails in as many ways as there are opcodes
        message = f"the pickle is damaged: {type(error).__name__}"
        raise WeightsError(message) from None
    require(len(machine.stack) == 1 and not machine.marks, "the pickle is damaged: it leaves more than one object")
    return machine.stack.pop(), machine.storages
