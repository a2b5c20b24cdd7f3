"""Nothing is said to a broker that has not proved who it is, and why it has not is told with what to do about it."""

import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge_lstm.daemon import dial
from edge_lstm.daemon.broker import open_broker
from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.mqtt import Link
from edge_lstm.daemon.tls import BROKEN_OFF
from edge_lstm.daemon.toml import Problems
from tests.daemon.authority import FAR, LATELY, LONG_AGO, SOON, Authority
from tests.daemon.conftest import wait_for
from tests.daemon.test_mqtt import ACCEPTED, SUBSCRIBED

HANDSHAKE = b"\x16"


class Files(NamedTuple):
    """An authority that we trust, one that we don't, and certificates by them."""

    known: Authority
    unknown: Authority
    pairs: dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("authorities")
    known, unknown = Authority(folder, "known"), Authority(folder, "unknown")
    return Files(
        known,
        unknown,
        {
            "good": known.sign("good"),
            "expired": known.sign("expired", start=LONG_AGO, end=LATELY),
            "not yet valid": known.sign("early", start=SOON, end=FAR),
            "wrong host": known.sign("elsewhere", host="elsewhere.example"),
            "wrong authority": unknown.sign("good"),
            "self-signed": unknown.self_signed(),
        },
    )


class Server:
    """Takes connections one after the other, and remembers what was said on them once they were encrypted."""

    def __init__(self, greet: Callable[[socket.socket], Any]) -> None:
        self.heard = b""
        self.met = 0
        self.first: set[bytes] = set()  # bytes of connections
        self._greet = greet
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            with sock, suppress(OSError):
                sock.settimeout(5.0)
                self.first.add(sock.recv(1, socket.MSG_PEEK))
                self._talk(self._greet(sock))
            self.met += 1

    def _talk(self, sock: Any) -> None:
        if sock is None:
            return
        with sock:
            self.heard += sock.recv(65_536)
            sock.sendall(ACCEPTED + SUBSCRIBED)
            self.heard += sock.recv(65_536)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(greet: Callable[[socket.socket], Any]) -> Server:
        made.append(Server(greet))
        return made[-1]

    yield make
    for server in made:
        server.close()


