"""What is logged neither waits, nor floods, nor does anything to who reads it."""

import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from edge_lstm.daemon import logs
from tests.daemon.conftest import ROOT, wait_for

log = logging.getLogger("edge_lstm.tests")


class Standard:
    """A standard error of our own: a pipe."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.end, self._number = os.pipe()
        os.set_blocking(self.end, False)
        self.text = ""

    def fileno(self) -> int:
        return self._number

    def read(self) -> str:
        with suppress(BlockingIOError):
            self.text += os.read(self.end, 65_536).decode()
        return self.text

    def start(self) -> None:
        """Log to here from now on."""
        self._patch.setattr(sys, "stderr", self)
        logs.start("info")

    def close(self) -> None:
        for number in (self.end, self._number):
            os.close(number)


@pytest.fixture
def standard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standard]:
    standard = Standard(monkeypatch)
    root = logging.getLogger("edge_lstm")
    before = root.handlers[:], root.level
    monkeypatch.setattr(root, "propagate", False)  # what is logged here by the thousand is not worth a report
    yield standard
    while standard.read() != standard.read():
        pass
    logs.stop()
    root.handlers[:], root.level = before
    standard.close()


def test_a_line(standard: Standard) -> None:
    standard.start()
    log.info("%d streams", 7)
    log.debug("not this")
    log.warning("100 %%")
    wait_for(lambda: standard.read().count("\n") == 2, "two lines")
    first, second = standard.text.splitlines()
    assert first.endswith(" INFO 7 streams")
    assert second.endswith(" WARNING 100 %%")
    logs.stop()
    log.info("after the end")
    assert standard.read().count("\n") == 2


def test_nobody_who_reads_is_waited_for(standard: Standard) -> None:
    standard.start()
    lines = logs.LINES + 3000
    began = time.monotonic()
    for k in range(lines):
        log.info(f"{k} " + 500 * "x")
    assert time.monotonic() - began < 2.0

    def accounted() -> int:
        found = standard.read().splitlines()
        left_out = sum(int(line.split()[3]) for line in found if "lines were left out" in line)
        return left_out + standard.text.count("xxx\n")

    wait_for(lambda: accounted() == lines, "every line to be written or counted")
    assert 100 < standard.text.count("xxx\n") < lines


def test_a_process_ends_though_nobody_reads() -> None:
    code = (
        "import logging\nfrom edge_lstm.daemon import logs\nlogs.start('info')\n"
        "for k in range(3000):\n    logging.getLogger('edge_lstm').info(str(k) + 500 * 'x')\n"
    )
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    assert process.wait(10.0) == 0
    assert time.monotonic() - began < 5.0
    assert process.stderr is not None
    process.stderr.close()


def test_what_was_logged_last_is_written_before_the_end() -> None:
    code = (
        "import logging\nfrom edge_lstm.daemon import logs\nlogs.start('info')\n"
        "logging.getLogger('edge_lstm').error('the last word')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.stderr.endswith("ERROR the last word\n")


def test_the_same_again_and_again_is_said_in_one_line(standard: Standard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PER_S", 0.3)
    standard.start()
    for k in range(100):
        log.warning("lost %d", k)
    log.info("another")
    wait_for(lambda: "more like this" in standard.read(), "the line when it is over")
    lines = [line.split(" ", 3)[2:] for line in standard.text.splitlines()]
    expected = [["WARNING", f"lost {k}"] for k in range(logs.MOST)]
    expected += [["INFO", "another"], ["WARNING", "... 95 more like this: lost %d"]]
    assert lines == expected
    log.warning("lost %d", 100)
    wait_for(lambda: standard.read().endswith("lost 100\n"), "what is said in the next minute")


@pytest.mark.parametrize("journal", [False, True])
def test_what_others_wrote_does_nothing(standard: Standard, journal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if journal:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    standard.start()
    log.info("topic %s", "a\n<3>b\r\x1b[2J\x07\x85\u202e\u2028\ud800é°")
    try:
        raise ValueError("\x1b[31m bad\nWARNING forged")
    except ValueError:
        log.exception("a fault")
    wait_for(lambda: "forged" in standard.read(), "both")
    first, *rest = standard.text.splitlines()
    assert first.endswith("topic a\\n<3>b\\r\\x1b[2J\\x07\\x85\\u202e\\u2028\\ud800é°")
    assert all(line.startswith("<3>") for line in rest) == journal
    assert standard.text.endswith("ValueError: \\x1b[31m bad\\nWARNING forged\n")
    assert "\x1b" not in standard.text


def test_a_standard_error_that_is_closed_is_no_fault(standard: Standard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    logs.start("info")
    log.info("nowhere")
    standard.start()
    log.info("here")
    wait_for(lambda: "here" in standard.read(), "the line")
    assert "nowhere" not in standard.text


def test_where_nothing_can_block_nothing_waits(standard: Standard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard error in memory has every line at once."""
    memory = io.StringIO()
    monkeypatch.setattr(sys, "stderr", memory)
    logs.start("info")
    log.info("at once")
    assert memory.getvalue().endswith("at once\n")
