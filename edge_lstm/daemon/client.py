"""A paho-mqtt client set up as a broker's options say; one helper for both versions of MQTT."""

import secrets

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_lstm.daemon.broker import Broker
from edge_lstm.daemon.wire import WiredClient

SESSION_S = 86_400  # how long the broker keeps messages for us; MQTT 5
LARGEST_PACKET = 131_072  # bytes; MQTT 5, elsewhere the broker has to limit it


def new_client(broker: Broker, status_topic: str, inflight: int, queue: int) -> WiredClient:
    """Return a client that knows where to connect to; it does not do so yet.

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
    if broker.username:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls:
        client.tls_set_context(broker.tls)
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