def encrypted(pair: tuple[Path, Path], ask_for: Path | None = None) -> Callable[[socket.socket], ssl.SSLSocket]:
    """Return how a server greets that shows a certificate, and asks for one by an authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if ask_for is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ask_for)
    return lambda sock: context.wrap_socket(sock, server_side=True)


def outdated(pair: tuple[Path, Path]) -> Callable[[socket.socket], ssl.SSLSocket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.load_cert_chain(*pair)
    return lambda sock: context.wrap_socket(sock, server_side=True)


def plain(sock: socket.socket) -> None:
    """Answer a handshake in MQTT; a broker that takes it for nonsense closes."""
    sock.recv(65_536)
    sock.sendall(ACCEPTED + SUBSCRIBED)


def mute(sock: socket.socket) -> None:
    """Take what comes, and say nothing until the other side goes."""
    while sock.recv(65_536):
        pass


def linked(port: int, **options: Any) -> Link:
    problems = Problems("")
    broker = open_broker(Mqtt(broker=f"mqtts://localhost:{port}", **options), Path(), problems)
    assert broker is not None, problems.found
    return Link(broker, ["a/#"], "own/status")


def run_until(link: Link, condition: Callable[[], object], what: str) -> None:
    def turn() -> object:
        link.tend()
        link.wait(0.05)
        link.traffic.receive()
        link.traffic.flush()
        return condition()

    try:
        wait_for(turn, what)
    finally:
        link.close(0.0)
        link._client._sock_close()


BAD = {
    "wrong authority": "certificate verify failed: unable to get local issuer certificate; the broker's certificate is "
    "not by ca_file CA; name the authority that signed it with ca_file",
    "self-signed": "certificate verify failed: self-signed certificate; the broker's certificate is not by ca_file CA; "
    "name the authority that signed it with ca_file",
    "expired": "certificate verify failed: certificate has expired; renew the broker's certificate; if it is a new "
    "one, check the clock of this machine",
    "not yet valid": "certificate verify failed: certificate is not yet valid; the broker's certificate starts later; "
    "check the clock of this machine and the certificate",
    "wrong host": "certificate verify failed: Hostname mismatch, certificate is not valid for 'localhost'; connect to "
    "a name that stands in the broker's certificate, or put this one into it",
    "TLS 1.1": "TLS failed: tlsv1 alert protocol version; the broker offers no TLS 1.2 or later; update it",
    "no TLS": "TLS failed: wrong version number; this port does not speak TLS; use the broker's TLS port, 8883 as a "
    "rule",
    "black hole": "the TLS handshake was not over within 1 s; does this port speak TLS?",
    "closed": BROKEN_OFF,
}


@pytest.mark.parametrize("name", BAD)
def test_nothing_is_said_to_a_broker_that_is_not_sure(
    name: str, files: Files, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "HANDSHAKE_S", 1.0)
    good = files.pairs["good"]
    ways = {"TLS 1.1": outdated(good), "no TLS": plain, "black hole": mute, "closed": lambda sock: None}
    server = serve(ways[name] if name in ways else encrypted(files.pairs[name]))
    link = linked(server.port, ca_file=str(files.known.file))
    began = time.monotonic()
    run_until(link, lambda: link.failure, "a failure")
    assert link.failure.replace(str(files.known.file), "CA") == f"localhost:{server.port}: {BAD[name]}"
    assert link.problems == ["no connection"]
    assert link._calls.retry.at > began  # and there will be another attempt
    wait_for(lambda: server.met, "the server to be done")
    assert server.heard == b""
    assert server.first == {HANDSHAKE}  # and never anything plain


def test_without_ca_file_the_system_s_authorities_are_asked(files: Files, serve: Callable[..., Server]) -> None:
    link = linked(serve(encrypted(files.pairs["good"])).port)
    run_until(link, lambda: link.failure, "a failure")
    assert "not by this system's authorities; name the authority that signed it with ca_file" in link.failure


REFUSED = {
    "none": "want[s]? a certificate of ours; set cert_file and key_file$",
    "wrong authority": "alert unknown ca; the broker does not know who signed our cert_file; use one by its own autho",
    "expired": "alert certificate expired; our cert_file has expired; renew it$",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_broker_that_refuses_our_certificate(
    name: str, version: ssl.TLSVersion, files: Files, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS 1.3 the refusal comes after our part of the handshake, but before anything of ours is looked at."""
    pair = files.pairs.get(name)
    options = {"cert_file": str(pair[0]), "key_file": str(pair[1])} if pair else {}
    greet = encrypted(files.pairs["good"], ask_for=files.known.file)
    context = greet.__closure__[0].cell_contents  # type: ignore[index]
    context.maximum_version = version
    server = serve(greet)
    link = linked(server.port, ca_file=str(files.known.file), **options)
    run_until(link, lambda: link.failure, "a failure")
    assert re.search(REFUSED[name], link.failure)
    assert not link.connects
    assert server.heard == b""


@pytest.mark.parametrize("in_one", [False, True])
def test_both_sides_prove_who_they_are(
    in_one: bool, files: Files, serve: Callable[..., Server], tmp_path: Path
) -> None:
    certificate, key = files.known.sign("client", host="client")
    if in_one:
        both = tmp_path / "both.pem"
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        both.chmod(0o600)
    options = {"cert_file": str(both)} if in_one else {"cert_file": str(certificate), "key_file": str(key)}
    server = serve(encrypted(files.pairs["good"], ask_for=files.known.file))
    link = linked(server.port, ca_file=str(files.known.file), **options)
    run_until(link, lambda: link.hearing.on, "a subscription")
    assert link.failure == ""
    assert server.heard.startswith(b"\x10")
