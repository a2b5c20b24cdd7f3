"""Fit one bundle per simulated device kind, each from that kind's normal operation: <kind>.safetensors and its card.

    python weights/recipes/devices.py -o weights --seed 0

The recordings come from ``python -m firmware_sim normal``, as a person with devices would record them.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from edge_lstm.fit.card import card, figures
from edge_lstm.fit.console import progress_bar
from edge_lstm.fit.fitting import FitOptions, fit_files

ROWS = {"bearing": 3600, "pump": 3600, "motor": 3600, "room": 7200, "meter": 8640}  # an hour to five days
DEVICES = 32  # of a kind: siblings share a bundle, and no two are equal
HIDDEN = 32


def record(kind: str, seed: int, folder: Path) -> list[Path]:
    """Return CSV files of normal operation, one a device."""
    command = [sys.executable, "-m", "firmware_sim", "normal", "--kind", kind, "--rows", str(ROWS[kind])]
    paths = [folder / f"{kind}-{device}.csv" for device in range(DEVICES)]
    for device, path in enumerate(paths):
        subprocess.run([*command, "--seed", str(1000 * seed + device), "-o", str(path)], check=True)
    return paths


def fit_kind(kind: str, seed: int, output: Path) -> None:
    """Fit one kind and write its bundle and its card."""
    notes = {
        "recipe": "weights/recipes/devices.py",
        "recording": f"firmware_sim normal --kind {kind} --rows {ROWS[kind]}, {DEVICES} devices",
    }
    options = FitOptions(name=kind, hidden_size=HIDDEN, seed=seed, notes=notes)
    path = output / f"{kind}.safetensors"
    with tempfile.TemporaryDirectory() as folder, progress_bar() as tell:
        bundle, report = fit_files(record(kind, seed, Path(folder)), path, options, tell)
    path.with_suffix(".md").write_text(card(bundle, path.stat().st_size, figures(report), report.warnings))


def main() -> None:
    """Fit the kinds asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    parser.add_argument("--kind", choices=ROWS, action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for kind in args.kind or ROWS:
        fit_kind(kind, args.seed, args.output)


if __name__ == "__main__":
    main()
