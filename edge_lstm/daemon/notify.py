"""What systemd is told: ready, alive, reloading, stopping; nothing where it did not ask (sd_notify(3))."""

import os
import socket
import time
from contextlib import suppress

START_S = 60.0  # further patience asked for while the broker is away


class Notifier:
    """Sends notes to the socket that ``NOTIFY_SOCKET`` names."""

    def __init__(self) -> None:
        name = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if name else None
        if self._socket:
            self._socket.setblocking(False)
        self._watched = bool(os.environ.get("WATCHDOG_USEC"))
        self._ready = False
        self._said = ""

    def _tell(self, *notes: str) -> None:
        if self._socket:
            with suppress(OSError):  # a full or closed socket; systemd draws its own conclusions
                self._socket.sendto("\n".join(notes).encode(), self._address)

    def alive(self, *, ready: bool, status: str) -> None:
        """Tell that the loop turns; to be called about once a second.

        Args:
            ready: the work has begun.
            status: one line for ``systemctl status``.
        """
        notes = ["WATCHDOG=1"] if self._watched else []
        if ready and not self._ready:
            self._ready = True
            notes.append("READY=1")
        elif not self._ready:
            notes.append(f"EXTEND_TIMEOUT_USEC={START_S * 1e6:.0f}")
        if status != self._said:
            self._said = status
            notes.append(f"STATUS={status}")
        if notes:
            self._tell(*notes)

    def reloading(self) -> None:
        """Tell that the configuration is being read again."""
        self._ready = False  # systemd waits for the next READY=1
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1")
