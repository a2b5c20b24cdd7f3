"""Mosquitto that keeps sessions and their messages on disk, and can be hurt."""

import getpass
import signal
from pathlib import Path

from tests.daemon.conftest import Broker

AUTOSAVE_S = 2.0  # Mosquitto saves once more than ``autosave_interval`` whole seconds have passed


class StoringBroker(Broker):
    """A broker that keeps every message for clients that are away, and saves them every second or two.

    Args:
        port: where it listens; 0 for any.
        addresses: where it listens besides the loopback.
    """

    def __init__(self, folder: Path, port: int = 0, addresses: tuple[str, ...] = ()) -> None:
        super().__init__(folder)
        self.port = port or self.port
        self.url = f"mqtt://127.0.0.1:{self.port}"
        listeners = "".join(f"listener {self.port} {address}\n" for address in ("127.0.0.1", *addresses))
        self._config.write_text(
            f"user {getpass.getuser()}\n{listeners}allow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
        )

    def kill(self) -> None:
        """End it at once, with what it had not saved."""
        self.stop()

    def pause(self) -> None:
        """Let it hang."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)
