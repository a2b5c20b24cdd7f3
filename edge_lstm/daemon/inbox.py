"""What has arrived and waits to be handled: bounded in bytes, and so, since the least message takes some, in number."""

from collections import deque

from edge_lstm.messages import Message
from edge_lstm.stages.decode import MAX_PAYLOAD_BYTES

MESSAGE = 512  # what a message takes besides its payload and topic, bytes
KEPT = 8_388_608  # bytes at most, about
BATCH = 65_536  # bytes of payload handled at once, so that what follows from them has room in the queue


class Inbox:
    """Messages in order of arrival.

    A message of QoS 1 that is not kept is not lost, since the broker still has it. One of QoS 0 is; so the oldest give
    way to the newest, which is what someone wants who sends faster than can be scored.

    Attributes:
        too_large: messages that were not kept, because no decoder takes as many bytes.
        overflow: messages of QoS 0 that gave way.
        put_in: messages kept so far.
        taken: of these, those that were taken out, or gave way.
        gap: behind so many of these, messages may be missing; no batch has some from both sides.
    """

    def __init__(self) -> None:
        self.too_large = 0
        self.overflow = 0
        self.put_in = 0
        self.taken = 0
        self.gap = 0
        self._messages: deque[Message] = deque()
        self._kept = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether it takes no more messages of QoS 1."""
        return self._kept >= KEPT

    @property
    def busy(self) -> bool:
        """Whether it is better to handle some before more are read."""
        return self._kept >= KEPT // 2

    def put(self, message: Message) -> None:
        """Keep a message, or drop one and count it."""
        if len(message.payload) > MAX_PAYLOAD_BYTES:
            self.too_large += 1
            return
        if message.qos == 0 and not self._make_room():
            self.overflow += 1
            return
        self._kept += _size(message)
        self._messages.append(message)
        self.put_in += 1

    def _make_room(self) -> bool:
        """Let the oldest messages of QoS 0 give way; tell whether there is room."""
        while self._kept >= KEPT and not self._messages[0].qos:
            self._kept -= _size(self._messages.popleft())
            self.taken += 1
            self.overflow += 1
        return self._kept < KEPT

    def take(self, count: int) -> list[Message]:
        """Return the first messages, so many at most, a batch of bytes but one at least; they are no longer kept."""
        taken: list[Message] = []
        messages, room = self._messages, BATCH
        if self.taken < self.gap:
            count = min(count, self.gap - self.taken)
        while messages and len(taken) < count and (len(messages[0].payload) <= room or not taken):
            message = messages.popleft()
            room -= len(message.payload)
            self._kept -= _size(message)
            taken.append(message)
        self.taken += len(taken)
        return taken


def _size(message: Message) -> int:
    return len(message.payload) + len(message.topic) + MESSAGE
