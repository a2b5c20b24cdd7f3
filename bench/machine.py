"""What a figure was measured on, and where figures are kept."""

import argparse
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def machine() -> dict[str, str]:
    """Return processor, system, versions and commit."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return {
        "cpu": model,
        "cores": str(len([line for line in _cpuinfo() if line.startswith("processor")])),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numba", "numpy", "paho-mqtt")},
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "edge_lstm") else ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str:
    """Return what Git says; nothing where it, or a repository, is not there."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def target(text: str) -> Path:
    """Return where figures are to go; an argument's type, so that a wrong place is told before the work."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no file can be written there")
    return path


def record(name: str, figures: dict[str, Any]) -> None:
    """Append a line to ``bench/results/<name>.jsonl``; old lines stay."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(figures | {"machine": machine()}) + "\n")
