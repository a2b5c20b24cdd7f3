"""Every package is in the wheel; a new folder is easily forgotten in the list."""

import tomllib
from pathlib import Path

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
