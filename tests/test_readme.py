"""What README shows runs as it stands."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from edge_lstm.daemon.config import Config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Score(" in done.stdout


@pytest.mark.parametrize("text", blocks("toml"))
def test_configuration_is_valid(text: str) -> None:
    config = msgspec.convert(tomllib.loads(text), Config)
    assert len(config.source) == 3


def test_every_command_exists() -> None:
    named = set(re.findall(r"\bedge-lstm (run|check|fit|replay|record|inspect|[a-z]+) ", "\n".join(blocks("sh"))))
    helped = subprocess.run([sys.executable, "-m", "edge_lstm", "--help"], capture_output=True, text=True, check=True)
    assert named
    for command in named:
        assert re.search(rf"^    {command} ", helped.stdout, re.MULTILINE), command


def test_every_link_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
