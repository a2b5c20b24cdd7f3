"""What we have asked the broker to send, and what it said to that."""

import logging
import time

from paho.mqtt.client import Client
from paho.mqtt.reasoncodes import ReasonCode

AGAIN_S = 60.0  # a refused or unanswered subscription is asked for again
LATE_S = 10.0  # an answer that takes longer is a problem to tell of

log = logging.getLogger(__name__)


class Subscriptions:
    """Topic filters at a broker.

    Attributes:
        filters: what is wanted.
        refused: those that the broker does not give us.
    """

    def __init__(self, filters: list[str], qos: int) -> None:
        self.filters = filters
        self.refused: list[str] = []
        self._qos = qos
        self._asked: dict[int, list[str]] = {}
        self._asked_at = 0.0
        self._again_at = float("inf")

    @property
    def stand(self) -> bool:
        """Whether the broker gives us anything."""
        return len(self.refused) < len(self.filters)

    def start(self, client: Client, stale: list[str]) -> None:
        """Ask for everything on a new connection.

        Args:
            stale: what was asked for earlier, and nobody wants any more; a session that lasts would go on with it.
        """
        self._asked.clear()
        self.refused = []
        if gone := [topic for topic in stale if topic and topic not in self.filters]:
            client.unsubscribe(gone)
        self.ask(client)

    def ask(self, client: Client) -> None:
        """Ask for everything, also for what we have: a broker takes that as the same subscription."""
        self._asked_at = time.monotonic()
        self._again_at = self._asked_at + AGAIN_S
        if not self.filters:
            return
        _, mid = client.subscribe([(topic, self._qos) for topic in self.filters])
        if mid is not None:
            self._asked[mid] = self.filters

    def remind(self, client: Client, now: float) -> None:
        """Ask again if it is time."""
        if now >= self._again_at:
            self.ask(client)

    def answered(self, mid: int, reasons: list[ReasonCode]) -> bool:
        """Take the broker's answer; return whether it is one to what we have asked for last."""
        asked = self._asked.pop(mid, self.filters)
        if len(asked) != len(reasons) or asked is not self.filters:
            return False
        self._asked.clear()
        answers = list(zip(asked, reasons, strict=True))
        self.refused = [topic for topic, reason in answers if reason.is_failure]
        self._again_at = time.monotonic() + AGAIN_S if self.refused else float("inf")
        for topic, reason in answers:
            if reason.is_failure:
                log.error("the broker refuses the subscription to %s: %s; asking again in a minute", topic, reason)
        return True

    def problems(self, now: float) -> list[str]:
        """Return what is wrong with them, in a few words each."""
        late = bool(self._asked) and now - self._asked_at > LATE_S
        return [f"subscription refused: {topic}" for topic in self.refused] + ["subscription unanswered"] * late
