"""What has arrived is bounded, by number and by bytes; what gives way is counted, and only what nobody else has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_lstm.daemon.inbox import BATCH, KEPT, MESSAGE, Inbox
from edge_lstm.daemon.traffic import HELD, QUEUE
from edge_lstm.messages import Message
from edge_lstm.stages.decode import MAX_PAYLOAD_BYTES, Decoder, Source
from edge_lstm.stages.formats.source import MAX_SAMPLES


def message(qos: int, payload: bytes = b"1") -> Message:
    return Message("plant/a", payload, qos=qos)


def filled(count: int, qos: int, size: int = 1) -> Inbox:
    inbox = Inbox()
    for number in range(count):
        inbox.put(message(qos, (b"%d" % number).ljust(size)))
    return inbox


def payloads(inbox: Inbox, count: int = 1 << 20) -> list[bytes]:
    return [message.payload.strip() for message in inbox.take(count)]


def test_messages_come_out_as_they_went_in() -> None:
    inbox = filled(10, qos=1)
    assert payloads(inbox, 4) == [b"0", b"1", b"2", b"3"]
    assert (len(inbox), inbox.put_in, inbox.taken) == (6, 10, 4)
    assert payloads(inbox) == [b"%d" % k for k in range(4, 10)]
    assert payloads(inbox) == []
    assert not inbox


SIZE = 60_000
ROOM = -(-KEPT // (SIZE + len("plant/a") + MESSAGE))  # messages of this size until it is full


def test_the_oldest_of_qos_0_give_way() -> None:
    inbox = filled(ROOM + 5, qos=0, size=SIZE)
    assert (len(inbox), inbox.overflow, inbox.put_in, inbox.taken) == (ROOM, 5, ROOM + 5, 5)
    assert payloads(inbox, 1) == [b"5"]


def test_messages_of_qos_1_give_way_to_none() -> None:
    inbox = filled(ROOM + 5, qos=1, size=SIZE)
    assert (len(inbox), inbox.overflow) == (ROOM + 5, 0)
    inbox.put(message(0, b"news"))
    assert (len(inbox), inbox.overflow) == (ROOM + 5, 1)
    assert payloads(inbox)[0] == b"0"


def test_large_messages_do_not_grow_it_by_taking_the_place_of_small_ones() -> None:
    inbox = Inbox()
    small = 0
    while not inbox.full:
        inbox.put(message(0))
        small += 1
    for _ in range(2 * ROOM):
        inbox.put(message(0, bytes(SIZE)))
    left = [len(each.payload) for batch in iter(lambda: inbox.take(1), []) for each in batch]
    assert left == [SIZE] * ROOM
    assert inbox.overflow == small + 2 * ROOM - ROOM


def test_it_is_full_by_bytes() -> None:
    size = 10_000
    inbox = Inbox()
    while not inbox.full:
        inbox.put(message(1, bytes(size)))
    assert KEPT <= len(inbox) * (size + len("plant/a") + MESSAGE) < KEPT + size + 1000
    assert inbox.busy
    while inbox.busy:
        inbox.take(1)
    assert not inbox.full
    assert inbox


def test_small_messages_are_not_free() -> None:
    inbox = filled(2 * KEPT // MESSAGE // 2, qos=1, size=0)
    assert inbox.full


def test_what_was_taken_leaves_all_its_room() -> None:
    inbox = Inbox()
    for _ in range(3):
        before = inbox.put_in
        while not inbox.full:
            inbox.put(message(1, bytes(10_000)))
        assert inbox.put_in - before == -(-KEPT // (10_000 + len("plant/a") + MESSAGE))
        while inbox:
            inbox.take(7)


def test_what_no_decoder_takes_is_not_kept() -> None:
    inbox = Inbox()
    inbox.put(message(1, bytes(MAX_PAYLOAD_BYTES + 1)))
    assert (len(inbox), inbox.too_large, inbox.put_in) == (0, 1, 0)
    inbox.put(message(1, bytes(MAX_PAYLOAD_BYTES)))
    assert len(inbox) == 1


def test_a_batch_is_bounded_by_bytes() -> None:
    inbox = filled(100, qos=1, size=10_000)
    assert len(inbox.take(1000)) == BATCH // 10_000
    inbox = filled(3, qos=1, size=MAX_PAYLOAD_BYTES)
    assert len(inbox.take(1000)) == 1  # one goes, whatever its size


@given(st.lists(st.one_of(st.integers(0, 1), st.tuples(st.integers(1, 50))), max_size=200))
def test_every_message_is_somewhere(steps: list[int | tuple[int]]) -> None:
    inbox = Inbox()
    came = went = 0
    for step in steps:
        if isinstance(step, tuple):
            went += len(inbox.take(*step))
        else:
            came += 1
            inbox.put(message(step, bytes(40_000)))
        assert came == went + len(inbox) + inbox.overflow
        assert inbox.put_in == inbox.taken + len(inbox)


def test_no_batch_has_messages_from_both_sides_of_a_gap() -> None:
    inbox = filled(10, qos=1)
    inbox.gap = inbox.put_in
    for _ in range(5):
        inbox.put(Message("plant/a", b"1", qos=1))
    assert [len(inbox.take(8)) for _ in range(4)] == [8, 2, 5, 0]


def test_one_message_is_a_batch_however_large() -> None:
    inbox = filled(3, qos=1, size=60_000)
    assert [len(inbox.take(8)) for _ in range(4)] == [1, 1, 1, 0]


@pytest.mark.parametrize("samples", [200, MAX_SAMPLES])
def test_what_follows_from_a_batch_has_room_in_the_queue(samples: int) -> None:
    """However tightly samples are packed; what has no room is a score that is lost."""
    payload = b'{"t":1,"v":[' + b",".join([b"1"] * samples) + b"]}"
    decoder = Decoder(Source("plant/+", channels={"v": "v"}, time="t", period_s=1.0))
    inbox = Inbox()
    for number in range(1000):
        inbox.put(Message(f"plant/{number}", payload, 0.0, False, 1))
    scores = sum(len(decoder.decode(message)) for message in inbox.take(HELD))
    assert samples < scores <= QUEUE - HELD
