"""``scripts/demo``: everything on this machine, nothing else needed."""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
from rich.console import Console
from rich.live import Live

from demo.broker import running
from demo.ledger import Ledger
from demo.view import Show, final

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("bearing", "pump", "motor", "room", "meter")
WARM_S = 12.0  # wall seconds before the first fault: warm-up, and something normal to look at
SETTLE_S = 4.0  # after the last sample, for what is still on its way
READY_S = 180.0  # the first start compiles the kernels


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the sensors run (%(default)g)")
    parser.add_argument("--devices", type=int, default=15, help="how many (%(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="samples a second and device (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same devices, same faults (%(default)s)")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="save the view as SVG, three quarters through")
    parser.add_argument("--plain", action="store_true", help="no live view; it is off anyway without a terminal")
    return parser.parse_args()


def _config(broker: str, folder: Path) -> Path:
    """Write a configuration as a user would: one source per device kind, each with its own bundle."""
    lines = [
        "[mqtt]",
        f'broker = "{broker}"',
        'client_id = "edge-lstm-demo"',
        "qos = 1",
        "",
        "[output]",
        "score_qos = 1",
    ]
    for kind in KINDS:
        weights = ROOT / "weights" / f"{kind}.safetensors"
        lines += ["", "[[source]]", f'topic = "sim/{kind}/+/telemetry"', f'weights = "{weights}"', "silence_s = 3.0"]
    path = folder / "config.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside this one; stop it at the end."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _listen(url: str, ledger: Ledger, lock: threading.Lock, ready: threading.Event) -> mqtt.Client:
    """Subscribe to everything that the ledger books."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="edge-lstm-demo-view")
    client.max_queued_messages_set(0)

    def on_connect(client: mqtt.Client, *_: object) -> None:
        client.subscribe([("sim/+/+/telemetry", 1), ("sim/+/+/truth", 1), ("edge-lstm/#", 1)])

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == "edge-lstm/status" and message.payload == b"online":
            ready.set()
        with lock:
            try:
                _book(ledger, message.topic, message.payload)
            except (ValueError, LookupError, TypeError, AttributeError):  # it would end the client's thread
                ledger.unread += 1

    client.on_connect = on_connect
    client.on_message = on_message
    host, port = url.removeprefix("mqtt://").split(":")
    try:
        client.connect(host, int(port))
    except OSError as error:
        raise RuntimeError(f"no connection to the broker on {url}: {error}") from None
    client.loop_start()
    return client


def _book(ledger: Ledger, topic: str, payload: bytes) -> None:
    """Put a message into the ledger."""
    last = topic.rsplit("/", 1)[1]
    if last == "telemetry":
        ledger.telemetry(topic, json.loads(payload))
    elif last == "truth":
        ledger.truth(topic.removesuffix("truth") + "telemetry", json.loads(payload), time.monotonic())
    elif last == "score":
        ledger.score(json.loads(payload))
    elif last == "alert":
        ledger.alert(json.loads(payload), time.monotonic())


def _wait_ready(console: Console, daemon: subprocess.Popen[bytes], ready: threading.Event, log: Path) -> None:
    with console.status("starting the daemon (the first start on a machine compiles its kernels)"):
        end = time.monotonic() + READY_S
        while not ready.wait(0.2):
            if daemon.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the daemon did not come up:\n{log.read_text(errors='replace')[-2000:]}")


def _fleet(args: argparse.Namespace, url: str) -> list[str]:
    return [
        sys.executable, "-m", "firmware_sim", "fleet", "--broker", url, "--devices", str(args.devices),
        "--rate", str(args.rate), "--seconds", str(args.seconds), "--seed", str(args.seed), "--qos", "1",
        "--faults", "one-each", "--fault-after", str(min(WARM_S, args.seconds / 2)), "--json",
    ]  # fmt: skip


def main() -> int:
    """Run the demo; return 0 if every fault was found and nothing was lost."""
    args = _arguments()
    console = Console()
    ledger, lock, ready = Ledger(), threading.Lock(), threading.Event()
    with tempfile.TemporaryDirectory(prefix="edge-lstm-demo-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        broker, url = stack.enter_context(running(folder))
        client = _listen(url, ledger, lock, ready)
        stack.callback(client.loop_stop)
        daemon_log = folder / "daemon.log"
        command = [sys.executable, "-m", "edge_lstm", "run", "-c", str(_config(url, folder))]
        daemon = stack.enter_context(_process(command, daemon_log))
        _wait_ready(console, daemon, ready, daemon_log)
        console.print(f"{broker} on {url}, the daemon beside it, {args.devices} simulated devices", highlight=False)
        began = time.monotonic()
        sensors = stack.enter_context(_process(_fleet(args, url), folder / "sensors.log"))
        live = None
        if console.is_terminal and not args.plain:
            live = stack.enter_context(Live(console=console, auto_refresh=False, transient=True))
        _follow(Show(console, live, broker, began, args.seconds, args.picture), ledger, lock, sensors)
        if sensors.wait() != 0:
            raise RuntimeError(f"the sensors failed:\n{(folder / 'sensors.log').read_text()[-2000:]}")
        client.disconnect()
    final(console, ledger)
    summary = ledger.summary()
    if args.summary:
        args.summary.write_text(json.dumps(summary, indent=2) + "\n")
    return 0 if summary["lost"] == 0 and summary["found"] == summary["injected"] else 1


def _follow(show: Show, ledger: Ledger, lock: threading.Lock, sensors: subprocess.Popen[bytes]) -> None:
    """Show what happens until the sensors are done and their last samples have come back."""
    done = 0.0
    while not done or time.monotonic() - done < SETTLE_S:
        time.sleep(0.2)
        with lock:
            if not done and sensors.poll() is not None:
                done = time.monotonic()
                ledger.closed = True
            show.update(ledger)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        sys.exit(f"scripts/demo: {error}")
