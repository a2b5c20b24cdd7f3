"""When the state is written, and what the broker may be told then.

A snapshot is taken between two batches. It rests until the broker confirmed all that we published up to then, because
a message that is in the state is not scored again when it is sent again: its score must have got out. Then a thread of
its own brings it to the disk, so that the loop waits for none; only to note that the state is no longer whole it does.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from edge_lstm.daemon.folder import StateFolder
from edge_lstm.saved import SavedState, pack

DAY_S = 86_400.0
RETRY_S = 60.0  # after a failure, at most


class Cut(NamedTuple):
    """A snapshot, and what it follows.

    Attributes:
        number: of the last message that is in it.
        published: messages of ours because of these.
    """

    number: int
    published: int
    state: SavedState


class Keeper:
    """Has the state written, often enough and not too often.

    Args:
        folder: where.
        interval_s: how often.
        mib_per_day: less often, if more than this would be written.
        wake: called from another thread when something was written.

    Attributes:
        holding: the number of the last message that is in a checkpoint on the disk.
        problem: why the last checkpoint could not be written; empty when it was.
        written: checkpoints so far.
        failed: attempts that failed.
        size: of the last one, bytes.
    """

    def __init__(self, folder: StateFolder, interval_s: float, mib_per_day: float, wake: Callable[[], None]) -> None:
        self.holding = 0
        self.problem = folder.problem
        self.written = 0
        self.failed = 0
        self.size = 0
        self._interval = interval_s
        self._wear = DAY_S / (mib_per_day * 2**20)  # seconds per byte
        self._resting: Cut | None = None
        self._writing: Cut | None = None
        self._at = time.monotonic()  # when the last attempt was done
        self._last = self._at  # when one was written
        self._writer = _Writer(folder, wake)

    @property
    def alive(self) -> bool:
        """Whether the thread that writes is."""
        return self._writer.is_alive()

    def age_s(self, now: float) -> float:
        """Return how old the last checkpoint is, or the process."""
        return now - self._last

    @property
    def busy(self) -> bool:
        """Whether a snapshot is under way."""
        return bool(self._resting or self._writing)

    def due(self, now: float) -> bool:
        """Tell whether a snapshot should be taken."""
        if self.busy:
            return False
        interval_s = max(self._interval, self._wear * self.size)
        return now >= self._at + (min(interval_s, RETRY_S) if self.problem else interval_s)

    def keep(self, cut: Cut) -> None:
        """Write a snapshot, when its consequences are confirmed."""
        self._resting = cut

    def tend(self, now: float, confirmed: int) -> None:
        """Go on with what is under way.

        Args:
            confirmed: messages of ours that the broker has confirmed.
        """
        if self._writing and self._writer.done:
            self._conclude(self._writing, now)
        if self._resting and not self._writing and confirmed >= self._resting.published:
            self._writing, self._resting = self._resting, None
            self._writer.write(self._writing.state)

    def _conclude(self, cut: Cut, now: float) -> None:
        outcome = self._writer.done.popleft()
        self._writing = None
        self._at = now
        if isinstance(outcome, OSError):
            self.failed += 1
            self.problem = f"no checkpoint: {outcome.strerror or outcome}"
            return
        self.problem = ""
        self.holding = cut.number
        self.written += 1
        self.size = outcome
        self._last = now

    def finish(self, cut: Cut, timeout_s: float) -> bool:
        """Write a last snapshot, whose consequences are confirmed; tell whether that was done in time."""
        deadline = time.monotonic() + timeout_s
        self._resting = cut
        while self.busy and time.monotonic() < deadline and self.alive:
            self.tend(time.monotonic(), cut.published)
            time.sleep(0.01)
        return self.holding == cut.number and not self.problem


class _Writer(threading.Thread):
    """Writes what it is given.

    Attributes:
        done: of each, its size, or why it could not be written.
    """

    def __init__(self, folder: StateFolder, wake: Callable[[], None]) -> None:
        super().__init__(name="checkpoint", daemon=True)
        self.done: deque[int | OSError] = deque()
        self._folder = folder
        self._wake = wake
        self._given: deque[SavedState] = deque()
        self._more = threading.Semaphore(0)
        self.start()

    def write(self, state: SavedState) -> None:
        """Write a state."""
        self._given.append(state)
        self._more.release()

    def run(self) -> None:
        """Wait, and write, for ever."""
        while True:
            self._more.acquire()
            state = self._given.popleft()
            try:
                data = pack(state)
                self._folder.write(data, state.serial)
            except OSError as error:
                self.done.append(error)
            else:
                self.done.append(len(data))
            self._wake()


def next_state(last: SavedState, **changes: object) -> SavedState:
    """Return the state that follows another."""
    return msgspec.structs.replace(last, serial=last.serial + 1, written=time.time(), **changes)
