"""Exit codes, one line for what went wrong, and nothing imported for a look at the help."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from edge_lstm import __version__
from edge_lstm.daemon.cli import COMMANDS, main
from edge_lstm.daemon.commands.run import FORMATS
from edge_lstm.stages.decode import Format
from tests.daemon.conftest import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_lstm", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_help_and_version_need_no_compiler() -> None:
    code = (
        "import sys\nfrom edge_lstm.daemon.cli import main\n"
        "for arguments in (['--help'], ['--version'], ['run', '--help'], ['check', '--help'], ['record', '--help']):\n"
        "    try:\n        main(arguments)\n    except SystemExit as end:\n        assert end.code == 0\n"
        "assert not {'numba', 'numpy', 'paho', 'msgspec', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"edge-lstm {__version__}" in done.stdout
    assert "zigbee2mqtt" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: edge-lstm"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "edge-lstm: run needs -c FILE, or --broker and --topic; see 'edge-lstm run --help'"),
        (["run", "--broker", "mqtt://x"], "edge-lstm: run needs -c FILE"),
        (["run", "-c", "x.toml", "--topic", "a"], "edge-lstm: --topic and -c exclude each other; put it into x.toml"),
        (["run", "-c", "/nowhere/x.toml"], "edge-lstm: /nowhere/x.toml: can't be read: No such file or directory"),
        (["run", "--qos", "2"], "invalid choice: 2"),
        (["run", "--format", "foo"], "argument --format: invalid choice: 'foo' (choose from "),
        (["record", "--broker", "mqtt://x", "-o", "a.jsonl"], "edge-lstm: record needs --topic; '#' is everything"),
        (["record", "--broker", "mqtt://x", "--topic", "#", "-o", "a.csv"], "expected a name that ends in .jsonl"),
        (["record", "--broker", "x", "--topic", "#", "-o", "a.jsonl"], "edge-lstm: command line: broker is 'x'"),
        (["inspect", "/nowhere"], "edge-lstm: /nowhere: can't be read: No such file or directory"),
    ],
)
def test_usage_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse
        code = int(end.code or 0)
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_formats_are_those_of_the_decoder() -> None:
    assert get_args(Format) == FORMATS


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "x"), "[Errno 2] No such file or directory: 'x'"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr("edge_lstm.daemon.check.prepare_file", fail)
    assert main(["check", "-c", "x"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"edge-lstm: {line}")
    assert shown.count("\n") == 1


def test_check(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"[[source]]\ntopic = 'a/+'\nweights = '{weights}'\n")
    assert main(["check", "-c", str(config)]) == 0
    assert capsys.readouterr().out.endswith(f"{config}: ok\n")
    config.write_text("[[source]]\ntopic = 'a+'\nweights = 'gone'\nbudget = 'none'\n")
    assert main(["check", "-c", str(config)]) == 2
    assert capsys.readouterr().out.count("\n") == 3


def test_inspect(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(weights)]) == 0
    assert "c0 [u], c1 [u], c2 [u]" in capsys.readouterr().out
    assert main(["inspect", "--json", str(weights)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["hidden_size"], facts["golden_run"], facts["file_bytes"]) == (8, "ok", weights.stat().st_size)
    short = tmp_path / "short.safetensors"
    short.write_bytes(weights.read_bytes()[:-8])
    assert main(["inspect", str(short)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_a_pipe_may_close(weights: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m edge_lstm inspect {weights} | true", shell=True, cwd=ROOT, capture_output=True, timeout=60
    )
    assert done.stderr == b""


def test_commands_say_what_they_do() -> None:
    listed = run("--help").stdout
    assert all(name in listed and summary in listed for name, (module, summary) in COMMANDS.items() if name != "demo")


def test_a_fault_of_ours_ends_loudly(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(service: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("edge_lstm.daemon.service.Service.run", fail)
    monkeypatch.setattr("edge_lstm.daemon.death.of_any_thread", lambda: None)
    assert main(["run", "--broker", "mqtt://x", "--topic", "a/+", "--weights", str(weights)]) == 70
    assert "ZeroDivisionError: on purpose" in capsys.readouterr().err
