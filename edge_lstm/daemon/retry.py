"""When to try again."""

import random

SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0


class Retry:
    """Puts attempts off, each time longer, at a time of our own among many clients.

    Attributes:
        at: when the next attempt is due, seconds on a steady clock.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self._delay_s = SHORTEST_RETRY_S

    def later(self, now: float, delay_s: float = 0.0) -> None:
        """Put the next attempt off.

        Args:
            delay_s: at least by so much, about.
        """
        delay_s = max(delay_s, self._delay_s)
        self.at = now + delay_s * random.uniform(0.5, 1.5)
        self._delay_s = min(2.0 * delay_s, LONGEST_RETRY_S)

    def forget(self) -> None:
        """Start over: the last attempt was a good one."""
        self._delay_s = SHORTEST_RETRY_S
