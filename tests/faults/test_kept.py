"""What was kept is gone on from to the last bit, or not at all; and no more is written than the disk should bear."""

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_lstm.bundle import Bundle, read
from edge_lstm.daemon.checkpoint import DAY_S
from edge_lstm.daemon.config import State
from edge_lstm.daemon.folder import SLOTS, StateFolder
from edge_lstm.daemon.memory import EVERY_S as EVERY_DEFAULT_S
from edge_lstm.lane import Settings
from edge_lstm.messages import Message
from edge_lstm.options import default_weights
from edge_lstm.pipeline import Outputs, Pipeline, Route
from edge_lstm.saved import MAGIC, SavedState, pack
from edge_lstm.stages.decode import Source
from tests.bundles import random_stream
from tests.daemon.conftest import wait_for
from tests.daemon.folders import mount, unmount
from tests.faults.broker import StoringBroker
from tests.faults.clients import sample
from tests.faults.conftest import Figures, Start
from tests.faults.kept import EVERY_S, look, sections
from tests.faults.ledger import Ledger, key_of

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("damage", ["version", "columns", "garbage"])
def test_a_state_that_is_not_understood_is_a_cold_start(
    broker: StoringBroker, ledger: Ledger, bundle: Bundle, tmp_path: Path, start: Start, damage: str
) -> None:
    """An older daemon finds a newer one's state, or the other way round."""
    pipeline = Pipeline([Route(Source("plant/+/data"), bundle, Settings(), Outputs())])
    pipeline.handle([Message(*sample(stream, 0)) for stream in ledger.streams])
    [route] = pipeline.snapshot()
    if damage == "columns":
        arrays = route.lane.arrays | {"row": route.lane.arrays["row"][:, :-1]}
        route = route._replace(lane=route.lane._replace(arrays=arrays))
    data = pack(SavedState(serial=1, routes=[route]))
    data = data.replace(MAGIC, MAGIC.replace(b"1", b"2")) if damage == "version" else data
    folder = tmp_path / "state"
    folder.mkdir(0o700)
    (folder / SLOTS[1]).write_bytes(b"garbage" if damage == "garbage" else data)
    process = start(broker.url, sections(folder))
    ledger.wait_online(process)
    ledger.send(10)
    account = ledger.close_books(process)
    assert (account.lost, account.wrong) == ([], 0)  # every stream is new, and was not stepped by what is there
    assert "start anew" in process.log() or "not used" in process.log()


def test_scores_after_a_kill_equal_those_of_a_pipeline_that_goes_on_from_the_checkpoint(
    broker: StoringBroker, ledger: Ledger, bundle: Bundle, tmp_path: Path, start: Start, figures: Figures, full: bool
) -> None:
    folder, kills = tmp_path / "state", 20 if full else 3
    lines = sections(folder)
    process = start(broker.url, lines)
    ledger.wait_online(process)
    compared = 0
    with ledger.feeding(rounds_per_s=20):
        for _ in range(kills):
            ledger.resumed(process, time.monotonic())
            time.sleep(2 * EVERY_S)
            process.end(signal.SIGKILL)
            wait_for(lambda: ledger.collector.last("edge-lstm/status") == b"offline", "the will")
            before = len(ledger.collector.arrivals)
            state = look(folder).state
            assert state is not None
            process = start(broker.url, lines)
            ledger.resumed(process, time.monotonic())
            ledger.resumed(process, time.monotonic())
            compared += compare(ledger, before, state, bundle)
    account = ledger.close_books(process)
    figures |= ledger.figures(account) | {"kills": kills, "compared": compared}
    assert account.lost == []


def compare(ledger: Ledger, before: int, state: SavedState, bundle: Bundle) -> int:
    """Hold scores from a moment on against those of a pipeline that goes on from a state; return how many."""
    keyed = [(key_of(arrival), arrival.payload) for arrival in ledger.collector.arrivals[before:] if not arrival.again]
    found = [(key, payload) for key, payload in keyed if key]
    pipeline = Pipeline([Route(Source("plant/+/data"), bundle, Settings(), Outputs())])
    assert pipeline.restore(state.routes) == []
    pipeline.doubt()
    out = pipeline.handle([Message(*sample(stream, seq)) for (stream, seq), _ in found])
    expected = [message.payload for message in out if message.topic.endswith("/score")]
    assert [payload for _, payload in found] == expected
    qualities = [json.loads(payload)["quality"] for payload in expected]
    assert "recovering" in qualities
    return len(found)


STREAMS = 1000


def test_how_much_is_written_in_a_day(tmp_path: Path, figures: Figures) -> None:
    """A thousand streams of the universal bundle, at defaults, counted by the block device where there is one."""
    pipeline = Pipeline([Route(Source("plant/+/data"), read(default_weights()), Settings(), Outputs())])
    for at_s in range(200):
        values = random_stream(STREAMS, 1, at_s)[1][:, 0]
        pipeline.handle([
            Message(f"plant/{n}/data", json.dumps({"t": 1.7e9 + at_s, "value": value}).encode())
            for n, value in enumerate(values.tolist())
        ])  # fmt: skip
    data = pack(SavedState(serial=1, routes=pipeline.snapshot()))
    defaults = State()
    interval_s = max(EVERY_DEFAULT_S, len(data) * DAY_S / (defaults.mib_per_day * 2**20))
    with block_device(tmp_path) as (folder, sectors):
        state, count, before = StateFolder(folder), 20, sectors()
        for serial in range(count):
            state.write(data, serial)
        written = 512 * (sectors() - before) / count
        state.close()
    a_day = DAY_S / interval_s / 2**20
    figures |= {"bytes": len(data), "bytes_per_stream": len(data) / STREAMS, "interval_s": interval_s}
    figures |= {"mib_per_day": len(data) * a_day, "device_mib_per_day": written * a_day}
    assert len(data) * a_day <= defaults.mib_per_day
    assert written <= 1.25 * len(data) + 65_536


@contextlib.contextmanager
def block_device(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], int]]]:
    """Make a file system on a device of its own; yield it, and how many sectors were written so far."""
    image, folder = tmp_path / "image", tmp_path / "device"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (apt install e2fsprogs)")
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image], check=True)
    folder.mkdir()
    mount("-o", "loop", image, folder)
    try:
        device = subprocess.run(["findmnt", "-no", "SOURCE", folder], capture_output=True, text=True, check=True)
        stat = Path("/sys/block") / Path(device.stdout.strip()).name / "stat"
        folder.chmod(0o700)
        subprocess.run(["sync", "-f", folder], check=True)

        def sectors() -> int:
            subprocess.run(["sync", "-f", folder], check=True)
            return int(stat.read_text(encoding="ascii").split()[6])

        yield folder, sectors
    finally:
        unmount(folder)
