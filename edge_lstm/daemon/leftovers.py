"""Alerts that an earlier run left at the broker as begun, and nobody ends.

A daemon that is killed can't end its alerts, and they are retained. So the first thing asked of a broker is what it
keeps under our prefix: subscribe, and unsubscribe at once. What it keeps comes before the answer to the latter.
"""

from collections.abc import Callable

import msgspec
from paho.mqtt.client import Client

from edge_lstm.messages import Alert, Message
from edge_lstm.stages.encode import alert_topic

MOST = 10_000  # alerts; who writes more under our prefix is not us
MOST_BYTES = 16 * 2**20  # of their payloads; the same

_decode = msgspec.json.Decoder(Alert).decode


class Leftovers:
    """Looks once for what was left.

    Args:
        prefix: first levels of our topics.
        found: is given the alerts that have begun and not ended.
    """

    def __init__(self, prefix: str, found: Callable[[list[Alert]], None]) -> None:
        self._prefix = prefix
        self._under = f"{prefix}/"
        self._found = found
        self._alerts: list[Alert] = []
        self._room = MOST_BYTES
        self._asked: int | None = None
        self._ended: int | None = None

    def ask(self, client: Client) -> None:
        """Subscribe to what is ours."""
        self._alerts, self._room = [], MOST_BYTES  # what an earlier connection brought may have changed
        _, self._asked = client.subscribe(f"{self._under}#", 0)

    def subscribed(self, client: Client, mid: int) -> bool:
        """Unsubscribe, if this is the answer that was waited for; tell whether it is."""
        if mid != self._asked:
            return False
        _, self._ended = client.unsubscribe(f"{self._under}#")
        return True

    def unsubscribed(self, mid: int) -> bool:
        """Tell what was found, if this is the answer that was waited for, and whether it is."""
        if mid != self._ended:
            return False
        self._found(self._alerts)
        return True

    def take(self, message: Message) -> bool:
        """Tell whether a message is one of ours, and remember what it says."""
        if not message.topic.startswith(self._under):
            return False
        if message.retain and message.topic.endswith("/alert"):
            try:
                alert = _decode(message.payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return True  # whoever wrote it, it was not us
            ours = message.topic == alert_topic(self._prefix, alert.stream)  # not of a daemon under a longer prefix
            if ours and alert.phase == "start" and len(self._alerts) < MOST and self._room > 0:
                self._room -= len(message.payload)
                self._alerts.append(alert)
        return True
