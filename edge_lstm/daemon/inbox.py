"""What has arrived and waits to be handled."""

from collections import deque

from edge_lstm.messages import Message
from edge_lstm.stages.decode import MAX_PAYLOAD_BYTES

MESSAGE = 512  # what a message takes besides its payload and topic, bytes
KEPT = 8_388_608  # bytes at most, about


class Inbox:
    """Messages in order of arrival, bounded by whoever reads while it is not ``full``.

    Attributes:
        too_large: messages that were not kept, because no decoder takes as many bytes.
    """

    def __init__(self) -> None:
        self.too_large = 0
        self._messages: deque[Message] = deque()
        self._kept = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether it should not grow any more."""
        return self._kept >= KEPT

    def put(self, message: Message) -> None:
        """Keep a message."""
        if len(message.payload) > MAX_PAYLOAD_BYTES:
            self.too_large += 1
            return
        self._kept += _size(message)
        self._messages.append(message)

    def take(self, count: int) -> list[Message]:
        """Return the first messages, so many at most; they are no longer kept."""
        if count >= len(self._messages):
            taken = list(self._messages)
            self._messages.clear()
            self._kept = 0
            return taken
        taken = [self._messages.popleft() for _ in range(count)]
        self._kept -= sum(map(_size, taken))
        return taken


def _size(message: Message) -> int:
    return len(message.payload) + len(message.topic) + MESSAGE
