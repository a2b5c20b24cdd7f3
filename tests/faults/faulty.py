"""The daemon with a fault of its own, which shows as soon as a file is there.

    FAULT=loop FAULT_FILE=now python -m tests.faults.faulty run -c config.toml

All else is the daemon's own; what is broken is broken before anything that takes it over is imported.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_lstm.core import engine
from edge_lstm.daemon import check, checkpoint, mqtt, service
from edge_lstm.daemon.cli import main
from edge_lstm.errors import StateError

STALL_S = 60.0

WHERE: dict[str, tuple[Any, str]] = {
    "loop": (service.Service, "_turn"),
    "engine": (engine.Engine, "advance"),
    "checkpoint": (checkpoint, "pack"),
    "callback": (mqtt.Link, "_accepted"),  # which a callback calls
    "reload": (check, "prepare_file"),
    "stall": (service.Service, "_turn"),
}


def broken(sound: Callable[..., Any], fault: str, file: Path) -> Callable[..., Any]:
    """Return a function that is sound until the file is there."""

    def function(*arguments: Any, **options: Any) -> Any:
        if file.exists():
            if fault != "stall":
                error = StateError if fault == "engine" else RuntimeError  # one of our own is no better than others
                raise error(f"injected into the {fault}")
            time.sleep(STALL_S)
        return sound(*arguments, **options)

    return function


if __name__ == "__main__":
    fault = os.environ["FAULT"]
    owner, name = WHERE[fault]
    setattr(owner, name, broken(getattr(owner, name), fault, Path(os.environ["FAULT_FILE"])))
    raise SystemExit(main())
