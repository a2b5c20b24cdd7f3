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
        self._give_up(client, [topic for topic in stale if topic and topic not in self.filters])
        self._ask(client, self.filters)

    def change(self, client: Client, filters: list[str]) -> None:
        """Ask for what is new, on a connection that stands; of the rest the broker would send its retained again."""
        old, self.filters = self.filters, filters
        self.refused = [topic for topic in self.refused if topic in filters]
        self._give_up(client, [topic for topic in old if topic not in filters])
        self._ask(client, [topic for topic in filters if topic not in old])

    def _give_up(self, client: Client, gone: list[str]) -> None:
        if gone:
            client.unsubscribe(gone)

    def _ask(self, client: Client, wanted: list[str]) -> None:
        if not wanted:
            return
        self._asked_at = time.monotonic()
        self._again_at = self._asked_at + AGAIN_S
        _, mid = client.subscribe([(topic, self._qos) for topic in wanted])
        if mid is not None:
            self._asked[mid] = wanted

    def remind(self, client: Client, now: float) -> None:
        """Ask again for what was refused or not answered, if it is time."""
        if now >= self._again_at:
            unanswered = {topic for asked in self._asked.values() for topic in asked}
            self._asked.clear()
            self._ask(client, [topic for topic in self.filters if topic in self.refused or topic in unanswered])

    def answered(self, mid: int, reasons: list[ReasonCode]) -> bool:
        """Take the broker's answer; return whether it is one to what we have asked."""
        asked = self._asked.get(mid, [])
        if not asked or len(asked) != len(reasons):
            return False
        del self._asked[mid]
        answers = [answer for answer in zip(asked, reasons, strict=True) if answer[0] in self.filters]
        refused = [topic for topic, reason in answers if reason.is_failure]
        self.refused = [topic for topic in self.refused if topic not in asked] + refused
        if not self._asked:
            self._again_at = time.monotonic() + AGAIN_S if self.refused else float("inf")
        for topic, reason in answers:
            if reason.is_failure:
                log.error("the broker refuses the subscription to %s: %s; asking again in a minute", topic, reason)
        return True

    def problems(self, now: float) -> list[str]:
        """Return what is wrong with them, in a few words each."""
        late = bool(self._asked) and now - self._asked_at > LATE_S
        return [f"subscription refused: {topic}" for topic in self.refused] + ["subscription unanswered"] * late
