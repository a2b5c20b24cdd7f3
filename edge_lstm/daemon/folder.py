"""The state folder: who we are, that we are alone, and two generations of the state.

A file is never changed in place: it is written beside, brought to the disk, and takes its name then. So a kill at any
moment leaves the old one or the new one. Cards that lie about having written are why there are two generations.
"""

import errno
import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge_lstm.errors import ConfigError, EdgeLstmError, StateError
from edge_lstm.saved import MAGIC, SavedState, unpack

SLOTS = ("state.a", "state.b")
WHOLE = "whole"  # a file that is there while no message was acknowledged that the newest state lacks
_LARGEST = 2**28  # bytes of a slot


class InUseError(EdgeLstmError):
    """Another process works with the folder."""


class Found(NamedTuple):
    """What the folder had.

    Attributes:
        state: the newest that can be read; ``None`` for none.
        whole: it lacks nothing that the broker was told is done.
        problems: what could not be read.
    """

    state: SavedState | None
    whole: bool
    problems: list[str]


class StateFolder:
    """A folder for one daemon.

    Args:
        path: made if it is not there.

    Attributes:
        problem: why nothing can be kept here, empty if it can.

    Raises:
        InUseError: another daemon is at work in it.
        ConfigError: it is not a folder, or others may write to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._lock = -1
        self._client_id = ""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.stat()
        except FileExistsError:
            raise ConfigError(f"state folder {path} is a file") from None
        except OSError as error:  # scoring is worth more than its memory
            self.problem = _words(path, error)
            return
        refuse_shared(path, found)
        self._take_lock()

    def _take_lock(self) -> None:
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):  # the latter on a disk that is read-only
            try:
                self._lock = os.open(self.path / "lock", flags | os.O_CLOEXEC, 0o600)
                break
            except OSError as error:
                self.problem = _words(self.path, error)
        if self._lock < 0:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise InUseError(f"state folder {self.path} is in use by another edge-lstm; give each its own") from None

    def client_id(self) -> str:
        """Return who we are to the broker, always the same; empty where nothing can be kept."""
        path = self.path / "client_id"
        with suppress(OSError, UnicodeDecodeError):
            known = path.read_text(encoding="ascii").strip()
            if known.isprintable() and 0 < len(known) <= 64:
                self._client_id = known
                return known
        new = f"edge-lstm-{secrets.token_hex(4)}"
        try:
            self._replace(path, f"{new}\n".encode())
        except OSError as error:
            self.problem = _words(self.path, error)
            return ""
        self._client_id = new
        return new

    def load(self) -> Found:
        """Return the newest state that is whole."""
        states, problems = [], []
        for name in SLOTS:
            path = self.path / name
            with suppress(OSError):
                path.with_suffix(path.suffix + ".new").unlink()  # what a kill left
            try:
                if path.stat().st_size > _LARGEST + len(MAGIC):
                    raise StateError(f"more than {_LARGEST} bytes")
                states.append(unpack(path.read_bytes()))
            except FileNotFoundError:
                continue
            except (StateError, OSError) as error:
                problems.append(f"{path}: {error}")
        newest = max(states, key=lambda state: state.serial, default=None)
        whole = not problems and not self.problem and (self.path / WHOLE).exists()
        return Found(newest, whole, problems)

    def vouch(self) -> None:
        """Note that the state on the disk is whole, and stays so until ``disown``."""
        with suppress(OSError):
            (self.path / WHOLE).touch(0o600)

    def disown(self) -> bool:
        """Note that samples will be missing from the state on the disk; tell whether that could be noted."""
        try:
            (self.path / WHOLE).unlink(missing_ok=True)
            self._settle()  # else it may be back after a power cut
        except FileNotFoundError:  # no folder, no note
            return True
        except OSError:
            return False
        return True

    def write(self, data: bytes, serial: int) -> None:
        """Write a state to the disk, over the older one.

        Raises:
            OSError: it can't be; the others are untouched.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._mend()
        self._replace(self.path / SLOTS[serial % len(SLOTS)], data)

    def _mend(self) -> None:
        """Make again what vanished, with the folder maybe: the lock, else a second daemon comes in, and who we are."""
        try:
            held = self._lock >= 0 and os.path.samestat(os.fstat(self._lock), os.stat(self.path / "lock"))
        except FileNotFoundError:
            held = False
        if not held:
            self.close()
            try:
                self._take_lock()
            except InUseError as error:
                raise OSError(errno.EBUSY, str(error)) from None
        if self._client_id and not (self.path / "client_id").exists():
            self._replace(self.path / "client_id", f"{self._client_id}\n".encode())

    def _replace(self, path: Path, data: bytes) -> None:
        new = path.with_suffix(path.suffix + ".new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(file, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(new, path)
        except OSError:
            with suppress(OSError):
                new.unlink()  # a full disk needs the room
            raise
        self._settle()

    def _settle(self) -> None:
        """Bring names, new and gone, to the disk."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let another daemon have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def refuse_shared(path: Path, found: os.stat_result) -> None:
    """Refuse a folder in which others may put what they like.

    Raises:
        ConfigError: it is one.
    """
    if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"state folder {path} may be written by others on this machine; own it, and chmod 700 it")


def _words(path: Path, error: OSError) -> str:
    return f"state folder {path}: {error.strerror or error}"
