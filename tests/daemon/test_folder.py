"""The state folder: two generations, one owner, and no crash whatever has become of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_lstm.daemon.folder import SLOTS, WHOLE, InUseError, StateFolder
from edge_lstm.errors import ConfigError
from edge_lstm.saved import SavedState, pack
from tests.daemon.conftest import ROOT
from tests.daemon.folders import read_only


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def folder(path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(path)
    assert folder.problem == ""
    yield folder
    folder.close()


def write(folder: StateFolder, *serials: int) -> None:
    for serial in serials:
        folder.write(pack(SavedState(serial=serial)), serial)


def serial_in(folder: StateFolder) -> int | None:
    state = folder.load().state
    return state.serial if state else None


def slot(path: Path, serial: int) -> Path:
    return path / SLOTS[serial % 2]


# ---- Two generations -----------------------------------------------------------------------------


def test_a_new_folder_is_empty_and_ours_alone(folder: StateFolder, path: Path) -> None:
    assert folder.load() == (None, False, [])
    assert path.stat().st_mode & 0o777 == 0o700


def test_the_newest_state_is_found_whatever_its_slot(folder: StateFolder) -> None:
    for serial in range(1, 6):
        write(folder, serial)
        assert serial_in(folder) == serial


def test_only_two_generations_are_kept(folder: StateFolder, path: Path) -> None:
    write(folder, 1, 2, 3, 4)
    assert {file.name for file in path.iterdir()} == {*SLOTS, "lock"}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in path.iterdir())


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\0" * 5000])
def test_a_damaged_newest_gives_way_to_the_one_before(folder: StateFolder, path: Path, damage: bytes) -> None:
    write(folder, 1, 2)
    folder.vouch()
    assert folder.load().whole
    slot(path, 2).write_bytes(damage)
    found = folder.load()
    assert found.state is not None
    assert found.state.serial == 1
    assert not found.whole
    assert len(found.problems) == 1
    assert str(slot(path, 2)) in found.problems[0]
    write(folder, 2)  # goes over the damaged one, not over the good one
    assert folder.load().problems == []
    assert serial_in(folder) == 2


def test_two_damaged_states_are_none(folder: StateFolder, path: Path) -> None:
    for name in SLOTS:
        (path / name).write_bytes(b"garbage")
    found = folder.load()
    assert (found.state, found.whole, len(found.problems)) == (None, False, 2)


def test_a_state_beyond_all_bounds_is_not_read(folder: StateFolder, path: Path) -> None:
    with (path / SLOTS[0]).open("wb") as file:
        file.truncate(2**40)  # takes no room
    assert "more than" in folder.load().problems[0]


def test_a_slot_that_is_a_folder_is_told(folder: StateFolder, path: Path) -> None:
    (path / SLOTS[0]).mkdir()
    assert len(folder.load().problems) == 1
    write(folder, 1)
    with pytest.raises(IsADirectoryError):
        write(folder, 2)
    assert serial_in(folder) == 1


def test_what_a_kill_left_is_removed(folder: StateFolder, path: Path) -> None:
    write(folder, 1)
    for name in SLOTS:
        (path / f"{name}.new").write_bytes(b"half")
    found = folder.load()
    assert found.problems == []
    assert found.state is not None
    assert not list(path.glob("*.new"))


def test_a_planted_link_is_not_followed(folder: StateFolder, path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"dear")
    (path / f"{SLOTS[1]}.new").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        write(folder, 1)
    assert precious.read_bytes() == b"dear"
    folder.load()
    write(folder, 1)
    assert serial_in(folder) == 1


# ---- One owner -----------------------------------------------------------------------------------


def test_a_second_daemon_is_kept_out_until_the_first_has_left(folder: StateFolder, path: Path) -> None:
    with pytest.raises(InUseError, match="in use"):
        StateFolder(path)
    with pytest.raises(InUseError):
        StateFolder(path)  # the one before has not taken anything over
    folder.close()
    StateFolder(path).close()


def test_a_process_that_is_killed_leaves_the_folder_free(path: Path) -> None:
    code = f"from edge_lstm.daemon.folder import *; StateFolder(Path({str(path)!r})); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.read(1)
        with pytest.raises(InUseError):
            StateFolder(path)
        other.kill()
    StateFolder(path).close()


def test_the_lock_is_not_inherited(folder: StateFolder, path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        folder.close()
        StateFolder(path).close()
        child.kill()


# ---- What else it may be -------------------------------------------------------------------------


def test_a_file_is_no_folder(path: Path) -> None:
    path.write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        StateFolder(path)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others"):
        StateFolder(path)


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = StateFolder(tmp_path / "file" / "state")
    assert "Not a directory" in folder.problem
    found = folder.load()
    assert (found.state, found.whole, len(found.problems)) == (None, False, 2)
    assert folder.client_id() == ""
    with pytest.raises(OSError, match="Not a directory"):
        write(folder, 1)
    folder.close()


def test_a_read_only_folder_is_read(folder: StateFolder, path: Path) -> None:
    known = folder.client_id()
    write(folder, 1)
    folder.vouch()
    folder.close()
    with read_only(path):
        other = StateFolder(path)
        assert str(path) in other.problem
        found = other.load()
        assert found.state is not None
        assert not found.whole  # nobody could note that it is not, from now on
        assert other.client_id() == known
        assert not other.disown()
        with pytest.raises(OSError, match=r"Read-only|denied"):
            write(other, 2)
        other.close()
    assert serial_in(folder) == 1


def test_two_daemons_on_a_read_only_folder_are_told_apart(folder: StateFolder, path: Path) -> None:
    with read_only(path), pytest.raises(InUseError):
        StateFolder(path)


def test_a_folder_that_vanished_is_made_again_with_its_lock(folder: StateFolder, path: Path) -> None:
    known = folder.client_id()
    write(folder, 1)
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    write(folder, 2)
    assert serial_in(folder) == 2
    assert path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(InUseError):
        StateFolder(path)
    folder.close()
    other = StateFolder(path)
    assert other.client_id() == known
    other.close()


def test_a_folder_that_another_daemon_took_meanwhile_is_left_to_it(folder: StateFolder, path: Path) -> None:
    (path / "lock").unlink()
    other = StateFolder(path)
    for _ in range(2):
        with pytest.raises(OSError, match="in use"):
            write(folder, 1)
    assert serial_in(other) is None
    other.close()
    write(folder, 1)
    assert serial_in(folder) == 1


# ---- Who we are ----------------------------------------------------------------------------------


def test_the_client_id_is_kept(folder: StateFolder, path: Path) -> None:
    known = folder.client_id()
    assert known == folder.client_id()
    assert known.startswith("edge-lstm-")
    folder.close()
    other = StateFolder(path)
    assert other.client_id() == known
    other.close()


def test_two_folders_have_two_client_ids(folder: StateFolder, tmp_path: Path) -> None:
    other = StateFolder(tmp_path / "other")
    assert other.client_id() != folder.client_id()
    other.close()


@pytest.mark.parametrize("odd", [b"", b"\n", b"a\x07b", b"\xff", b"x" * 65, b"a\nb"])
def test_an_odd_client_id_is_replaced(folder: StateFolder, path: Path, odd: bytes) -> None:
    (path / "client_id").write_bytes(odd)
    known = folder.client_id()
    assert known.startswith("edge-lstm-")
    assert (path / "client_id").read_text() == f"{known}\n"


def test_a_client_id_of_ones_own_is_taken(folder: StateFolder, path: Path) -> None:
    (path / "client_id").write_text("line-3")
    assert folder.client_id() == "line-3"


# ---- Whole or not --------------------------------------------------------------------------------


def test_a_state_is_whole_while_it_is_vouched_for(folder: StateFolder, path: Path) -> None:
    write(folder, 1)
    assert not folder.load().whole
    folder.vouch()
    assert folder.load().whole
    assert folder.disown()
    assert folder.disown()
    assert not folder.load().whole
    assert not (path / WHOLE).exists()


def test_that_it_is_not_whole_is_on_the_disk_before_it_counts(
    folder: StateFolder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut brings the note back, and samples are missing without a word."""
    folder.vouch()
    noted: list[bool] = []
    real = os.fsync

    def fsync(file: int) -> None:
        noted.append(os.path.samestat(os.fstat(file), path.stat()) and not (path / WHOLE).exists())
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    assert folder.disown()
    assert noted == [True]
