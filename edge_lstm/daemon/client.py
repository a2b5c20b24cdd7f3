"""A paho-mqtt client set up as a broker's options say; one helper for both versions of MQTT."""

import logging
import secrets

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_lstm.daemon.broker import Broker
from edge_lstm.daemon.wire import Wire, WiredClient

SESSION_S = 86_400  # how long the broker keeps messages for us; MQTT 5
LARGEST_PACKET = 131_072  # bytes; MQTT 5, elsewhere longer ones are passed over
SMALLEST_PACKET = 8_192  # bytes that a broker should take; our longest message, of the daemon's figures, is shorter

log = logging.getLogger(__name__)


def new_client(broker: Broker, status_topic: str, inflight: int, queue: int) -> WiredClient:
    """Return a client that knows what to say on a connection; it is given one later.

    Args:
        status_topic: where the will leaves ``offline``; empty for none.
        inflight: messages sent before the broker acknowledged the first; 0 for any number.
        queue: messages kept until then.
    """
    mqtt = broker.mqtt
    five = mqtt.protocol == "5"
    client = WiredClient(
        CallbackAPIVersion.VERSION2,
        client_id=mqtt.client_id or f"edge-lstm-{secrets.token_hex(4)}",
        clean_session=None if five else mqtt.clean,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,  # we do that, and no silent step down to MQTT 3.1
        manual_ack=True,
    )
    client.max_queued_messages_set(queue)
    client.max_inflight_messages_set(inflight)
    if status_topic:
        client.will_set(status_topic, b"offline", qos=1, retain=True)
    host = mqtt.url.hostname or ""
    if five:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if mqtt.clean else SESSION_S
        properties.MaximumPacketSize = LARGEST_PACKET
        client.connect_async(host, mqtt.port, mqtt.keepalive_s, clean_start=mqtt.clean, properties=properties)
    else:
        client.connect_async(host, mqtt.port, mqtt.keepalive_s)
    return client


def heed(client: WiredClient, wire: Wire | None, properties: Properties | None) -> int:
    """Keep to what an MQTT 5 broker asks of us when it accepts us; return its keepalive in seconds, 0 if it has none.

    Args:
        properties: of its CONNACK.
    """
    inflight = getattr(properties, "ReceiveMaximum", 65_535)
    client.limit(min(max(1, inflight), client.max_queued_messages))  # paho never looks at it
    client.largest = getattr(properties, "MaximumPacketSize", 0)
    if wire is not None:
        wire.largest = client.largest
    if 0 < client.largest < SMALLEST_PACKET:
        log.error("the broker takes packets of %d bytes at most; longer ones are left out", client.largest)
    return int(getattr(properties, "ServerKeepAlive", 0))
