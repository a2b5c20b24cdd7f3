"""A configuration read again while the old one goes on; bad, it changes nothing."""

import logging
import threading
import time
from collections.abc import Callable

from edge_lstm.daemon.check import Prepared
from edge_lstm.errors import EdgeLstmError
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline

log = logging.getLogger(__name__)


class Reload:
    """Reads the configuration in a thread, since bundles are replayed and kernels may be compiled.

    Args:
        read: reads it.
    """

    def __init__(self, read: Callable[[], Prepared]) -> None:
        self._read = read
        self._thread: threading.Thread | None = None
        self._again = False
        self._outcome: Prepared | EdgeLstmError | OSError | None = None

    @property
    def busy(self) -> bool:
        """Whether it is being read, or was and waits to be taken."""
        return self._thread is not None

    def begin(self) -> None:
        """Read it, once more if that is going on."""
        if self._thread is not None:
            self._again = True
            return
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._read()
        except (EdgeLstmError, OSError) as error:
            self._outcome = error

    def take(self, old: Prepared) -> Prepared | None:
        """Return what was read, if it is ready and can be run in place of the old."""
        if self._thread is None or self._thread.is_alive():
            return None
        outcome, self._thread, self._outcome = self._outcome, None, None
        if self._again:
            self._again = False
            self.begin()
            return None
        if isinstance(outcome, Prepared):
            problem = _needs_restart(old, outcome)
            if not problem:
                log.info("configuration read again: %d sources", len(outcome.routes))
                return outcome
        else:
            problem = str(outcome)
        log.error("configuration not changed: " + "; ".join(problem.splitlines()))  # a text of its own: never left out
        return None


def _needs_restart(old: Prepared, new: Prepared) -> str:
    """Return what can't be changed without a restart, in words."""
    sections = ("mqtt", "state")
    changed = [f"[{name}]" for name in sections if getattr(old.config, name) != getattr(new.config, name)]
    if old.config.output.prefix != new.config.output.prefix:
        changed.append("prefix in [output]")
    return f"{', '.join(changed)}: needs a restart" if changed else ""


def take_over(old: Pipeline, prepared: Prepared) -> tuple[Pipeline, list[Message]]:
    """Return a pipeline that goes on with the old one's streams, and ends for alerts of those it does not watch."""
    new = Pipeline(prepared.routes)
    for problem in new.succeed(old):
        log.warning("%s; its streams start anew", problem)
    going_on = {message.topic for message in new.resume(0.0)}
    return new, [end for end in old.close(time.time()) if end.topic not in going_on]
