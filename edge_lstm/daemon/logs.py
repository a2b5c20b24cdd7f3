"""Log lines on standard error: plain, or with the priorities that the journal understands.

Rules:
1. Logging never waits. Lines go through a bounded queue to a thread that writes them; while nobody takes what it
   writes, further ones are left out, and counted.
2. One message (the same before its arguments are put in) stands at most ``MOST`` times a minute. How many more there
   were is said when the minute is over.
3. What others sent can neither start a line nor control a terminal: such characters are escaped.
"""

import atexit
import io
import logging
import os
import queue
import re
import select
import sys
import threading
import time
import traceback
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener

LINES = 1000  # that wait to be written
MOST = 5  # lines of one kind
PER_S = 60.0
GOODBYE_S = 1.0
_KINDS = 256  # templates that are counted; there are fewer in the program

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
# C0 and C1, line and paragraph separators, what changes the direction of text, and halves of characters
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def start(level: str) -> None:
    """Log from now on, at this level and above."""
    stop()
    root = logging.getLogger("edge_lstm")
    root.handlers[:] = [_handler()]
    set_level(level)


def set_level(level: str) -> None:
    """Log at this level and above from now on."""
    logging.getLogger("edge_lstm").setLevel(level.upper())


def stop() -> None:
    """Write what waits, for a moment at most, and log no more; for the end of the process, however it comes."""
    global _writing
    if _writing is not None:
        _writing.finish()
        _writing = None


def _handler() -> logging.Handler:
    """Return where records go: to the thread that writes, or straight into what is no file and so can't block."""
    global _writing
    handler: logging.Handler
    try:
        number = sys.stderr.fileno()
    except (AttributeError, ValueError, io.UnsupportedOperation):  # closed, or replaced by something in memory
        handler = logging.StreamHandler(sys.stderr) if sys.stderr is not None else logging.NullHandler()
        handler.setFormatter(_format())
        return handler
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(LINES)
    door = Door(lines)
    door.setFormatter(_format())
    _writing = _Writing(lines, door, number)
    _writing.start()
    return door


def _format() -> logging.Formatter:
    if "JOURNAL_STREAM" in os.environ:
        return _Journal("%(message)s")
    return _Escaped("%(asctime)s %(levelname)s %(message)s")


def escape(text: str) -> str:
    """Return a text without characters that do something."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


class _Escaped(logging.Formatter):
    """Only a traceback has several lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        record.message = escape(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802
        parts = traceback.TracebackException(*ei).format()  # type: ignore[misc]
        return "\n".join(line for part in parts for line in _lines_of(part.rstrip("\n")))


def _lines_of(part: str) -> list[str]:
    """Return a part of a traceback in lines; what an error says is one, whoever wrote it."""
    lines = part.split("\n") if part.startswith('  File "') else [part]
    return [escape(line) for line in lines]


class _Journal(_Escaped):
    """The journal adds the time itself, and reads ``<n>`` in front of each line."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


class Door(QueueHandler):
    """Lets records into the queue: not too many of a kind, and none that it has no room for.

    Attributes:
        left_out: records that there was no room for.
    """

    def __init__(self, lines: "queue.Queue[logging.LogRecord | None]") -> None:
        super().__init__(lines)
        self.left_out = 0
        self._counting = threading.Lock()
        self._kinds: dict[tuple[str, int, str], list[float]] = {}  # when counting began, and how many there were

    def emit(self, record: logging.LogRecord) -> None:
        """Let a record in, or count it."""
        if not self._admits(record):
            return
        try:
            self.enqueue(self.prepare(record))
        except queue.Full:
            with self._counting:
                self.left_out += 1
        except Exception:
            self.handleError(record)

    def _admits(self, record: logging.LogRecord) -> bool:
        kind = (record.name, record.levelno, str(record.msg))
        with self._counting:
            if kind not in self._kinds and len(self._kinds) >= _KINDS:
                self._kinds.clear()
            counted = self._kinds.setdefault(kind, [time.monotonic(), 0.0])
            counted[1] += 1.0
            return counted[1] <= MOST

    def due_s(self) -> float | None:
        """Return in how many seconds the first minute is over, ``None`` if none is counted."""
        with self._counting:
            began = min((counted[0] for counted in self._kinds.values()), default=None)
        return None if began is None else max(0.0, began + PER_S - time.monotonic())

    def summaries(self) -> list[logging.LogRecord]:
        """Return a record for each kind of which there were too many in a minute that is over."""
        with self._counting:
            over = {kind: n for kind, (began, n) in self._kinds.items() if time.monotonic() - began >= PER_S}
            for kind in over:
                del self._kinds[kind]
        return [
            self.prepare(_record(name, level, "... %d more like this: %s", int(n) - MOST, text))
            for (name, level, text), n in over.items()
            if n > MOST
        ]

    def apology(self) -> list[logging.LogRecord]:
        """Return a record about what was left out since the last one."""
        with self._counting:
            count, self.left_out = self.left_out, 0
        text = "%d lines were left out while nobody took what was logged"
        return [self.prepare(_record("edge_lstm", logging.WARNING, text, count))] if count else []


def _record(name: str, level: int, text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 0, text, arguments, None)


class _Writing(QueueListener):
    """The thread that writes."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord | None]", door: Door, number: int) -> None:
        super().__init__(lines, _Descriptor(number))
        self._lines = lines
        self._door = door

    def dequeue(self, block: bool) -> logging.LogRecord | None:  # type: ignore[override]
        """Return the next record, or ``None`` at the end; meanwhile say what there was too much of."""
        while True:
            try:
                return self._lines.get(block, self._door.due_s())
            except queue.Empty:
                for record in self._door.summaries():
                    super().handle(record)

    def handle(self, record: logging.LogRecord) -> None:
        """Write a record, and what came of those before it."""
        super().handle(record)
        for more in self._door.apology() + self._door.summaries():
            super().handle(more)

    def finish(self) -> None:
        """Let the thread end after what waits, and wait for that for a moment."""
        with suppress(queue.Full):  # else it is not getting on, and the process will end without it
            self.enqueue_sentinel()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(GOODBYE_S)


class _Descriptor(logging.Handler):
    """Writes past Python's buffers: at the end of the process these can't be closed while a thread is stuck in them."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def createLock(self) -> None:  # noqa: N802
        """Do without: only one thread writes, and who ends the process must not wait for it."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, whatever becomes of it."""
        left = memoryview((record.getMessage() + "\n").encode("utf-8", "backslashreplace"))
        with suppress(OSError):  # there is nobody left to tell
            while left:
                left = left[self._write(left) :]

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._number, data)
        except BlockingIOError:  # somebody has set the descriptor so
            poller = select.poll()
            poller.register(self._number, select.POLLOUT)
            poller.poll(1000)
            return 0


_writing: _Writing | None = None
atexit.register(stop)
