"""The clock that silence is measured on, and the one that a dead connection is known by."""

LULL_S = 1.0  # after this long without a word from the broker, it is asked for one
MUTE_S = 3.0  # without an answer for this long, it was away, or the network was


class Hearing:
    """Counts the time during which we would have heard a stream that spoke.

    That a stream says nothing is news only while its words would reach us: not while the connection is down, and not
    while the broker itself says nothing, stalled or behind a network that swallows everything. So time counts
    afterwards, when the broker is heard again, whatever it says, and a lull longer than ``MUTE_S`` never does. The
    keepalive would let a healthy lull last half a minute; so the link asks for a word after ``LULL_S``, and the only
    sensor of a broker is found silent a few seconds late at most.

    Attributes:
        on: our subscription stands.
        seconds: time that counts, up to the last word; a steady clock.
        wall: Unix seconds of that moment.
    """

    def __init__(self) -> None:
        self.on = False
        self.seconds = 0.0
        self.wall = 0.0
        self._last = 0.0

    def hear(self, now: float, wall: float) -> None:
        """Note that something came from the broker.

        Args:
            now: seconds, monotonic.
            wall: Unix seconds.
        """
        lull = self.lull_s(now)
        if self.on and lull <= MUTE_S:
            self.seconds += lull
        self._last, self.wall = now, wall

    def lull_s(self, now: float) -> float:
        """Return for how long the broker has said nothing."""
        return now - self._last


class Pulse:
    """Tells a dead connection from a quiet one: a broker that lives answers, or takes what we write.

    It counts from the first question without an answer, not from the last word. So the time during which this process
    itself stood still does not count.

    Args:
        keepalive_s: after so long without a sign of life the connection is dead.

    Attributes:
        each_s: a broker that wants to hear from us more often than we would speak is asked as often as this.
    """

    def __init__(self, keepalive_s: float) -> None:
        self.each_s = float("inf")
        self._keepalive_s = keepalive_s
        self._asked_at = 0.0
        self._missing_since: float | None = None

    def begin(self, now: float, each_s: float = float("inf")) -> None:
        """Start over with a new connection."""
        self.each_s = each_s
        self._asked_at = now
        self._missing_since = None

    def beat(self) -> None:
        """Note a sign of life."""
        self._missing_since = None

    def expect(self, now: float) -> None:
        """Note that a sign of life is to be expected from now on."""
        if self._missing_since is None:
            self._missing_since = now

    def ask(self, now: float) -> None:
        """Note that the broker was asked for a word."""
        self._asked_at = now
        self.expect(now)

    def due(self, now: float) -> bool:
        """Tell whether the broker wants to hear from us."""
        return now - self._asked_at >= self.each_s

    def dead(self, now: float) -> bool:
        """Tell whether there was no sign of life for too long."""
        return self._missing_since is not None and now - self._missing_since >= self._keepalive_s
