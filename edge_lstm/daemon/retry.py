"""When to try again."""

import random
from collections import deque

SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
GOOD_S = 30.0  # a connection that lived so long was a good one
REFUSED_S = 30.0  # a wrong password does not mend in a second
_JITTER = 0.5
_LONGEST_MEAN_S = LONGEST_RETRY_S / (1.0 + _JITTER)

YOUNG_S = 10.0  # a connection that ended before was cut off
YOUNG_ENDS, WITHIN_S = 4, 60.0  # so many of them in so short a time have a reason
RIVAL_S = 30.0


class Retry:
    """Puts attempts off, each time longer, at a time of our own among many clients.

    Attributes:
        at: when the next attempt is due, seconds on a steady clock.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self._delay_s = SHORTEST_RETRY_S

    def later(self, since: float) -> None:
        """Put the next attempt off, longer than the last time.

        Args:
            since: when the last one began, or what it led to ended.
        """
        self.at = since + self._delay_s * random.uniform(1.0 - _JITTER, 1.0 + _JITTER)
        self._delay_s = min(2.0 * self._delay_s, _LONGEST_MEAN_S)

    def pause(self, now: float, seconds: float) -> None:
        """Put the next attempt off, once, for about so long."""
        self.at = now + seconds * random.uniform(0.9, 1.0)

    def forget(self) -> None:
        """Start over: the last attempt was a good one."""
        self._delay_s = SHORTEST_RETRY_S


class Rivalry:
    """Suspects another client with our name: a broker ends the older of two connections, so each ends young."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=YOUNG_ENDS)

    def ended(self, now: float, lived_s: float) -> bool:
        """Note the end of a connection; return whether it looks like a rival's work, and start over if so."""
        if lived_s >= YOUNG_S:
            return False
        self._ends.append(now)
        if len(self._ends) < YOUNG_ENDS or now - self._ends[0] > WITHIN_S:
            return False
        self._ends.clear()
        return True
