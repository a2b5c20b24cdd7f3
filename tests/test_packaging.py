"""Every package is in the wheel, and every dependency in the lock; either is easily forgotten."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
EXTRAS = ("convert", "demo", "plot", "test", "dev")  # that scripts/lock names


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("edge_lstm", "firmware_sim")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert found | {"edge_lstm_weights"} == listed


def test_every_folder_of_modules_is_a_package() -> None:
    for package in ("edge_lstm", "firmware_sim"):
        for path in (ROOT / package).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_every_line_of_the_lock_names_one_version_and_its_hashes() -> None:
    entries = re.sub(r"^ *#.*\n", "", LOCK, flags=re.MULTILINE).replace("\\\n", "").splitlines()
    entry = r"[a-z0-9-]+==[0-9][0-9a-z.]* (; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+"
    assert len(entries) > 50
    assert not [line[:80] for line in entries if not re.fullmatch(entry, line)]


def test_the_lock_has_all_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE):
        locked.setdefault(name, []).append(version)
    for requirement in map(Requirement, asked):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, requirement
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_nothing_but_the_lock_is_installed_by_scripts_venv() -> None:
    lines = [line for line in (ROOT / "scripts" / "venv").read_text().splitlines() if "pip install" in line]
    assert ["--require-hashes" in line or "--no-deps --no-build-isolation" in line for line in lines] == [True, True]


@pytest.mark.slow
def test_a_wheel_brings_the_universal_bundle(tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "installed"
    for folder in ("edge_lstm", "firmware_sim", "weights"):  # a build leaves folders behind
        shutil.copytree(ROOT / folder, source / folder)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    (installed / "weights").mkdir()  # of some other package
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import edge_lstm.options as o; print(o.default_weights())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(installed / "edge_lstm_weights" / "universal.safetensors"), done.stderr
