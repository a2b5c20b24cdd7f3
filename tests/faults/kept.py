"""Daemons that keep their state in a folder, and a look into it while they are at work."""

from pathlib import Path

from edge_lstm.daemon.folder import SLOTS, WHOLE, Found
from edge_lstm.errors import StateError
from edge_lstm.saved import unpack

EVERY_S = 0.5


def sections(folder: Path, policy: str = "published") -> dict[str, str]:
    """Return lines for a configuration that writes as often as it is told to."""
    state = f"folder = '{folder}'\nevery_s = {EVERY_S}\nmib_per_day = 1e6"
    return {"mqtt": f"ack_policy = '{policy}'", "state": state}


def look(folder: Path) -> Found:
    """Return what a process would find that took the folder over now."""
    states, problems = [], []
    for name in SLOTS:
        try:
            states.append(unpack((folder / name).read_bytes()))
        except FileNotFoundError:
            continue
        except StateError as error:
            problems.append(str(error))
    newest = max(states, key=lambda state: state.serial, default=None)
    return Found(newest, not problems and (folder / WHOLE).exists(), problems)
