"""Calling the broker, again and again: when, and what came of it."""

import logging
import select

from edge_lstm.daemon.broker import Broker
from edge_lstm.daemon.dial import Dial, Line
from edge_lstm.daemon.retry import GOOD_S, REFUSED_S, RIVAL_S, Retry, Rivalry
from edge_lstm.daemon.troubles import SHOWN_S, Troubles

LATE_S = 20.0  # an attempt that takes longer is told of

log = logging.getLogger(__name__)


class Calls:
    """Makes one attempt after the other, for ever; a good one is followed by another only when it has ended.

    Args:
        poller: wakes up when an attempt is over.
        troubles: are told when one has failed.

    Attributes:
        retry: when the next one is due.
    """

    def __init__(self, broker: Broker, poller: select.poll, troubles: Troubles) -> None:
        self.retry = Retry()
        self._broker = broker
        self._poller = poller
        self._troubles = troubles
        self._rivalry = Rivalry()
        self._dial: Dial | None = None
        self._began = 0.0  # of the last attempt
        mqtt = broker.mqtt
        self._place = f"{mqtt.url.hostname}:{mqtt.port}"

    def tend(self, now: float) -> None:
        """Begin an attempt if one is due."""
        if self._dial is not None:
            if now - self._began > LATE_S:
                self._troubles.fail(f"{self._place}: still waiting for its name to be found, or an address to answer")
        elif now >= self.retry.at:
            self._began = now
            try:
                self._dial = Dial(self._broker)
                self._poller.register(self._dial, select.POLLIN)
            except (OSError, RuntimeError) as error:  # too many open files, or threads
                self.failed(getattr(error, "strerror", None) or str(error))

    def take(self, ready: dict[int, int]) -> Line | None:
        """Return a connection if an attempt has just made one.

        Args:
            ready: what the poller found.
        """
        dial = self._dial
        if dial is None or dial.fileno() not in ready:
            return None
        self._poller.unregister(dial)
        self._dial, line = None, dial.take()
        if isinstance(line, Line):
            return line
        self.failed(line)
        return None

    def failed(self, reason: str) -> None:
        """Put the next attempt off, because this one led to no connection that the broker accepted."""
        self.retry.later(self._began)
        self._troubles.fail(f"{self._place}: {reason}")

    def refused(self, now: float, reason: str) -> None:
        """Put the next attempt off for long: a wrong password does not mend in a second."""
        self.retry.pause(now, REFUSED_S)
        self._troubles.fail(f"the broker refused us: {reason}", f"refused: {reason[:1].lower()}{reason[1:]}")

    def lost(self, now: float, lived_s: float, reason: str) -> None:
        """Put the next attempt off, because a connection has ended; for long if somebody ends each."""
        if lived_s >= GOOD_S:
            self.retry.forget()
        self.retry.later(now)
        self._troubles.fail(f"lost after {lived_s:.0f} s: {reason}")
        client_id = self._broker.mqtt.client_id  # only a fixed one can be another's as well
        if client_id and self._rivalry.ended(now, lived_s):
            log.warning(
                "connections end as soon as they are made; another client with client_id %s? waiting %.0f s",
                client_id, RIVAL_S,
            )  # fmt: skip
            self.retry.pause(now, RIVAL_S)
            self._troubles.show("another client with our client_id?", now + SHOWN_S)

    def anew(self, now: float, reason: str) -> None:
        """Make another attempt at once, because we ended the connection ourselves."""
        self.retry.forget()
        self.retry.at = now
        self._troubles.fail(reason)

    def give_up(self) -> None:
        """Want no attempt any more."""
        if self._dial is not None:
            self._poller.unregister(self._dial)
            self._dial.give_up()
            self._dial = None
