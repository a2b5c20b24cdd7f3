"""A daemon that is broken ends, at once and with a word; whoever started it starts it again."""

import logging
import os
import sys
import threading
from types import TracebackType

from edge_lstm.daemon import logs

INTERNAL = 70  # EX_SOFTWARE of sysexits.h

log = logging.getLogger(__name__)


def tell(error: BaseException | None, where: str) -> None:
    """Log a fault of ours."""
    log.critical("a fault of ours in %s; please report it", where, exc_info=error)


def die(error: BaseException | None, where: str) -> None:
    """Log a fault of ours, and end the process with it; the broker then tells our last will."""
    tell(error, where)
    logs.stop()
    os._exit(INTERNAL)


def _in_thread(arguments: threading.ExceptHookArgs) -> None:
    die(arguments.exc_value, f"thread {arguments.thread.name if arguments.thread else '?'}")


def _in_callback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    die(error, "the main thread")


def of_any_thread() -> None:
    """Have an exception that nobody catches end the process, in whatever thread it is."""
    threading.excepthook = _in_thread
    sys.excepthook = _in_callback
