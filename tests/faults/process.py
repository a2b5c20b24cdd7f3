"""The daemon as a process, with its log in a file, and what the system says of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.daemon.conftest import ROOT, WAIT_S

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def config_text(url: str, weights: Path, **sections: str) -> str:
    """Return a configuration.

    Args:
        sections: further lines of ``mqtt``, ``output``, ``state`` and ``source``.
    """
    return (
        f"[mqtt]\nbroker = '{url}'\nclient_id = 'edge-lstm-under-test'\n{sections.get('mqtt', '')}\n"
        f"[output]\nscore_qos = 1\n{sections.get('output', '')}\n"
        f"[state]\n{sections.get('state', '')}\n"
        f"[[source]]\ntopic = 'plant/+/data'\nweights = '{weights}'\n{sections.get('source', '')}\n"
    )


class Process:
    """A daemon that runs on a configuration.

    Args:
        prefix: the command that starts it elsewhere, such as in a network namespace; it has to become the daemon.
        environment: variables besides our own.
        module: what Python runs.
        pass_fds: descriptors that stay open in it.
    """

    def __init__(
        self,
        config: Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        module: str = "edge_lstm",
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._log = config.with_suffix(f".{id(self)}.log")
        with self._log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, "run", "-c", str(config)],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """Return all that it has said so far."""
        return self._log.read_text(encoding="utf-8")

    def alive(self) -> bool:
        """Tell whether it runs; with its log, if it does not."""
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}:\n{self.log()}"
        return True

    def cpu_s(self) -> float:
        """Return the processor time it has taken, its own and the system's for it."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def rss_mib(self) -> float:
        """Return the memory it takes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES / 2**20

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
