"""The clock that silence is measured on."""

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
