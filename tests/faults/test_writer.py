"""Whenever the process that writes checkpoints is killed, or the power goes, there is one that can be read.

It is the last that was complete, or a newer one, to the last bit; and what says that it is whole is true.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_lstm.daemon.folder import StateFolder
from tests.daemon.conftest import ROOT
from tests.faults.conftest import Figures
from tests.faults.crashes import Replay, trace

pytestmark = pytest.mark.faults


def killed(path: Path, kills: int, how: str) -> dict[str, int]:
    """Kill a writer so often; return what was found, in words."""
    command = [sys.executable, "-m", "tests.faults.writer", str(path), str(kills), "1", how]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def test_a_writer_that_is_killed(tmp_path: Path, figures: Figures, full: bool) -> None:
    kills = 1000 if full else 100
    found = killed(tmp_path / "state", kills, "whole")
    control = killed(tmp_path / "control", kills // 2, "naive")
    figures |= {"kills": kills, "found": found, "control": control}
    assert found["same"] + found.get("newer", 0) + found.get("nothing", 0) == kills
    assert found["checkpoints"] > kills / 2  # it was killed at work
    assert control["unreadable"] > 0  # or the kills prove nothing


SCRIPT = """
import os, sys
from pathlib import Path
from edge_lstm.daemon.folder import StateFolder
from edge_lstm.saved import pack
from tests.faults.writer import state

folder = StateFolder(Path(sys.argv[1]))
folder.client_id()
note = b"missing"
for serial in range(1, int(sys.argv[2]) + 1):
    folder.write(pack(state(serial)), serial)
    os.write(1, b"%d %s" % (serial, note))
    note = b"whole"
    os.write(1, b"%d %s" % (serial, note))
    folder.vouch()
    if serial % 3:
        folder.disown()
        note = b"missing"
        os.write(1, b"%d %s" % (serial, note))
"""


def test_every_moment_that_the_power_may_go(tmp_path: Path, figures: Figures, full: bool) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    path, checkpoints = tmp_path / "state", 50 if full else 12
    replay, crashes = Replay(path), 0
    for call in trace(SCRIPT, path, str(checkpoints)):
        replay.do(call)
        serial, _, note = replay.said.decode().partition(" ")
        for names in replay.crashes():
            crashes += 1
            check(tmp_path / "found", names, int(serial or 0), missing=note == "missing")
    figures |= {"checkpoints": checkpoints, "crashes": crashes}
    assert replay.said.startswith(b"%d " % checkpoints)
    assert crashes > 20 * checkpoints


def check(path: Path, names: dict[bytes, bytes], complete: int, missing: bool) -> None:
    """Hold what a crash left against what was promised before."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(0o700)
    for name, content in names.items():
        (path / name.decode()).write_bytes(content)
    folder = StateFolder(path)
    found = folder.load()
    folder.close()
    assert found.problems == []
    serial = found.state.serial if found.state else 0
    assert complete <= serial <= complete + 1
    assert not (missing and found.whole)
