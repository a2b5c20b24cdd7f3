"""Secrets come from files that only their owner reads, may change while we run, and show up nowhere."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_lstm.daemon.broker import open_broker
from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.credentials import CERTIFICATES_BYTES, SECRET_BYTES
from edge_lstm.daemon.toml import Problems
from tests.daemon.authority import Authority
from tests.daemon.conftest import Broker, Daemon, Listener, wait_for
from tests.daemon.test_dial import turn
from tests.daemon.test_mqtt import ACCEPTED, NOT_AUTHORIZED, SUBSCRIBED, Peer

SECRET = "Tr0ub4dor-und-3"


def problem(folder: Path, **options: str) -> str:
    """Return the one thing that is wrong with a configuration."""
    problems = Problems("FILE")
    assert open_broker(Mqtt(username="u", **options), folder, problems) is None
    [found] = problems.found
    return found.replace(str(folder), "DIR")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\nand a second line\n")
    path.chmod(0o600)
    return path


def test_a_password_is_a_whole_first_line(secret: Path) -> None:
    for name in ("secret", str(secret)):
        broker = open_broker(Mqtt(username="u", password_file=name), secret.parent, Problems(""))
        assert broker is not None
        assert broker.read_password() == SECRET
        assert SECRET not in repr(broker)
    (secret.parent / "link").symlink_to(secret)  # as a container's secrets are
    assert open_broker(Mqtt(username="u", password_file="link"), secret.parent, Problems("")) is not None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_nobody_else_may_read_it(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    expected = "FILE: password_file DIR/secret may be read by others on this machine; chmod 600 it"
    assert problem(secret.parent, password_file="secret") == expected


def test_what_is_no_plain_file_is_not_read(secret: Path) -> None:
    folder = secret.parent
    os.mkfifo(folder / "pipe", 0o600)
    for name, place in (("pipe", "DIR/pipe"), ("/dev/zero", "/dev/zero")):
        assert problem(folder, password_file=name) == f"FILE: password_file {place} is not a regular file"
    assert problem(folder, password_file=".") == "FILE: password_file DIR is not a regular file"
    secret.write_bytes(b"x" * (SECRET_BYTES + 1))
    assert "has more than 65,535 bytes" in problem(folder, password_file="secret")
    secret.write_bytes(b"\xff\xfe\n")
    assert problem(folder, password_file="secret").endswith("can't be read: it is not UTF-8 text")


def test_a_credential_of_systemd(secret: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "the systemd unit needs LoadCredential=secret:" in problem(tmp_path, password_file="credential:secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret.chmod(0o440)  # what an access list for us looks like
    broker = open_broker(Mqtt(username="u", password_file="credential:secret"), Path("/nowhere"), Problems(""))
    assert broker is not None
    assert broker.read_password() == SECRET
    secret.chmod(0o444)
    assert "may be read by others" in problem(tmp_path, password_file="credential:secret")
    assert "No such file" in problem(tmp_path, password_file="credential:other")


@pytest.mark.parametrize("name", ["credential:", "credential:../secret", "credential:/etc/shadow", "credential:.."])
def test_a_credential_stays_in_its_folder(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert problem(tmp_path, password_file=name).endswith("expected 'credential:NAME' without any folder")


def test_files_of_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path, "ca")
    certificate, key = (str(path) for path in authority.sign("client"))
    server = {"broker": "mqtts://localhost", "ca_file": str(authority.file)}
    assert open_broker(Mqtt(**server, cert_file=certificate, key_file=key), tmp_path, Problems("")) is not None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(Path(key).parent))
    credential = f"credential:{Path(key).name}"
    assert open_broker(Mqtt(**server, cert_file=certificate, key_file=credential), tmp_path, Problems("")) is not None

    locked = str(authority.encrypt(Path(key)))
    found = problem(tmp_path, **server, cert_file=certificate, key_file=locked)
    assert found.endswith("is encrypted, and nobody is there to type its passphrase; decrypt it")
    Path(key).chmod(0o644)
    assert "key_file" in problem(tmp_path, **server, cert_file=certificate, key_file=key)
    assert "may be read by others" in problem(tmp_path, **server, cert_file=certificate, key_file=key)
    both = tmp_path / "both.pem"
    both.write_text(Path(certificate).read_text() + Path(key).read_text())
    assert "cert_file DIR/both.pem may be read by others" in problem(tmp_path, **server, cert_file="both.pem")
    (tmp_path / "huge.pem").write_bytes(b"\n" * (CERTIFICATES_BYTES + 1))
    assert "has more than" in problem(tmp_path, broker="mqtts://localhost", ca_file="huge.pem")


@pytest.mark.parametrize(
    "address", ["mqtt://u:s3cret@[::1", "u:s3cret@host", "mqtt://u:s3cret@host:x", "http://u:s3cret@x"]
)
def test_a_password_in_an_address_is_not_repeated(address: str, tmp_path: Path) -> None:
    problems = Problems("FILE")
    assert open_broker(Mqtt(broker=address), tmp_path, problems) is None
    assert "s3cret" not in "".join(problems.found)


def test_a_password_may_change_while_we_run(secret: Path) -> None:
    peer = Peer(username="u", password_file=str(secret))
    peer.connect(NOT_AUTHORIZED)
    wait_for(lambda: turn(peer.link) or peer.link.failure, "the refusal")
    assert SECRET.encode() in peer.heard()
    secret.write_text("a.new.token\n")
    peer.link._calls.retry.at = 0.0
    peer.connect(ACCEPTED, SUBSCRIBED)
    wait_for(lambda: turn(peer.link) or peer.link.connected, "the connection")
    said = peer.heard()
    assert b"\x00\x0ba.new.token" in said
    assert SECRET.encode() not in said
    peer._socket.close()
    wait_for(lambda: turn(peer.link) or not peer.link.connected, "its end")
    secret.chmod(0o644)
    peer.link._calls.retry.at = 0.0
    wait_for(lambda: turn(peer.link) or "may be read by others" in peer.link.failure, "a failure")
    peer.close()


@pytest.mark.broker
@pytest.mark.slow
def test_a_password_shows_up_nowhere(
    broker: Broker,
    listen: Callable[..., Listener],
    start: Callable[..., Daemon],
    weights: Path,
    secret: Path,
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"[mqtt]\nbroker = '{broker.url}'\nusername = 'gateway'\npassword_file = 'secret'\nclient_id = 'x'\n"
        f"[[source]]\ntopic = 'plant/+/data'\nweights = '{weights}'\n"
    )
    listener = listen("#")
    daemon = start("run", "-c", config, "--verbose")
    wait_for(lambda: listener.payloads("edge-lstm/stats"), "the daemon at work", 30.0)
    listener.publish("plant/pump/data", b'{"c0": 1, "c1": 2, "c2": 3, "t": 5}')
    broker.stop()
    broker.start()
    again = listen("#")
    wait_for(lambda: again.payloads("edge-lstm/stats") or again.status() == "online", "the daemon again", 30.0)
    process = Path("/proc") / str(daemon.process.pid)
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    code, log = daemon.end()
    assert code == 0
    seen += log.encode() + b"".join(m.payload + m.topic.encode() for m in listener.messages + again.messages)
    assert b"connected again" in seen
    assert b"edge-lstm/info" in seen
    assert SECRET.encode() not in seen
