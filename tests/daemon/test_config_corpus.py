"""A hundred configurations that can't be run: exit code 2, and a line for each problem that says where."""

import re
from pathlib import Path

import pytest

from edge_lstm.bundle import write
from edge_lstm.daemon.cli import main
from tests.bundles import random_bundle
from tests.daemon.test_config import BAD

SOURCE = "[[source]]\ntopic = 's/+'\nweights = 'adaptive.safetensors'\n"
ENORMOUS = "0x" + "f" * 6000
MORE: dict[str, str | bytes] = {
    # numbers
    "an enormous integer": f"[mqtt]\nqos = {ENORMOUS}\n{SOURCE}",
    "an enormous number": f"{SOURCE}window_s = {ENORMOUS}\n",
    "an enormous text": f"[mqtt]\nbroker = {ENORMOUS}\n{SOURCE}",
    "not a number": f"{SOURCE}silence_s = nan\n",
    "infinite": f"{SOURCE}silence_s = inf\n",
    "negative": f"{SOURCE}window_s = -1\n",
    "no streams": f"{SOURCE}max_streams = 0\n",
    "more streams than any": f"{SOURCE}max_streams = 99999999\n",
    "streams beyond 64 bits": f"{SOURCE}max_streams = 18446744073709551616\n",
    "true for a number": f"{SOURCE}max_streams = true\n",
    "a date for a number": f"{SOURCE}period_s = 2026-01-31\n",
    "a word that stands for nothing": f"{SOURCE}values = {{ ON = nan }}\n",
    "a word that stands for text": f"{SOURCE}values = {{ ON = '1' }}\n",
    # addresses
    "port 70000": f"[mqtt]\nbroker = 'mqtt://h:70000'\n{SOURCE}",
    "port of letters": f"[mqtt]\nbroker = 'mqtt://h:x'\n{SOURCE}",
    "negative port": f"[mqtt]\nbroker = 'mqtt://h:-1'\n{SOURCE}",
    "a label of 70 characters": f"[mqtt]\nbroker = 'mqtt://{'a' * 70}'\n{SOURCE}",
    "a path": f"[mqtt]\nbroker = 'mqtt://h/x'\n{SOURCE}",
    "another scheme": f"[mqtt]\nbroker = 'https://h'\n{SOURCE}",
    "no host": f"[mqtt]\nbroker = 'mqtt://'\n{SOURCE}",
    "no address": f"[mqtt]\nbroker = ''\n{SOURCE}",
    # topics
    "an empty topic": "[[source]]\ntopic = ''\nweights = 'adaptive.safetensors'\n",
    "a topic of 600 characters": f"[[source]]\ntopic = '{'a' * 600}'\n",
    "a topic of 100 levels": f"[[source]]\ntopic = '{'a/' * 100}'\n",
    "a topic with a line end": '[[source]]\ntopic = "a\\nb"\n',
    "a topic that turns around": '[[source]]\ntopic = "a\\u202eb"\n',
    "a topic with no character": '[[source]]\ntopic = "a\\uFFFE"\n',
    "a shared subscription": "[[source]]\ntopic = '$share/group/a'\n",
    "a name twice": "[[source]]\ntopic = '{stream}/{stream}'\n",
    "half a wildcard": "[[source]]\ntopic = 'a+/b'\n",
    "a topic twice": SOURCE + SOURCE,
    "everything": "[[source]]\ntopic = '#'\n",
    "our own alerts": "[[source]]\ntopic = '+/+/+/alert'\n",
    "a topic of numbers": "[[source]]\ntopic = 5\n",
    "several topics": "[[source]]\ntopic = ['a', 'b']\n",
    "a prefix with no character": f'[output]\nprefix = "a\\uFFFE"\n{SOURCE}',
    "a prefix that ends in a slash": f"[output]\nprefix = 'a/'\n{SOURCE}",
    "a prefix of 3,000 levels": f"[output]\nprefix = '{'a/' * 3000}a'\n{SOURCE}",
    # tables
    "sources without brackets": "source = ['a']\n",
    "sources of all kinds": "source = [{ topic = 'a' }, 1]\n",
    "a section that is a list": f"[[mqtt]]\nqos = 1\n{SOURCE}",
    "a section within a source": f"{SOURCE}[[source.x]]\ny = 1\n",
    "channels by number": f"{SOURCE}channels = {{ a = 1 }}\n",
    "channels without a path": f"{SOURCE}channels = ['a']\n",
    "channels below channels": f"{SOURCE}channels = {{ a = {{ b = 'c' }} }}\n",
    "a channel without a name": f"{SOURCE}channels = {{ '' = 'a' }}\n",
    "two channels of one path": f"{SOURCE}channels = {{ a = 'x', b = 'x' }}\n",
    "a key of blanks": f'"a b\\n c" = 1\n{SOURCE}',
    "a key that turns around": f'"a\\u202eb" = 1\n{SOURCE}',
    "an empty key": f'"" = 1\n{SOURCE}',
    "three hundred sources": "".join(f"[[source]]\ntopic = 't{k}'\n" for k in range(300)),
    "a thousand unknown keys": "".join(f"x{k} = 1\n" for k in range(1000)) + SOURCE,
    # files
    "a bundle that is a folder": "[[source]]\ntopic = 's'\nweights = '.'\n",
    "a bundle that never ends": "[[source]]\ntopic = 's'\nweights = '/dev/zero'\n",
    "a bundle below a file": "[[source]]\ntopic = 's'\nweights = 'config.toml/x'\n",
    "a bundle with a name of 5,000 characters": f"[[source]]\ntopic = 's'\nweights = '{'a' * 5000}'\n",
    "a bundle with a line end in its name": '[[source]]\ntopic = "s"\nweights = "a\\nb"\n',
    "a password that is a folder": f"[mqtt]\nusername = 'u'\npassword_file = '.'\n{SOURCE}",
    "authorities that are none": f"[mqtt]\nbroker = 'mqtts://x'\nca_file = '/dev/null'\n{SOURCE}",
    # paths in payloads
    "half a path": f"{SOURCE}time = 'a.'\n",
    "an open bracket": f"{SOURCE}records = '['\n",
    "a quoted key that is no JSON": f"{SOURCE}time = '\"\\ud800\"'\n",
    "SenML with a time": f"{SOURCE}format = 'senml'\ntime = 't'\n",
    "a number with records": f"{SOURCE}format = 'number'\nrecords = 'r'\n",
    # text
    "a byte order mark": b"\xef\xbb\xbf" + SOURCE.encode(),
    "another encoding": "[[source]]\ntopic = 'Kühlraum'\n".encode("latin-1"),
    "UTF-16": SOURCE.encode("utf-16"),
    "a NUL": b"[mqtt]\n\x00qos = 1\n" + SOURCE.encode(),
    "ends of lines of old": SOURCE.replace("\n", "\r"),
    "10 MB": b"# " + b"x" * 10_000_000,
    "deep arrays": "a = " + "[" * 5000 + "]" * 5000 + "\n",
    "deep tables": "a = " + "{a = " * 2000 + "1" + "}" * 2000 + "\n",
    "half a string": "[mqtt]\nbroker = 'mqtt\n",
    "YAML": "mqtt:\n  broker: localhost\n",
    "JSON": '{"mqtt": {"broker": "localhost"}}',
    "a key twice": "[log]\nlevel = 'info'\nlevel = 'info'\n",
    "a section twice": f"[log]\n[log]\n{SOURCE}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what configurations name."""
    folder = tmp_path_factory.mktemp("corpus")
    write(random_bundle(), folder / "fitted.safetensors")
    write(random_bundle("adaptive"), folder / "adaptive.safetensors")
    (folder / "text.safetensors").write_text("hello, this is not a bundle")
    (folder / "short.safetensors").write_bytes((folder / "fitted.safetensors").read_bytes()[:-100])
    for name, text, mode in (("secret", "s3cret\n", 0o600), ("open", "s3cret\n", 0o644), ("empty", "", 0o600)):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    return folder


CORPUS: dict[str, str | bytes] = {name: text for name, (text, _) in BAD.items()} | MORE
NOWHERE = {"nothing", "10 MB", "another encoding", "UTF-16"}  # what is wrong stands in no line


@pytest.mark.parametrize("name", CORPUS)
def test_a_bad_configuration_is_refused_with_a_line_for_each_problem(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = CORPUS[name]
    path = folder / "config.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["check", "-c", str(path)]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines
    last = len(content.splitlines())
    for line in lines:
        found = re.fullmatch(rf"{re.escape(str(path))}(?::(\d+))?: .+", line)
        assert found, line
        assert line.isprintable()
        assert len(line) < 1200
        assert (found[1] is None) == (name in NOWHERE), line
        assert found[1] is None or 1 <= int(found[1]) <= last


def test_a_file_that_never_ends_is_not_read_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", "/dev/zero"]) == 2
    assert capsys.readouterr().out == "/dev/zero: can't be read: it has more than 1048576 bytes\n"


def test_there_are_enough() -> None:
    assert len(CORPUS) > 100
