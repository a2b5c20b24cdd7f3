"""What a disk may hold after the power went: from system calls of a process, every state of a folder at every moment.

The disk promises what POSIX does and no more: the content of a file is there once ``fsync`` of it has returned, names
once ``fsync`` of their folder has. Before that, content may be there, cut short, or zeros; and of names that were
made, moved or removed since, any may have been and any may not.
"""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from tests.daemon.conftest import ROOT

CALLS = "openat,write,fsync,rename,renameat,renameat2,unlink,unlinkat,close,mkdir,ftruncate"
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Call(NamedTuple):
    """A system call that did what it was asked for."""

    name: str
    texts: list[bytes]  # paths or content
    arguments: str
    result: int


class Disk(NamedTuple):
    """What is on it for certain, and what may be; files by number."""

    content: dict[int, bytes]
    safe: dict[int, bytes | None]  # content that ``fsync`` has brought there, ``None`` for none
    names: dict[bytes, int]
    pending: list[tuple[bytes, int | None]]  # names since given, or taken away, in order


def trace(script: str, *arguments: str | Path) -> list[Call]:
    """Return what a Python script asks the system for."""
    file = Path(arguments[0]).with_suffix(".trace")
    command = ["strace", "-qq", "-xx", "-s", "10000000", "-e", f"trace={CALLS}", "-o", str(file)]
    subprocess.run([*command, sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, check=True)
    lines = (_CALL.match(line) for line in file.read_text(encoding="ascii").splitlines())
    return [
        Call(found[1], [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(found[2])], found[2], result)
        for found in lines
        if found and (result := int(found[3])) >= 0
    ]


class Replay:
    """A folder of a traced process, call by call.

    Args:
        folder: as the process named it.

    Attributes:
        said: what it wrote to its standard output, its last line.
    """

    def __init__(self, folder: Path) -> None:
        self.said = b""
        self._folder = str(folder).encode()
        self._disk = Disk({}, {}, {}, [])
        self._open: dict[int, int | bytes] = {}  # by descriptor: a file, or the folder
        self._now: dict[bytes, int] = {}  # names as the process sees them

    def _name(self, path: bytes) -> bytes | None:
        folder, _, name = path.rpartition(b"/")
        return name if folder == self._folder else None

    def do(self, call: Call) -> None:
        """Do what the process did."""
        handlers = {"openat": self._do_open, "write": self._do_write, "fsync": self._do_fsync, "close": self._do_close}
        if call.name in handlers:
            handlers[call.name](call)
        elif call.name.startswith("rename"):
            old, new = map(self._name, call.texts)
            if old is not None and new is not None:
                self._give(new, self._now.pop(old))
                self._disk.pending.append((old, None))
        elif call.name.startswith("unlink"):
            name = self._name(call.texts[0])
            if name is not None and self._now.pop(name, None) is not None:
                self._disk.pending.append((name, None))

    def _give(self, name: bytes, file: int) -> None:
        self._now[name] = file
        self._disk.pending.append((name, file))

    def _do_open(self, call: Call) -> None:
        if call.texts[0] == self._folder:
            self._open[call.result] = self._folder
            return
        name = self._name(call.texts[0])
        if name is None:
            self._open.pop(call.result, None)
            return
        if name not in self._now:
            file = len(self._disk.content)
            self._disk.content[file], self._disk.safe[file] = b"", None
            self._give(name, file)
        file = self._now[name]
        if "O_TRUNC" in call.arguments:
            self._disk.content[file] = b""
        self._open[call.result] = file

    def _do_write(self, call: Call) -> None:
        descriptor = int(call.arguments.partition(",")[0])
        content = call.texts[0][: call.result]
        if descriptor == 1:
            self.said = content
        file = self._open.get(descriptor)
        if isinstance(file, int):
            self._disk.content[file] += content

    def _do_fsync(self, call: Call) -> None:
        what = self._open.get(int(call.arguments))
        if isinstance(what, int):
            self._disk.safe[what] = self._disk.content[what]
        elif what is not None:
            self._disk.names.clear()
            self._disk.names.update(self._now)
            self._disk.pending.clear()

    def _do_close(self, call: Call) -> None:
        self._open.pop(int(call.arguments), None)

    def crashes(self) -> Iterator[dict[bytes, bytes]]:
        """Yield what may be in the folder if the power goes now: names and content."""
        disk = deepcopy(self._disk)
        seen = set()
        for happened in itertools.product((False, True), repeat=len(disk.pending)):
            names = dict(disk.names)
            for did, (name, file) in zip(happened, disk.pending, strict=True):
                if did and file is None:
                    names.pop(name, None)
                elif did and file is not None:
                    names[name] = file
            for fate in (_whole, _safe_only, _half, _zeros):
                found = {name: fate(disk, file) for name, file in names.items()}
                key = tuple(sorted(found.items()))
                if key not in seen:
                    seen.add(key)
                    yield found


def _whole(disk: Disk, file: int) -> bytes:
    return disk.content[file]


def _safe_only(disk: Disk, file: int) -> bytes:
    return disk.safe[file] or b""


def _half(disk: Disk, file: int) -> bytes:
    content = disk.content[file]
    return content if disk.safe[file] == content else content[: len(content) // 2]


def _zeros(disk: Disk, file: int) -> bytes:
    content = disk.content[file]
    return content if disk.safe[file] == content else bytes(len(content))
