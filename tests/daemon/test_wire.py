"""Packets cut out of a stream of bytes, however it comes, and the one place that reaches into paho."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge_lstm.daemon.packets import frame, read_publish, write_puback, write_publish
from edge_lstm.daemon.wire import CHUNK, LARGEST, Wire, WiredClient
from edge_lstm.stages.decode import MAX_PAYLOAD_BYTES

PINGRESP = b"\xd0\x00"
PUBACK = b"\x40\x02\x00\x07"


def publish(topic: bytes, payload: bytes, mid: int = 0, retain: bool = False, properties: bytes | None = None) -> bytes:
    """Write a packet as MQTT says, in other words than the product's."""
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if mid else b"")
    body += b"" if properties is None else bytes([len(properties)]) + properties
    body += payload
    length, left = bytearray(), len(body)
    while True:
        left, low = divmod(left, 128)
        length.append(low | (128 if left else 0))
        if not left:
            return bytes([0x30 | (2 if mid else 0) | retain, *length]) + body


packets = st.builds(publish, st.binary(min_size=1, max_size=20), st.binary(max_size=300), st.integers(0, 65_535))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Wire]]:
    """What a broker holds of a connection, and the wire at its other end."""
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    wire = Wire(ours, five=False)
    yield theirs, wire
    theirs.close()
    wire.close()


def drain(wire: Wire) -> tuple[list[tuple[bytes, bytes, int]], bytes]:
    """Return what is ours and what is paho's of all that came."""
    mine, foreign = [], b""
    wire.fill()
    while True:
        mine += [(packet.topic, packet.payload, packet.mid) for packet in wire.publishes()]
        if not wire.foreign:
            return mine, foreign
        foreign += wire.recv(1_000_000)


def test_paho_still_judges_the_connection_by_what_was_heard() -> None:
    assert "_last_bytes_received" in Client._check_keepalive.__code__.co_names
    client = WiredClient(CallbackAPIVersion.VERSION2)
    client._last_bytes_received = 0.0
    client.heard()
    assert client._last_bytes_received > 0.0


def test_paho_still_opens_its_socket_here() -> None:
    """Fails with a paho that has changed: ``Link`` then works, slower; see ``daemon/wire.py``."""
    assert WiredClient._create_socket is not Client._create_socket
    assert "_create_socket" in Client.reconnect.__code__.co_names


@settings(deadline=None)
@given(st.lists(packets, max_size=8), st.integers(1, 40))
def test_any_cut_gives_the_same(sent: list[bytes], size: int) -> None:
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    wire = Wire(ours, five=False)
    data = PINGRESP.join([b"", *sent, b""])
    found, foreign = [], b""
    for k in range(0, len(data), size):
        theirs.sendall(data[k : k + size])
        mine, rest = drain(wire)
        found += mine
        foreign += rest
    assert [publish(*each) for each in found] == sent
    assert foreign == PINGRESP * (len(sent) + 1)
    theirs.close()
    wire.close()


def test_order_is_kept(ends: tuple[socket.socket, Wire]) -> None:
    theirs, wire = ends
    theirs.sendall(publish(b"a", b"1") + PUBACK + publish(b"b", b"2", 5))
    wire.fill()
    assert [packet.topic for packet in wire.publishes()] == [b"a"]
    assert list(wire.publishes()) == []  # not past what paho has yet to read
    assert [wire.recv(1), wire.recv(1), wire.recv(9)] == [b"\x40", b"\x02", b"\x00\x07"]
    with pytest.raises(BlockingIOError):
        wire.recv(1)
    assert [(packet.topic, packet.mid) for packet in wire.publishes()] == [(b"b", 5)]


def test_reading_may_stop_and_go_on(ends: tuple[socket.socket, Wire]) -> None:
    theirs, wire = ends
    theirs.sendall(publish(b"a", b"1") * 3)
    wire.fill()
    assert next(wire.publishes()).payload == b"1"
    assert wire.pending()
    theirs.sendall(publish(b"b", b"2"))
    wire.fill()
    assert [packet.topic for packet in wire.publishes()] == [b"a", b"a"]
    assert not wire.pending()
    assert drain(wire)[0] == [(b"b", b"2", 0)]


