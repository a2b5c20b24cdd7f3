"""systemd's side of the watchdog: a socket that remembers what a service says of itself, and when."""

import contextlib
import socket
import threading
import time
from itertools import pairwise
from pathlib import Path

from tests.daemon.conftest import wait_for


class Notify:
    """What ``NOTIFY_SOCKET`` leads to.

    Attributes:
        heard: assignments such as ``READY=1``, each with its moment on the steady clock.
    """

    def __init__(self, folder: Path, watchdog_s: float = 30.0) -> None:
        self.heard: list[tuple[float, str]] = []
        self._watchdog_s = watchdog_s
        self._path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._thread = threading.Thread(target=self._listen, name="notify")
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while said := self._socket.recv(4096).decode():
                now = time.monotonic()
                self.heard += [(now, line) for line in said.splitlines()]

    @property
    def environment(self) -> dict[str, str]:
        """What systemd would set for the service."""
        return {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(round(self._watchdog_s * 1e6))}

    def moments(self, line: str) -> list[float]:
        """Return when something was said."""
        return [at for at, said in self.heard if said == line]

    def wait(self, line: str, timeout_s: float = 35.0) -> float:
        """Return when something was first said, as soon as it was."""
        wait_for(lambda: self.moments(line), line, timeout_s)
        return self.moments(line)[0]

    def longest_silence_s(self) -> float:
        """Return for how long, at most, the watchdog was not petted since it first was; up to now."""
        pets = [*self.moments("WATCHDOG=1"), time.monotonic()]
        return max((later - earlier for earlier, later in pairwise(pets)), default=float("inf"))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as farewell:
            farewell.sendto(b"", str(self._path))
        self._thread.join()
        self._socket.close()
