"""What the broker is told is done, and when; and how a message is known when it comes again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_lstm.daemon.receipts import MOST, TOLD, Receipts, digest
from edge_lstm.messages import Message


def message(payload: bytes = b"1", topic: str = "plant/a") -> Message:
    return Message(topic, payload, qos=1)


def receipts_of(*mids: int, ceiling: int | None = None) -> Receipts:
    """Return receipts of messages 1, 2, ... under these packet numbers."""
    receipts = Receipts(ceiling)
    for number, mid in enumerate(mids, 1):
        receipts.add(number, mid, 1, message(b"%d" % number))
    return receipts


def done(receipts: Receipts) -> list[int]:
    return [mid for mid, _ in receipts.take_done()]


# ---- When a message is done ----------------------------------------------------------------------


def test_nothing_is_done_before_it_is_confirmed() -> None:
    receipts = receipts_of(11, 12, 13)
    assert done(receipts) == []
    receipts.handled(2, published=5)  # five of ours follow from the first two
    assert done(receipts) == []
    receipts.confirmed(4)
    assert done(receipts) == []
    receipts.confirmed(5)
    assert done(receipts) == [11, 12]
    assert done(receipts) == []
    assert (len(receipts), receipts.acknowledged) == (1, 2)


def test_messages_of_which_nothing_follows_are_done_at_once() -> None:
    receipts = receipts_of(11, 12)
    receipts.handled(2, published=0)
    receipts.confirmed(0)
    assert done(receipts) == [11, 12]


def test_batches_are_done_one_by_one() -> None:
    receipts = receipts_of(11, 12, 13)
    for number in (1, 2, 3):
        receipts.handled(number, published=2 * number)
    receipts.confirmed(5)
    assert done(receipts) == [11, 12]
    receipts.confirmed(6)
    assert done(receipts) == [13]


def test_no_message_is_done_before_the_one_that_came_earlier() -> None:
    """As section 4.6 of MQTT wants it."""
    receipts = Receipts(None)
    receipts.add(2, 12, 1, message())
    receipts.add(1, 11, 1, message())
    receipts.handled(1, 0)
    receipts.confirmed(0)
    assert done(receipts) == []
    receipts.handled(2, 0)
    receipts.confirmed(0)
    assert done(receipts) == [12, 11]


def test_nothing_is_done_above_the_ceiling() -> None:
    receipts = receipts_of(11, 12, 13, ceiling=0)
    receipts.handled(3, 0)
    receipts.confirmed(0)
    assert done(receipts) == []
    receipts.ceiling = 2
    assert done(receipts) == [11, 12]
    receipts.ceiling = None
    assert done(receipts) == [13]


def test_a_ceiling_does_not_stand_in_for_a_confirmation() -> None:
    receipts = receipts_of(11, ceiling=1)
    assert done(receipts) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=40), st.booleans())
def test_all_is_done_in_order_and_once_whatever_the_batches(steps: list[tuple[int, int, bool]], capped: bool) -> None:
    receipts = Receipts(0 if capped else None)
    number = published = confirmed = 0
    told: list[int] = []
    for came, ours, ready in steps:
        for _ in range(came):
            number += 1
            receipts.add(number, number, 1, message())
        published += ours
        receipts.handled(number, published)
        confirmed = published if ready else confirmed
        receipts.confirmed(confirmed)
        told += done(receipts)
        assert not (capped and told)
        assert len(told) + len(receipts) == number
    receipts.ceiling = None
    receipts.confirmed(published)
    told += done(receipts)
    assert told == list(range(1, number + 1))


# ---- When a message comes again ------------------------------------------------------------------


def again(receipts: Receipts, mid: int, payload: bytes) -> bool:
    return receipts.again(mid, message(payload))


def test_nothing_of_a_lost_connection_is_acknowledged() -> None:
    """The new one may use the same packet numbers for other messages."""
    receipts = receipts_of(11, 12)
    receipts.handled(2, 0)
    receipts.orphan()
    receipts.confirmed(0)
    assert (done(receipts), len(receipts)) == ([], 0)
    receipts.add(3, 11, 1, message(b"new"))
    receipts.handled(3, 0)
    receipts.confirmed(0)
    assert done(receipts) == [11]


def test_a_message_is_known_again_and_done_once_what_follows_from_it_is() -> None:
    receipts = receipts_of(11, 12)
    receipts.handled(2, published=2)
    receipts.orphan()
    assert again(receipts, 11, b"1")
    assert again(receipts, 12, b"2")
    assert receipts.redelivered == 2
    assert done(receipts) == []
    receipts.confirmed(2)
    assert done(receipts) == [11, 12]


def test_a_message_that_was_not_handled_yet_when_the_connection_went() -> None:
    receipts = receipts_of(11)
    receipts.orphan()
    assert again(receipts, 11, b"1")  # it still waits in the inbox
    receipts.confirmed(0)
    assert done(receipts) == []
    receipts.handled(1, 0)
    receipts.confirmed(0)
    assert done(receipts) == [11]


@pytest.mark.parametrize(
    ("mid", "payload", "topic"), [(11, b"other", "plant/a"), (12, b"1", "plant/a"), (11, b"1", "plant/b")]
)
def test_another_message_is_new(mid: int, payload: bytes, topic: str) -> None:
    receipts = receipts_of(11)
    receipts.orphan()
    assert not receipts.again(mid, message(payload, topic))
    assert receipts.redelivered == 0


def test_a_message_is_known_a_third_time() -> None:
    receipts = receipts_of(11)
    for times in range(1, 4):
        receipts.orphan()
        assert again(receipts, 11, b"1")
        assert (receipts.redelivered, len(receipts)) == (times, 1)


def test_a_broker_that_does_not_wait_is_answered_once() -> None:
    receipts = receipts_of(11, 12)
    assert again(receipts, 11, b"1")  # over the same connection
    assert not again(receipts, 12, b"other")
    assert (receipts.redelivered, len(receipts)) == (1, 2)
    receipts.handled(2, 0)
    receipts.confirmed(0)
    assert done(receipts) == [11, 12]
    assert not again(receipts, 11, b"1")  # its number was free again


def test_there_are_no_more_packet_numbers_than_that() -> None:
    receipts = Receipts(None)
    for _ in range(MOST):
        assert not receipts.full
        receipts.add(0, 11, 1, None)
    assert receipts.full


def test_a_lost_session_brings_nothing_again() -> None:
    receipts = receipts_of(11)
    receipts.orphan()
    receipts.forget()
    assert not again(receipts, 11, b"1")


def test_what_was_dropped_on_arrival_is_dropped_again() -> None:
    receipts = Receipts(None)
    receipts.add(0, 11, 1, None)
    receipts.orphan()
    assert not again(receipts, 11, b"1")
    assert receipts.pending(5) == {}


def test_topic_and_payload_are_kept_apart() -> None:
    assert digest(message(b"bc", "a")) != digest(message(b"c", "ab"))


# ---- When an acknowledgement is lost with its connection -----------------------------------------


def told(receipts: Receipts, published: int) -> Receipts:
    """Have all that came handled, confirmed and acknowledged."""
    receipts.handled(10_000, published)
    receipts.confirmed(published)
    assert done(receipts)
    return receipts


def test_a_message_whose_acknowledgement_may_be_lost_is_known_again() -> None:
    receipts = told(receipts_of(11, 12), published=2)
    receipts.orphan()
    assert again(receipts, 11, b"1")
    assert done(receipts) == [11]
    receipts.orphan()  # and may be lost once more
    assert again(receipts, 11, b"1")


def test_a_checkpoint_knows_what_may_come_again_because_of_that() -> None:
    assert told(receipts_of(11), published=2).pending(1) == {11: digest(message(b"1"))}


def test_a_later_message_of_ours_tells_that_it_arrived() -> None:
    receipts = told(receipts_of(11), published=2)
    receipts.handled(10_000, published=3)
    receipts.confirmed(2)
    assert receipts.pending(1) != {}
    receipts.confirmed(3)
    assert receipts.pending(1) == {}
    receipts.orphan()
    assert not again(receipts, 11, b"1")


def test_what_did_not_come_again_before_something_new_never_will() -> None:
    """Else a new message under its packet number, equal in content, might one day be taken for it."""
    receipts = told(receipts_of(11), published=2)
    receipts.orphan()
    receipts.orphan()  # a connection over which nothing came
    receipts.add(2, 12, 1, message(b"new"))
    assert 11 not in receipts.pending(2)
    receipts.orphan()
    assert not again(receipts, 11, b"1")
    assert again(receipts, 12, b"new")


def test_what_is_remembered_of_acknowledgements_is_bounded() -> None:
    receipts = told(receipts_of(*range(1, 10_001)), published=0)
    assert len(receipts.pending(10_000)) == TOLD


# ---- What a process after us has to know ---------------------------------------------------------


def test_what_a_checkpoint_holds_without_the_brokers_knowing() -> None:
    receipts = receipts_of(11, 12, 13)
    assert receipts.pending(2) == {11: digest(message(b"1")), 12: digest(message(b"2"))}


def test_a_process_after_us_knows_it_again_and_has_it_done_at_once() -> None:
    after = Receipts(0)
    after.expect(receipts_of(11, 12).pending(2))
    assert again(after, 11, b"1")
    assert not again(after, 12, b"other")
    assert done(after) == [11]


def test_a_checkpoint_without_a_connection_knows_what_will_come_again() -> None:
    receipts = receipts_of(11, 12)
    receipts.orphan()
    assert receipts.pending(1) == {11: digest(message(b"1"))}
    assert receipts.pending(2) == {11: digest(message(b"1")), 12: digest(message(b"2"))}


def test_a_third_process_knows_what_the_second_was_told_of() -> None:
    second = Receipts(0)
    second.expect(receipts_of(11).pending(1))
    third = Receipts(0)
    third.expect(second.pending(0))
    assert again(third, 11, b"1")