@pytest.mark.parametrize("mid", [0, 7])
def test_a_packet_that_no_decoder_takes_is_passed_over(ends: tuple[socket.socket, Wire], mid: int) -> None:
    """It is counted and acknowledged like one that is merely too long, or the broker would send it again for ever."""
    theirs, wire = ends
    theirs.setblocking(False)
    left = memoryview(publish(b"a", bytes(20 * LARGEST), mid) + publish(b"b", b"2"))
    found = []
    while len(found) < 2:
        with suppress(BlockingIOError):
            left = left[theirs.send(left) :]
        wire.fill()
        found += list(wire.publishes())
        assert len(wire._data) < LARGEST + CHUNK
    assert [(packet.topic, packet.mid) for packet in found] == [(b"a", mid), (b"b", 0)]
    assert len(found[0].payload) > MAX_PAYLOAD_BYTES
    assert found[1].payload == b"2"


@pytest.mark.parametrize("kind", [b"\x90", b"\x20", b"\x34", b"\x30"])
def test_any_other_long_packet_ends_the_connection(ends: tuple[socket.socket, Wire], kind: bytes) -> None:
    """A quarter of a gigabyte is announced; none of it is kept."""
    theirs, wire = ends
    theirs.setblocking(False)
    left = memoryview(kind + b"\xff\xff\xff\x7f" + bytes(2 * LARGEST))  # the last kind has no topic
    while not wire.failed:
        with suppress(BlockingIOError):
            left = left[theirs.send(left) :]
        wire.fill()
        assert list(wire.publishes()) == []
    assert str(wire.error) == "it sent a packet of 268,435,460 bytes"
    assert wire.recv(1) == b""


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\x00",
        b"\x30\x01x",
        b"\x30\x02\x00\x00",  # no topic
        b"\x30\x04\x00\x09ab",
        b"\x32\x04\x00\x01ab",  # half a number
        b"\x34\x06\x00\x01ab\x00\x07",  # QoS 2
        b"\x36\x06\x00\x01ab\x00\x07",  # QoS 3
        b"\x30\xff\xff\xff\xff\x01",  # a length without end
        PUBACK,
    ],
)
def test_all_else_is_paho_s(ends: tuple[socket.socket, Wire], packet: bytes) -> None:
    theirs, wire = ends
    theirs.sendall(packet)
    assert drain(wire) == ([], packet)


def test_the_end_is_for_paho_to_see(ends: tuple[socket.socket, Wire]) -> None:
    theirs, wire = ends
    theirs.sendall(publish(b"a", b"1") + b"\x30")
    theirs.close()
    assert drain(wire)[0] == [(b"a", b"1", 0)]
    wire.fill()
    assert wire.failed
    assert wire.recv(1) == b""
    wire.write(b"x")
    assert wire.flush()  # nothing is left that could be written


def test_what_does_not_fit_stays(ends: tuple[socket.socket, Wire]) -> None:
    theirs, wire = ends
    data = bytes(range(256)) * 8000
    wire.write(data[:500])
    assert wire.send(data[500:]) == len(data) - 500
    heard = b""
    assert not wire.flush()
    while len(heard) < len(data):
        heard += theirs.recv(1 << 20)
        wire.flush()
    assert heard == data
    assert wire.flush()


@pytest.mark.parametrize("five", [False, True])
@pytest.mark.parametrize("size", [0, 100, 125, 126, 200, 16_382, 16_383, 20_000])
def test_what_is_written_reads_back(five: bool, size: int) -> None:
    topic, payload = "ä/b", bytes(size)
    packet = write_publish(topic, payload, True, five)
    assert packet == publish(topic.encode(), payload, 0, True, b"" if five else None)
    found = frame(packet, 0)
    assert found is not None
    assert found.end == len(packet)
    content = read_publish(packet, 0, *found, five)
    assert content == (topic.encode(), payload, 0, True, False)


def test_properties_are_passed_over() -> None:
    packet = publish(b"a", b"1", 9, False, b"\x02\x00\x00\x00\x05")
    assert read_publish(packet, 0, 2, len(packet), True) == (b"a", b"1", 9, False, False)
    assert read_publish(bytes([packet[0] | 8]) + packet[1:], 0, 2, len(packet), True) == (b"a", b"1", 9, False, True)
    short = packet[:7] + b"\x7f" + packet[8:]  # properties longer than the packet
    assert read_publish(short, 0, 2, len(short), True) is None


def test_acknowledgement() -> None:
    assert write_puback(0x1234) == b"\x40\x02\x12\x34"


@pytest.mark.parametrize("size", [0, 100, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 5_000_000])
def test_lengths_of_any_size(size: int) -> None:
    packet = write_publish("t", bytes(size), False, False)
    assert packet == publish(b"t", bytes(size))


def test_properties_without_an_end_are_not_ours() -> None:
    packet = publish(b"t", b"\xff\xff\xff\xff\xffpayload")
    body = frame(packet, 0)
    assert body is not None
    assert read_publish(packet, 0, *body, True) is None
