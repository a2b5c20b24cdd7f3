"""What is wrong with the connection: one sentence for the log, a few words for whoever watches."""

import logging

SHOWN_S = 300.0  # for so long a problem that came and went can be seen

log = logging.getLogger(__name__)


class Troubles:
    """Remembers what is wrong until it is not, or until it was shown for long enough.

    Attributes:
        failure: why there is no connection, or was none; a sentence.
    """

    def __init__(self) -> None:
        self.failure = ""
        self._state = ""
        self._passing: dict[str, float] = {}

    def fail(self, failure: str, state: str = "no connection") -> None:
        """Note that there is no connection; the same reason is logged once.

        Args:
            state: the same in a few words.
        """
        if failure != self.failure:
            log.warning("no connection to the broker: %s; trying again", failure)
        self.failure = failure
        self._state = state

    def clear(self) -> None:
        """Note that there is a connection."""
        self.failure = ""
        self._state = ""

    def show(self, words: str, until: float) -> None:
        """Show something that happened, for a while.

        Args:
            until: a steady clock's seconds.
        """
        self._passing[words] = until

    def problems(self, now: float) -> list[str]:
        """Return what is wrong now, a few words each."""
        self._passing = {words: until for words, until in self._passing.items() if until > now}
        return ([self._state] if self._state else []) + list(self._passing)
