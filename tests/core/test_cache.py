"""Kernels that are kept on disk: of use where they can be, and never in the way."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from edge_lstm.core import cache

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")


def twice(x: float) -> float:
    return 2.0 * x


def start() -> Any:
    """Return the kernel as a process that starts has it."""
    return cache.kernel(twice)


def hits(dispatcher: Any) -> int:
    return sum(dispatcher.stats.cache_hits.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "DIRECTORY", tmp_path)
    return tmp_path


def kept(folder: Path, suffix: str) -> Path:
    (found,) = folder.rglob(f"*{suffix}")
    return found


def flipped(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1
    return bytes(damaged)


Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "cut off": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "empty": lambda content: b"",
    "text": lambda content: b"this is no pickle",
    "a flipped bit at the start": lambda content: flipped(content, 3),
    "a flipped bit in the middle": lambda content: flipped(content, len(content) // 2),
}


@pytest.mark.parametrize("suffix", [".nbi", ".nbc", ".sums"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_compiled_again(folder: Path, suffix: str, damage: str) -> None:
    assert start()(4.0) == 8.0
    path = kept(folder, suffix)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = start()
    assert again(4.0) == 8.0
    assert hits(again) == 0
    third = start()
    assert third(4.0) == 8.0
    assert hits(third) == 1


def test_what_is_gone_is_compiled_again(folder: Path) -> None:
    start()(4.0)
    kept(folder, ".nbc").unlink()
    assert start()(4.0) == 8.0


def test_another_processor_has_kernels_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that moves to another machine: what was compiled for the first is neither run nor lost."""
    assert start()(4.0) == 8.0
    with monkeypatch.context() as other:
        other.setattr("numba.core.codegen.CPUCodegen.magic_tuple", lambda self: ("arm64", "cortex-a76", "+neon"))
        first, second = start(), start()
        assert (first(4.0), second(4.0)) == (8.0, 8.0)
        assert (hits(first), hits(second)) == (0, 1)
    back = start()
    assert back(4.0) == 8.0
    assert hits(back) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_can_t_be_kept_runs_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._open_for_write", refuse)
    assert start()(4.0) == 8.0
    assert hits(start()) == 0


# ---- Where they are kept -------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_the_directory_is_private(root: Path) -> None:
    before = os.umask(0)
    try:
        directory = cache._directory()
    finally:
        os.umask(before)
    assert directory is not None
    assert directory.is_relative_to(root)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_not_used(root: Path, mode: int) -> None:
    directory = cache._directory()
    assert directory is not None
    directory.chmod(mode)
    assert cache._directory() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_not_used(root: Path) -> None:
    directory = cache._directory()
    assert directory is not None
    os.chown(directory, 65_534, -1)
    assert cache._directory() is None


def test_a_place_that_is_no_directory_is_not_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(root / "file"))
    assert cache._directory() is None


def test_without_a_place_kernels_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "DIRECTORY", None)
    assert start()(4.0) == 8.0
