"""Which messages have come, and which of them the broker may be told are done.

Messages are numbered in order as they are kept, for the life of the process; the packet number that a message is
acknowledged by means something to one connection only. So a receipt has both, and those of a lost connection become
``orphans``: the broker sends these messages again, with the packet numbers they had, and they are known by them. So
do acknowledgements that may not have reached it: one has when a later message of ours was confirmed.
A message is done when all that we published because of it was confirmed, and, if that is wanted, when a checkpoint
holds it.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from edge_lstm.messages import Message

DIGEST_BYTES = 16
SMALL = 512  # bytes of a payload that is kept until its message is done; of a larger one, only a digest
TOLD = 4_096  # acknowledgements that may be on their way, remembered at most
MOST = 65_535  # packet numbers; a broker that waits for more acknowledgements breaks the protocol


class Receipt(NamedTuple):
    """A message of QoS 1 that the broker waits to hear of."""

    number: int  # of the message
    mid: int  # of the packet
    qos: int
    content: Message | bytes | None  # itself, its digest, or nothing of one that was dropped on arrival


class Receipts:
    """Receipts of the present connection, in order, and orphans of the last.

    Args:
        ceiling: messages up to this number may be done; ``None`` for all.

    Attributes:
        redelivered: messages that came again.
        acknowledged: the last message that the broker was told is done.
    """

    def __init__(self, ceiling: int | None) -> None:
        self.ceiling = ceiling
        self.redelivered = 0
        self.acknowledged = 0
        self._open: deque[Receipt] = deque()
        self._by_mid: dict[int, Receipt] = {}  # the same
        self._orphans: dict[int, tuple[int, bytes]] = {}  # by packet number: message number and digest
        self._fresh = False  # something new came over this connection, so all that comes again has
        self._published = 0  # of ours
        self._told: deque[tuple[int, Receipt]] = deque(maxlen=TOLD)  # acknowledged after so many of ours
        self._handled: deque[tuple[int, int]] = deque()  # up to this message, and this one of ours because of them
        self._done = 0  # messages whose consequences were confirmed

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no broker may send more before we acknowledge some."""
        return len(self._open) >= MOST

    def add(self, number: int, mid: int, qos: int, message: Message | None) -> None:
        """Note a message that came."""
        self._fresh = True
        self._orphans.pop(mid, None)  # its number is free again: the broker knows that that one is done
        large = message is not None and len(message.payload) > SMALL
        self._note(Receipt(number, mid, qos, digest(message) if message and large else message))

    def _note(self, receipt: Receipt) -> None:
        self._open.append(receipt)
        self._by_mid[receipt.mid] = receipt

    def again(self, mid: int, message: Message) -> bool:
        """Tell whether a message marked as sent again had come before; it is noted then, and not to be handled."""
        waits = self._by_mid.get(mid)
        if waits is not None and waits.content and digest(waits.content) == digest(message):
            self.redelivered += 1  # over one connection: EMQX and NATS do after 30 s; one acknowledgement is enough
            return True
        number, known = self._orphans.get(mid, (0, b""))
        if not known or known != digest(message):
            return False
        del self._orphans[mid]
        self.redelivered += 1
        self._note(Receipt(number, mid, message.qos, known))
        return True

    def orphan(self) -> None:
        """Note that the connection is lost: nothing can be acknowledged on it any more."""
        if self._fresh:
            self._orphans.clear()
        self._fresh = False
        self._orphans |= {r.mid: (r.number, digest(r.content)) for r in self._sent_again() if r.content}
        self._told.clear()
        self._open.clear()
        self._by_mid.clear()

    def expect(self, pending: dict[int, bytes]) -> None:
        """Note what a process before us had handled, by packet number and digest."""
        self._orphans.update({mid: (0, known) for mid, known in pending.items()})

    def forget(self) -> None:
        """Note that the broker has forgotten us: nothing comes again."""
        self._orphans.clear()

    def handled(self, number: int, published: int) -> None:
        """Note that messages up to ``number`` were handled, and how many of ours were published by then."""
        self._published = published
        if not self._handled or self._handled[-1] != (number, published):
            self._handled.append((number, published))

    def confirmed(self, count: int) -> None:
        """Note that so many of ours were confirmed."""
        while self._handled and self._handled[0][1] <= count:
            self._done = self._handled.popleft()[0]
        while self._told and self._told[0][0] < count:
            self._told.popleft()

    def take_done(self) -> list[tuple[int, int]]:
        """Return packet number and QoS of what may be acknowledged now, in order."""
        limit = self._done if self.ceiling is None else min(self._done, self.ceiling)
        done: list[tuple[int, int]] = []
        while self._open and self._open[0].number <= limit:
            receipt = self._open.popleft()
            if self._by_mid.get(receipt.mid) is receipt:
                del self._by_mid[receipt.mid]
            self.acknowledged = max(self.acknowledged, receipt.number)
            self._told.append((self._published, receipt))
            done.append((receipt.mid, receipt.qos))
        return done

    def pending(self, number: int) -> dict[int, bytes]:
        """Return packet number and digest of messages up to ``number`` that the broker would send again."""
        orphans = {} if self._fresh else self._orphans
        known = {mid: known for mid, (at, known) in orphans.items() if at <= number}
        return known | {r.mid: digest(r.content) for r in self._sent_again() if r.content and r.number <= number}

    def _sent_again(self) -> Iterator[Receipt]:
        """Yield what would come again if the connection were lost now; what has a packet number last comes last."""
        yield from (receipt for _, receipt in self._told)
        yield from self._open


def digest(message: Message | bytes) -> bytes:
    """Return what a message is known by when it comes again; of a digest, itself."""
    if isinstance(message, bytes):
        return message
    topic = message.topic.encode()
    return hashlib.blake2b(len(topic).to_bytes(4) + topic + message.payload, digest_size=DIGEST_BYTES).digest()
