"""MQTT's PUBLISH packet, both ways; nearly all packets are one, and paho takes ten times as long over it.

MQTT 3.1.1 and 5, sections 2.2, 3.3 and 3.4. Every other packet is paho's business, and so is a PUBLISH that is not
plainly in order.
"""

from typing import NamedTuple

PUBLISH = 0x30
PUBACK = 0x40
_HEADER = 5  # bytes at most: kind and flags, then the length in 7 bits each


class Frame(NamedTuple):
    """Where a packet lies in a buffer.

    Attributes:
        body: where its header has ended.
        end: where the next packet starts.
    """

    body: int
    end: int


class Publish(NamedTuple):
    """What a PUBLISH packet says.

    Attributes:
        mid: the number to acknowledge, 0 at QoS 0.
        again: it was sent before, says the broker.
    """

    topic: bytes
    payload: bytes
    mid: int
    retain: bool
    again: bool


def frame(data: bytes, at: int) -> Frame | None:
    """Return the extent of the packet that starts at ``at``, ``None`` while its length is not there.

    A length that is none, because it does not end, gives the bytes that show it.
    """
    length = 0
    for place in range(1, min(_HEADER, len(data) - at)):
        byte = data[at + place]
        length |= (byte & 127) << 7 * (place - 1)
        if byte < 128:
            body = at + place + 1
            return Frame(body, body + length)
    return None if len(data) - at < _HEADER else Frame(at, at + _HEADER + 1)


def read_publish(data: bytes, at: int, body: int, end: int, five: bool) -> Publish | None:
    """Return the content of a whole packet, ``None`` if it is not a PUBLISH of QoS 0 or 1, or not in order.

    Args:
        five: it is MQTT 5, where properties stand before the payload; they say nothing to us.
    """
    head = data[at]
    qos = head >> 1 & 3
    if head & 0xF0 != PUBLISH or qos > 1 or end - body < 2:
        return None
    name = body + 2
    after = name + (data[body] << 8 | data[body + 1])
    start = after + 2 * qos
    if after == name or start > end:
        return None
    mid = data[after] << 8 | data[after + 1] if qos else 0
    if five:
        properties = frame(data, start - 1)  # a length is written like a packet's
        if properties is None or properties.body == start - 1 or properties.end > end:
            return None
        start = properties.end
    return Publish(data[name:after], data[start:end], mid, bool(head & 1), bool(head & 8))


def write_publish(topic: str, payload: bytes, retain: bool, five: bool) -> bytes:
    """Return a PUBLISH packet of QoS 0."""
    name = _topic_field(topic, five)
    length = len(name) + len(payload)
    head = bytearray((PUBLISH | retain,))
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return b"".join((head, name, payload))


def _topic_field(topic: str, five: bool) -> bytes:
    """Return a topic as it stands in a packet, and in MQTT 5 that no properties follow."""
    text = topic.encode()
    return len(text).to_bytes(2) + text + b"\0" * five


def write_puback(mid: int) -> bytes:
    """Return the acknowledgement of a PUBLISH of QoS 1."""
    return bytes((PUBACK, 2, mid >> 8, mid & 255))
