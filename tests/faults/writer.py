"""A process that writes checkpoints one after the other, and is killed while it does; over and over.

    python -m tests.faults.writer FOLDER KILLS SEED whole|naive

The whole way is the daemon's own; the naive one writes over the file that is there. What was found after each kill is
printed in the end, as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_lstm.daemon.folder import SLOTS, StateFolder
from edge_lstm.errors import StateError
from edge_lstm.lane import Saved
from edge_lstm.route import SavedRoute
from edge_lstm.saved import SavedState, pack, unpack

ROWS, COLUMNS = 200, 120  # 190 kB that hardly get smaller
PIECE = 4096
AT_ONCE = 4
LONGEST_S = 0.012  # which those take, about

Write = Callable[[Path, bytes, int], None]


def state(serial: int) -> SavedState:
    """Return a state in which every number depends on its serial."""
    array = np.random.default_rng(serial).standard_normal((ROWS, COLUMNS))
    lane = Saved([f"s{n}" for n in range(ROWS)], {}, {"row": array})
    return SavedState(serial=serial, routes=[SavedRoute("plant/#", "bundle", {}, lane)])


def is_complete(found: SavedState) -> bool:
    """Tell whether it is one of ours, to the last bit."""
    expected = state(found.serial)
    row = found.routes[0].lane.arrays["row"]
    return bool((row == expected.routes[0].lane.arrays["row"]).all())


def naive(path: Path, data: bytes, serial: int) -> None:
    """Write over what is there, piece by piece."""
    with (path / SLOTS[serial % 2]).open("wb", buffering=0) as file:
        for at in range(0, len(data), PIECE):
            file.write(data[at : at + PIECE])


def work(path: Path, first: int, done: int, write: Write | None) -> None:
    """Write some checkpoints, and tell of each that is complete; then wait for the end."""
    folder = StateFolder(path)
    packed = {serial: pack(state(serial)) for serial in range(first, first + AT_ONCE)}
    os.write(done, b"0\n")
    for serial, data in packed.items():
        if write:
            write(path, data, serial)
        else:
            folder.write(data, serial)
        os.write(done, b"%d\n" % serial)
    signal.pause()


def killed(path: Path, first: int, after_s: float, write: Write | None) -> int:
    """Let it work for a moment, kill it, and return the last checkpoint that was complete, 0 for none."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        work(path, first, theirs, write)
    os.close(theirs)
    os.read(ours, 2)  # it has begun
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(ours, "rb") as told:
        return max((int(line) for line in told.read().split()), default=0)


def look(path: Path, complete: int) -> str:
    """Return in a word what a kill left."""
    folder = StateFolder(path)
    found = folder.load()
    folder.close()
    if found.problems:
        return "unreadable"
    if found.state is None:
        return "lost" if complete else "nothing"
    if not is_complete(found.state):
        return "wrong"
    return "lost" if found.state.serial < complete else "newer" if found.state.serial > complete else "same"


def newest(path: Path) -> int:
    """Return the largest serial of what can be read."""
    serials = [0]
    for name in SLOTS:
        try:
            serials.append(unpack((path / name).read_bytes()).serial)
        except (OSError, StateError):
            continue
    return max(serials)


def main(folder: str, kills: str, seed: str, how: str) -> None:
    """Kill it so often, and print what was found."""
    path, draw, found, complete = Path(folder), random.Random(int(seed)), Counter[str](), 0
    write = naive if how == "naive" else None
    for _ in range(int(kills)):
        first = max(complete, newest(path)) + 1
        complete = killed(path, first, draw.uniform(0.0, LONGEST_S), write) or complete
        found[look(path, complete)] += 1
    json.dump({"checkpoints": complete, **found}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
