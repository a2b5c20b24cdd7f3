"""What the broker and we know of each other, over all connections."""

import logging
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.hearing import Hearing
from edge_lstm.daemon.leftovers import Leftovers
from edge_lstm.daemon.subscriptions import Subscriptions
from edge_lstm.daemon.troubles import SHOWN_S, Troubles

log = logging.getLogger(__name__)


class Session:
    """The broker's memory of us, and ours of it.

    Attributes:
        connected: the broker has accepted us.
        connects: how often it did.
        session_lost: how often it had forgotten a session that was to last.
        publish_refused: messages of ours that it threw away; MQTT 5 brokers say so.
        expect_session: it should know us from an earlier run.
        stale_filters: what an earlier run had subscribed to, and nobody wants any more.
        on_gap: called when messages may have been missed, before the first that comes after the gap.
        hearing: the clock that silence is measured on.
    """

    def __init__(self, mqtt: Mqtt, filters: list[str]) -> None:
        self.connected = False
        self.connects = 0
        self.session_lost = 0
        self.publish_refused = 0
        self.expect_session = False
        self.stale_filters: list[str] = []
        self.on_gap: Callable[[], None] | None = None
        self.hearing = Hearing()
        self._leftovers: Leftovers | None = None
        self._mqtt = mqtt
        self._subscriptions = Subscriptions(filters, mqtt.qos)
        self._troubles = Troubles()

    @property
    def filters(self) -> list[str]:
        """What is subscribed to."""
        return self._subscriptions.filters

    def look_for(self, leftovers: Leftovers) -> None:
        """Look what an earlier run left at the broker, as soon as there is a connection."""
        self._leftovers = leftovers

    @property
    def failure(self) -> str:
        """Why there is no connection."""
        return self._troubles.failure

    @property
    def problems(self) -> list[str]:
        """What is wrong with the connection, in a few words each."""
        now = time.monotonic()
        return self._troubles.problems(now) + self._subscriptions.problems(now) * self.connected

    def _resume(self, client: Client, present: bool) -> None:
        """Go on where we were, or from a gap on.

        Args:
            present: the broker says that it remembers us.
        """
        known = self.connects > 0 or self.expect_session
        self.connected = True
        self.connects += 1
        self._troubles.clear()
        if known and not present:
            if not self._mqtt.clean:
                self.session_lost += 1
                log.warning("the broker has forgotten our session; messages sent meanwhile are lost")
            if self.on_gap is not None:
                self.on_gap()
        self._subscriptions.start(client, self.stale_filters if present else [])
        self.stale_filters = []

    def _change(self, client: Client, filters: list[str]) -> None:
        """Subscribe to other filters, now or with the next connection."""
        if self.connected:
            self._subscriptions.change(client, filters)
            return
        self.stale_filters += [topic for topic in self._subscriptions.filters if topic not in filters]
        self._subscriptions.filters = filters

    def _on_subscribe(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        if self._leftovers and self._leftovers.subscribed(client, mid):
            return
        if self._subscriptions.answered(mid, reasons):
            self.hearing.on = self._subscriptions.stand

    def _on_publish(
        self, client: Client, userdata: Any, mid: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.publish_refused += 1
            self._troubles.show(f"publish refused: {reason}", time.monotonic() + SHOWN_S)
