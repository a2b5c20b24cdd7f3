"""Odd surroundings: no locale, no home, no time zone, no standard input, no assertions, no place for a cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PUMP = ROOT / "weights" / "pump.safetensors"
PATH = os.environ.get("PATH", "")
CACHE = {name: os.environ[name] for name in ("HOME", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME") if name in os.environ}


def run(*arguments: str | Path, stdin_closed: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with no environment but this."""
    return subprocess.run(
        [sys.executable, "-m", "edge_lstm", *map(str, arguments)],
        cwd=ROOT,
        env={"PATH": PATH} | environment,
        preexec_fn=(lambda: os.close(0)) if stdin_closed else None,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def assert_runs(done: subprocess.CompletedProcess[str]) -> None:
    """A bundle was read, and its golden run gave the same bits."""
    assert done.stderr == ""
    assert json.loads(done.stdout)["golden_run"] == "ok"
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C", "LC_ALL": "C"},
        {"LC_ALL": "xx_YY.KOI8-R"},
        {"TZ": "No/Such/Zone"},
        {"TZ": ":/dev/null"},
        {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        {"PYTHONOPTIMIZE": "2"},
        {"TMPDIR": "/nowhere"},
    ],
    ids=lambda environment: " ".join(f"{name}={value}" for name, value in environment.items()),
)
def test_a_bundle_computes_the_same_anywhere(environment: dict[str, str]) -> None:
    assert_runs(run("inspect", PUMP, "--json", **CACHE, **environment))


@pytest.mark.slow
def test_without_standard_input() -> None:
    assert_runs(run("inspect", PUMP, "--json", stdin_closed=True, **CACHE))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null"])
def test_without_a_home_or_a_place_for_a_cache(place: str) -> None:
    """Kernels are compiled at each start then; for a minute or so."""
    assert_runs(run("inspect", PUMP, "--json", HOME=place, XDG_CACHE_HOME=place))


def test_names_in_any_script_are_told_without_a_locale(tmp_path: Path) -> None:
    """A topic and a folder that ASCII can't say, under the C locale, and to a terminal that takes ASCII only."""
    folder = tmp_path / "Kälte"
    folder.mkdir()
    (folder / "config.toml").write_text("[[source]]\ntopic = 'Kühlraum/+/°C'\nbudget = 'selten'\n", encoding="utf-8")
    done = run("check", "-c", folder / "config.toml", LC_ALL="C", **CACHE)
    assert done.returncode == 2
    assert done.stdout.startswith(f"{folder}/config.toml:3: budget is 'selten'")
    assert "Traceback" not in done.stderr
    done = run("check", "-c", folder / "config.toml", PYTHONIOENCODING="ascii", **CACHE)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
