"""Signals, and whatever else ends a wait: both write into a socket that the loop waits on."""

import select
import signal
import socket
from contextlib import suppress


class Signals:
    """Notes SIGTERM, SIGINT and SIGHUP, and ends a wait that is going on.

    Args:
        poller: what the loop waits with.

    Attributes:
        stop: the daemon is to end.
        reload: the configuration is to be read again.
    """

    def __init__(self, poller: select.poll) -> None:
        self.stop = False
        self.reload = False
        self._ours, self._theirs = socket.socketpair()
        for end in (self._ours, self._theirs):
            end.setblocking(False)
        self._poller = poller
        poller.register(self._ours, select.POLLIN)

    def catch(self) -> None:
        """Note signals from now on; only the main thread may."""
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)

    def _stop(self, number: int, frame: object) -> None:
        self.stop = True

    def _reload(self, number: int, frame: object) -> None:
        self.reload = True

    def wake(self) -> None:
        """End a wait; any thread may call it."""
        with suppress(OSError):  # full: it is awake
            self._theirs.send(b"\0")

    def clear(self) -> None:
        """Take out what woke the loop, so that it can sleep again."""
        with suppress(BlockingIOError):
            self._ours.recv(4096)

    def close(self) -> None:
        """Note nothing any more; more than once does no harm."""
        if self._ours.fileno() < 0:
            return
        signal.set_wakeup_fd(-1)
        self._poller.unregister(self._ours)
        self._ours.close()
        self._theirs.close()
