"""The least that paho does for a message in and one out: payloads of a score's size, sent back, nothing else.

    python -m bench.echo HOST PORT QOS IN OUT forever|drained

``forever`` is paho's own loop; ``drained`` reads until nothing is left, then writes, which is the cheapest that its
documented calls allow.
"""

import select
import socket
import sys

import paho.mqtt.client as mqtt

PAYLOAD = b"x" * 190  # what a score takes


def client_of(qos: int, inward: str, outward: str) -> mqtt.Client:
    """Return a client that echoes."""

    def on_message(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        client.publish(f"{outward}/{message.topic}/score", message.payload + PAYLOAD[len(message.payload) :], qos)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.subscribe(f"{inward}/#", qos)
    client.on_subscribe = lambda *_: client.publish(f"{outward}/ready", b"1")
    client.on_message = on_message
    client.on_socket_open = lambda _c, _d, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.max_inflight_messages_set(0)  # else paho looks through all of them at every acknowledgement
    return client


def drained(client: mqtt.Client, host: str, port: int) -> None:
    """Read until nothing is left, write, wait."""
    count = 0
    on_message = client.on_message
    assert on_message is not None

    def counting(client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal count
        count += 1
        on_message(client, data, message)

    client.on_message = counting
    client.on_socket_register_write = lambda *_: None  # writes wait for loop_write
    client.connect(host, port)
    poller = select.poll()
    poller.register(client.socket(), select.POLLIN)
    while True:
        if client.want_write():
            client.loop_write()
        poller.poll(1000)
        before, enough = -1, count + 1000
        while before < count < enough:
            before = count
            client.loop_read()
        client.loop_misc()


def main(host: str, port: str, qos: str, inward: str, outward: str, how: str) -> None:
    """Echo for ever."""
    client = client_of(int(qos), inward, outward)
    if how == "drained":
        drained(client, host, int(port))
    client.connect(host, int(port))
    client.loop_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
