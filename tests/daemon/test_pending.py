"""What a checkpoint says of messages that are in it and may come again."""

from edge_lstm.daemon.receipts import Receipts, digest
from edge_lstm.messages import Message


def message(number: int) -> Message:
    return Message("a/b", str(number).encode(), qos=1)


def test_messages_of_a_lost_connection_are_pending() -> None:
    receipts = Receipts(0)
    for number in (1, 2, 3):
        receipts.add(number, 10 + number, 1, message(number))
    receipts.orphan()
    assert receipts.again(11, message(1))
    assert receipts.pending(2) == {11: digest(message(1)), 12: digest(message(2))}


def test_messages_of_an_earlier_process_are_pending_until_new_ones_come() -> None:
    """What comes again comes first."""
    receipts = Receipts(0)
    receipts.expect({7: digest(message(1)), 8: digest(message(2))})
    assert receipts.pending(0) == {7: digest(message(1)), 8: digest(message(2))}
    receipts.add(1, 8, 1, message(3))
    assert receipts.pending(1) == {8: digest(message(3))}
    receipts.orphan()
    assert not receipts.again(8, message(2))
    assert receipts.again(8, message(3))
