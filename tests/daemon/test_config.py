"""What is wrong with a configuration is said in one line each, with its place; what is right runs."""

import os
from pathlib import Path

import pytest

from edge_lstm.bundle import write
from edge_lstm.core.engine import cuda_is_there
from edge_lstm.daemon.check import prepare_file, prepare_options
from edge_lstm.daemon.config import Config, Output, SourceOptions
from edge_lstm.errors import ConfigError
from edge_lstm.lane import Settings
from edge_lstm.options import default_weights, parse_budget
from edge_lstm.pipeline import Outputs
from tests.bundles import random_bundle

SOURCE = "[[source]]\ntopic = 's/+'\nweights = 'fitted.safetensors'\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what configurations name."""
    folder = tmp_path_factory.mktemp("config")
    write(random_bundle(), folder / "fitted.safetensors")
    write(random_bundle("adaptive"), folder / "adaptive.safetensors")
    content = (folder / "fitted.safetensors").read_bytes()
    (folder / "short.safetensors").write_bytes(content[:-100])
    (folder / "text.safetensors").write_text("hello, this is not a bundle")
    for name, text, mode in (("secret", "s3cret\n", 0o600), ("open", "s3cret\n", 0o644), ("empty", "", 0o600)):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    return folder


def problems(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a configuration; FILE stands for its path, DIR for its folder."""
    path = folder / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        prepare_file(path)
    return [line.replace(str(path), "FILE").replace(str(folder), "DIR") for line in str(caught.value).splitlines()]


BAD = {
    "nothing": ("", "FILE: there is no [[source]]; name at least one topic to watch"),
    "not TOML": ("[mqtt]\nbroker = mqtt://x\n", "FILE:2: not TOML: Invalid value"),
    "key twice": ("[log]\nlevel = 'info'\nlevel = 'info'\n", "FILE:3: not TOML: Cannot overwrite a value"),
    "unknown section": (f"[mqqt]\n{SOURCE}", "FILE:1: 'mqqt' is not known in the file; did you mean 'mqtt'?"),
    "unknown key": (
        f"[mqtt]\nkeepalive = 10\n{SOURCE}",
        "FILE:2: 'keepalive' is not known in [mqtt]; did you mean 'keepalive_s'?",
    ),
    "unknown key of a source": (
        f"{SOURCE}chanels = {{}}\n",
        "FILE:4: 'chanels' is not known in [[source]]; did you mean 'channels'?",
    ),
    "unknown key, no idea": (
        f"[log]\nxyzzy = 1\n{SOURCE}",
        "FILE:2: 'xyzzy' is not known in [log]; expected one of level",
    ),
    "section for a list": (
        "[source]\ntopic = 'a'\n",
        "FILE:1: source is a table, expected sections, each under [[source]]",
    ),
    "value for a section": (f"mqtt = 'localhost'\n{SOURCE}", "FILE:1: mqtt is 'localhost', expected a section [mqtt]"),
    "no topic": (
        "[[source]]\nweights = 'fitted.safetensors'\n",
        "FILE:1: topic is missing; every [[source]] needs one",
    ),
    "wrong type": (f"[mqtt]\nkeepalive_s = '30'\n{SOURCE}", "FILE:2: keepalive_s is '30', expected int, got str"),
    "wrong boolean": (
        f"[mqtt]\nclean_session = 'no'\n{SOURCE}",
        "FILE:2: clean_session is 'no', expected bool, got str",
    ),
    "too small": (f"[mqtt]\nkeepalive_s = 1\n{SOURCE}", "FILE:2: keepalive_s is 1, expected int >= 5"),
    "QoS 2": (f"[output]\nscore_qos = 2\n{SOURCE}", "FILE:2: score_qos is 2, expected int <= 1"),
    "unknown word": (
        f"[output]\npublish = 'all'\n{SOURCE}",
        "FILE:2: publish is 'all', expected one of 'every', 'changes', 'alerts'",
    ),
    "publish of a source": (
        f"{SOURCE}publish = 'all'\n",
        "FILE:4: publish is 'all', expected one of 'every', 'changes', 'alerts'",
    ),
    "unknown protocol": (f"[mqtt]\nprotocol = 5\n{SOURCE}", "FILE:2: protocol is 5, expected one of '3.1.1', '5'"),
    "unknown format": (
        f"{SOURCE}format = 'xml'\n",
        "FILE:4: format is 'xml', expected one of 'number', 'json', 'zigbee2mqtt', 'tasmota', 'esphome', "
        "'statestream', 'senml'",
    ),
    "no scheme": (
        f"[mqtt]\nbroker = '192.168.1.5:1883'\n{SOURCE}",
        "FILE:2: broker is '192.168.1.5:1883', expected such as 'mqtt://192.168.1.5:1883' or "
        "'mqtts://user@broker.example.org'",
    ),
    "impossible host": (
        f"[mqtt]\nbroker = 'mqtt://broker..local'\n{SOURCE}",
        "FILE:2: broker is 'mqtt://broker..local': ",
    ),
    "impossible port": (
        f"[mqtt]\nbroker = 'mqtt://x:99999'\n{SOURCE}",
        "FILE:2: broker is 'mqtt://x:99999': Port out of",
    ),
    "password in the open": (
        f"[mqtt]\nbroker = 'mqtt://u:s3cret@x'\n{SOURCE}",
        "FILE:2: broker has a password in it; put that into a file and name it with password_file",
    ),
    "two users": (
        f"[mqtt]\nbroker = 'mqtt://u@x'\nusername = 'v'\n{SOURCE}",
        "FILE:3: username is 'v', and broker names 'u'; keep one of them",
    ),
    "session without a name": (
        f"[mqtt]\nclean_session = false\n{SOURCE}",
        "FILE:2: clean_session = false needs a client_id, to be known again by",
    ),
    "TLS file without TLS": (
        f"[mqtt]\nca_file = 'ca.pem'\n{SOURCE}",
        "FILE:2: ca_file is for TLS; write broker = 'mqtts://...', or remove it",
    ),
    "no such authority": (
        f"[mqtt]\nbroker = 'mqtts://x'\nca_file = 'ca.pem'\n{SOURCE}",
        "FILE:3: ca_file DIR/ca.pem can't be read: No such file or directory",
    ),
    "key alone": (
        f"[mqtt]\nbroker = 'mqtts://x'\nkey_file = 'k.pem'\n{SOURCE}",
        "FILE:3: key_file stands without cert_file; set both",
    ),
    "no such password": (
        f"[mqtt]\nusername = 'u'\npassword_file = 'nowhere'\n{SOURCE}",
        "FILE:3: password_file DIR/nowhere can't be read: No such file or directory",
    ),
    "empty password": (
        f"[mqtt]\nusername = 'u'\npassword_file = 'empty'\n{SOURCE}",
        "FILE:3: password_file DIR/empty is empty, expected the password on its first line",
    ),
    "password for all to read": (
        f"[mqtt]\nusername = 'u'\npassword_file = 'open'\n{SOURCE}",
        "FILE:3: password_file DIR/open may be read by others on this machine; chmod 600 it",
    ),
    "password of nobody": (f"[mqtt]\npassword_file = 'secret'\n{SOURCE}", "FILE:2: password_file needs a username"),
    "prefix with a wildcard": (
        f"[output]\nprefix = 'a/+'\n{SOURCE}",
        "FILE:2: prefix is 'a/+', expected levels of a topic such as 'edge-lstm' or 'plant/edge-lstm'",
    ),
    "password of nobody, broker of nobody": (
        f"[mqtt]\nbroker = 'mqtt://[::1'\npassword_file = 'secret'\n{SOURCE}",
        "FILE:2: broker is 'mqtt://[::1': Invalid IPv6 URL",
    ),
    "password at no home": (
        f"[mqtt]\nusername = 'u'\npassword_file = '~nosuchuser/x'\n{SOURCE}",
        "FILE:3: password_file is '~nosuchuser/x': Could not determine home directory",
    ),
    "authority at no home": (
        f"[mqtt]\nbroker = 'mqtts://x'\nca_file = '~nosuchuser/x'\n{SOURCE}",
        "FILE:3: ca_file is '~nosuchuser/x': Could not determine home directory",
    ),
    "bundle at no home": (
        "[[source]]\ntopic = 's'\nweights = '~nosuchuser/x'\n",
        "FILE:3: weights is '~nosuchuser/x': Could not determine home directory",
    ),
    "bundle that no file can be": (
        '[[source]]\ntopic = "s"\nweights = "a\\u0000b"\n',
        "FILE:3: weights is 'a\\x00b': no file has a NUL in its name",
    ),
    "enormous number": (f"[mqtt]\nqos = {'1' * 5000}\n{SOURCE}", "FILE:1: not TOML: Exceeds the limit"),
    "bad filter": (
        "[[source]]\ntopic = 'a/#/b'\nweights = 'fitted.safetensors'\n",
        "FILE:2: topic 'a/#/b' has '#' before its end; it may only stand last",
    ),
    "overlap": (
        f"{SOURCE}{SOURCE.replace('s/+', 's/#')}",
        "FILE:5: topic 's/#' overlaps 's/+'; a message may belong to one source only",
    ),
    "loop": (
        "[[source]]\ntopic = '#'\nweights = 'fitted.safetensors'\n",
        "FILE:2: topic '#' takes in 'edge-lstm/status', which we publish; narrow it, or change the output's prefix",
    ),
    "loop through scores": (
        "[[source]]\ntopic = '+/+/score'\nweights = 'fitted.safetensors'\n",
        "FILE:2: topic '+/+/score' takes in 'edge-lstm/+/score', which we publish; narrow it",
    ),
    "bad budget": (
        f"{SOURCE}budget = 'rarely'\n",
        "FILE:4: budget is 'rarely', expected alerts per time such as '1/week' or '2/day', or a time, '12h'",
    ),
    "negative period": (
        f"{SOURCE}period_s = -1\n",
        "FILE:4: period_s is -1.0, expected a duration in seconds",
    ),
    "bad path": (
        f"{SOURCE}time = 'a..b'\n",
        "FILE:1: path 'a..b' can't be read from '..b' on; expected keys with dots between, [0] for arrays, "
        "quotes around odd keys",
    ),
    "no such bundle": (
        "[[source]]\ntopic = 's'\nweights = 'gone.safetensors'\n",
        "FILE:3: DIR/gone.safetensors: can't be read: No such file or directory",
    ),
    "no bundle": (
        "[[source]]\ntopic = 's'\nweights = 'text.safetensors'\n",
        "FILE:3: DIR/text.safetensors: not a safetensors file",
    ),
    "damaged bundle": (
        "[[source]]\ntopic = 's'\nweights = 'short.safetensors'\n",
        "FILE:3: DIR/short.safetensors: damaged",
    ),
    "channel missing": (
        f"{SOURCE}[source.channels]\nc0 = 'a'\nc2 = 'b'\n",
        "FILE:4: channels has no 'c1', which the bundle 'random-0' needs; it was fitted on c0, c1, c2",
    ),
    "one number for three": (
        f"{SOURCE}format = 'number'\n",
        "FILE:4: format 'number' gives one number without a name, and the bundle needs c0, c1, c2; "
        "put {channel} into the topic where their names stand",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_config(folder: Path, name: str) -> None:
    text, expected = BAD[name]
    found = problems(folder, text)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_every_problem_is_told(folder: Path) -> None:
    text = "[mqtt]\nqos = 7\nuser = 'x'\n[output]\nprefix = ''\n[[source]]\nformat = 'xml'\n[[source]]\ntopic = 'a+'\n"
    found = problems(folder, text + "budget = '0/day'\nweights = 'gone.safetensors'\n")
    assert [line.split(" ")[0] for line in found] == [f"FILE:{n}:" for n in (2, 3, 7, 6, 5, 9, 10, 11)]


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: can't be read: No such file"):
        prepare_file(tmp_path / "gone.toml")
    (tmp_path / "config.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"config\.toml: can't be read: it is not UTF-8 text"):
        prepare_file(tmp_path / "config.toml")
    if os.geteuid():
        (tmp_path / "config.toml").chmod(0)
        with pytest.raises(ConfigError, match="Permission denied"):
            prepare_file(tmp_path / "config.toml")


GOOD = """
output = { prefix = "plant/watch", publish = "alerts" }

[mqtt]
broker = "mqtt://user@localhost"
client_id = "gateway-1"
password_file = "secret"
protocol = "5"

[[source]]
topic = "press/{stream}/{channel}"
format = "number"
weights = "fitted.safetensors"
budget = "2/day"
silence_s = 0

[source.channels]
c0 = "speed"
"c1" = "torque"
c2 = "heat"

[[source]]
topic = "+/sensor/+/state"
format = "esphome"
weights = "adaptive.safetensors"
"""


def test_a_good_config(folder: Path) -> None:
    (folder / "config.toml").write_text(GOOD)
    prepared = prepare_file(folder / "config.toml")
    assert prepared.broker.username == "user"
    assert prepared.broker.read_password() == "s3cret"
    assert prepared.config.mqtt.port == 1883
    assert not prepared.config.mqtt.clean
    first, second = prepared.routes
    assert first.lane.settings == Settings(budget_s=43_200.0, silence_s=0.0)
    assert first.outputs == Outputs(prefix="plant/watch", publish="alerts")
    assert second.decoder.pattern.filter == "+/sensor/+/state"


def test_a_command_line_is_a_configuration(folder: Path) -> None:
    source = {"topic": "a/+", "weights": str(folder / "fitted.safetensors")}
    assert prepare_options({"source": [source]}).routes
    with pytest.raises(ConfigError, match=r"^command line: budget is 'x', expected"):
        prepare_options({"source": [source | {"budget": "x"}]})


@pytest.mark.skipif(cuda_is_there(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(folder: Path) -> None:
    source = f"[[source]]\ntopic = 'a/+'\nweights = '{folder / 'fitted.safetensors'}'\ndevice = "
    [problem] = problems(folder, source + "'cuda'")
    assert problem.startswith("FILE:4: device 'cuda': there is no CUDA device")
    (folder / "config.toml").write_text(source + "'auto'")
    [route] = prepare_file(folder / "config.toml").routes
    assert route.lane.engine.device == "cpu"


def test_defaults_are_those_of_the_pipeline() -> None:
    output, source = Output(), SourceOptions(topic="")
    assert Outputs() == Outputs(**{name: getattr(output, name) for name in Outputs.__struct_fields__})
    assert Settings() == Settings(
        budget_s=parse_budget(source.budget),
        window_s=source.window_s,
        silence_s=source.silence_s,
        max_streams=source.max_streams,
    )
    assert Config().mqtt.clean


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1/week", 604_800), ("2/day", 43_200), ("1/month", 2_592_000), ("1/hour", 3600), ("7d", 604_800), ("90m", 5400)],
)
def test_budget(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "0/day", "week", "1/second", "-1/day", "0d", "1e9w", "1 / day", "999999w", "inf"])
def test_bad_budget(text: str) -> None:
    with pytest.raises(ConfigError, match="expected alerts per time"):
        parse_budget(text)


def test_the_universal_bundle_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edge_lstm.options.__file__", str(tmp_path / "edge_lstm" / "options.py"))
    monkeypatch.setattr("edge_lstm.options.files", lambda _package: tmp_path / "weights")
    with pytest.raises(ConfigError, match=r"weights/universal\.safetensors is not there"):
        default_weights()


def test_a_source_has_its_own_way_to_publish(folder: Path) -> None:
    path = folder / "config.toml"
    more = "[[source]]\ntopic = 't/+'\nweights = 'fitted.safetensors'\npublish = 'every'\n"
    path.write_text(f"[output]\npublish = 'changes'\nprefix = 'ours'\n{SOURCE}{more}")
    assert [route.outputs for route in prepare_file(path).routes] == [
        Outputs(prefix="ours", publish="changes"), Outputs(prefix="ours", publish="every"),
    ]  # fmt: skip
