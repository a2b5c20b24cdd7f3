"""The page names every option that there is, and none that there is not."""

import re
from pathlib import Path

import msgspec

from edge_lstm.daemon.config import Log, Mqtt, Output, SourceOptions, State
from edge_lstm.stages.decode import REASONS

PAGE = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()


def test_every_option_is_on_the_page() -> None:
    options = {
        field.name for struct in (Mqtt, Output, State, SourceOptions) for field in msgspec.structs.fields(struct)
    }
    listed = {
        name for cell in re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }
    assert listed == options
    assert all(f"`{field.name}`" in PAGE for field in msgspec.structs.fields(Log))


def test_every_reason_is_on_the_page() -> None:
    assert all(f"`{reason}`" in PAGE for reason in REASONS)
