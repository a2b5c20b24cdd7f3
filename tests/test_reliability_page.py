"""The page about reliability explains every word that the daemon counts under, and its links lead somewhere."""

import re
from pathlib import Path

from edge_lstm.core.table import OUTCOMES
from edge_lstm.stages.decode import REASONS

FOLDER = Path(__file__).parent.parent / "docs"
PAGE = (FOLDER / "reliability.md").read_text(encoding="utf-8")


def explained(table: str) -> set[str]:
    """Return the words in the first column of the table that is headed so."""
    rows = PAGE.split(f"| {table} | why |\n")[1].split("\n\n")[0]
    return {word for row in rows.splitlines()[1:] for word in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_every_reason_to_drop_a_message_is_explained() -> None:
    assert explained("dropped") == {*REASONS, "own_topic", "no_route", "overflow", "redelivered"}


def test_every_reason_to_refuse_a_sample_is_explained() -> None:
    assert explained("refused") == {*OUTCOMES, "missing_field", "stream_limit"} - {"scored"}


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+(.*)", PAGE, re.M)
    }
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    for link in links:
        assert link[1:] in headings if link.startswith("#") else (FOLDER / link).exists(), link
