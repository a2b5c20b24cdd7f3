"""Every package is in the wheel; a new folder is easily forgotten in the list."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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
