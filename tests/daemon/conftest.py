"""A broker of our own, the daemon as a process, and a client that remembers what it heard."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).parents[2]
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
WAIT_S = 10.0


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    """Return as soon as a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """Mosquitto on a free port, which it keeps over restarts."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"user {getpass.getuser()}\nlistener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "set_tcp_nodelay true\nmax_queued_messages 0\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers, "Mosquitto")

    def add(self, lines: str) -> None:
        """Start again with more in the configuration."""
        self.stop()
        self._config.write_text(self._config.read_text() + lines)
        self.start()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Listener:
    """A client in a thread of its own that keeps every message."""

    def __init__(self, port: int, topic: str = "edge-lstm/#", qos: int = 1) -> None:
        self.messages: list[MQTTMessage] = []
        self._ready = False
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = lambda client, userdata, message: self.messages.append(message)
        self._client.on_connect = lambda client, *rest: client.subscribe(topic, qos)
        self._client.on_subscribe = lambda *rest: setattr(self, "_ready", True)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(lambda: self._ready, "the listener's subscription")

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.messages if message.topic == topic]

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos, retain)

    def status(self) -> str:
        """Return what the daemon last said of itself, or the broker for it."""
        return b"".join(self.payloads("edge-lstm/status")[-1:]).decode()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _heed_interrupts() -> None:
    """Undo what a shell does to the processes that it starts in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Daemon:
    """``edge-lstm`` as a process."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_lstm", *map(str, arguments)],
            cwd=ROOT,
            preexec_fn=_heed_interrupts,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was logged."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, log

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a certificate of ``localhost`` by it, and an authority that nobody knows."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt install openssl)")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        openssl(*new, "-x509", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    openssl(*new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem")
    return folder


@pytest.fixture
def tls_port(broker: Broker, certificates: Path) -> int:
    """Where the broker speaks TLS, from now on."""
    port = free_port()
    broker.add(
        f"listener {port} 127.0.0.1\ncafile {certificates}/ca.pem\n"
        f"certfile {certificates}/server.pem\nkeyfile {certificates}/server.key\n"
    )
    return port


@pytest.fixture
def listen(broker: Broker) -> Iterator[Callable[..., Listener]]:
    """Makes listeners that are closed in the end."""
    made: list[Listener] = []

    def make(topic: str = "edge-lstm/#", qos: int = 1) -> Listener:
        made.append(Listener(broker.port, topic, qos))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Daemon]]:
    """Starts commands that are ended in the end."""
    made: list[Daemon] = []

    def make(*arguments: str | Path) -> Daemon:
        made.append(Daemon(*arguments))
        return made[-1]

    yield make
    for daemon in made:
        daemon.close()
