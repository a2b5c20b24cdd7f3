"""The whole path of a message, and what it takes.

    python -m bench.path --json FILE

1. Message to message without a network: a batch of one, ten and a hundred through ``Pipeline.handle``, and its stages.
2. Through Mosquitto, as fast as it goes: processor time a message of the daemon, of a bare echo with paho, and of the
   script that one would write with ONNX Runtime. All run side by side and take their turns.
3. Latency, message in to score out, at given rates.

Needs Mosquitto, and onnx and onnxruntime for the script. Every device sends JSON with three channels.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import ROOT, machine, target
from bench.offline import POLICIES, WEIGHTS, Samples, offline, stages
from bench.stations import Counter, Sender, publish
from demo.broker import running
from edge_lstm.pipeline import Publish

RATES = (50, 2_000, 10_000)
QUIET_S = 0.3
START_S = 60.0


class Client:
    """A process under test."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT)

    def cpu_s(self) -> float:
        """Return its processor time so far, all threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def daemon(policy: Publish, url: str, qos: int, folder: Path) -> list[str]:
    """Return the command of the daemon; its configuration is written."""
    name = f"daemon-{policy}"
    path = folder / f"{name}-{qos}.toml"
    path.write_text(
        f'[log]\nlevel = "warning"\n[mqtt]\nbroker = "{url}"\nqos = {qos}\n'
        f'[output]\nprefix = "out-{name}"\nscore_qos = {qos}\n'
        f'[[source]]\ntopic = "in-{name}/#"\nweights = "{WEIGHTS}"\npublish = "{policy}"\nsilence_s = 0\n'
    )
    return ["edge_lstm", "run", "-c", str(path)]


class Yard:
    """A broker with a sender, a counter, and the clients under test."""

    def __init__(self, url: str, qos: int, folder: Path, channels: tuple[str, ...]) -> None:
        host, port = url.removeprefix("mqtt://").split(":")
        self.qos = qos
        self._counter = Counter(host, int(port))
        self._counter.subscribe("+/status")
        self._counter.subscribe("+/ready")
        self._sender = Sender(host, int(port))

        def script(module: str, name: str, *rest: str) -> Client:
            return Client(name, [module, host, port, str(qos), f"in-{name}", f"out-{name}", *rest])

        self.clients = [
            script("bench.echo", "echo-forever", "forever"),
            script("bench.echo", "echo-drained", "drained"),
            script("bench.user_script", "user-script", *channels),
            *(Client(f"daemon-{policy}", daemon(policy, url, qos, folder)) for policy in POLICIES),
        ]
        self._samples = {client.name: Samples() for client in self.clients}  # so that no stream has a gap

    def start(self) -> None:
        """Wait until all clients listen."""
        end = time.monotonic() + START_S
        while self._counter.count < len(self.clients):
            self._counter.read(0.5)
            ended = [client.name for client in self.clients if client.process.poll() is not None]
            if ended or time.monotonic() > end:
                raise RuntimeError(f"{self._counter.count} of {len(self.clients)} clients came up; ended: {ended}")
        for client in self.clients:
            self._counter.subscribe(f"out-{client.name}/#")

    def close(self) -> None:
        """End everything."""
        self._sender.close()
        for client in self.clients:
            client.process.terminate()
            client.process.wait()

    def send(self, client: Client, count: int, rate: float) -> dict[str, float]:
        """Send messages to one client; return its processor time for each, us, and how many came back."""
        made = self._samples[client.name].take(count)
        packets = [
            publish(f"in-{client.name}/{topic}", payload, self.qos, k % 65_535 + 1)
            for k, (topic, payload) in enumerate(made)
        ]
        counter = self._counter
        counter.read(0.1)
        counter.came.clear()
        counter.noting = bool(rate)
        before, cpu = counter.count, client.cpu_s()
        self._sender.send(packets, rate)
        while counter.read(QUIET_S) or self._busy(client):
            pass
        sent = self._sender.sent()
        figures = {"us": 1e6 * (client.cpu_s() - cpu) / count, "back": counter.count - before}
        if rate:
            times = [json.loads(payload)["ts"] for _, payload in made]
            took = sorted(counter.came[t] - at for t, at in zip(times, sent, strict=True) if t in counter.came)
            figures |= {"p50_ms": 1e3 * took[len(took) // 2], "p99_ms": 1e3 * took[int(len(took) * 0.99)]}
            figures["lost"] = count - len(took)
        return figures

    def _busy(self, client: Client) -> bool:
        """Tell whether a client works; chores are no work."""
        before = client.cpu_s()
        time.sleep(0.05)
        return client.cpu_s() - before > 0.005


def through_broker(yard: Yard, count: int, rounds: int) -> dict[str, dict[str, float]]:
    """Measure bursts, the clients in turn."""
    found: dict[str, list[dict[str, float]]] = {client.name: [] for client in yard.clients}
    for client in yard.clients:
        yard.send(client, count, 0.0)  # warm
    for _ in range(rounds):
        for client in yard.clients:
            found[client.name].append(yard.send(client, count, 0.0))
    return {
        name: {
            "us": round(statistics.median(each["us"] for each in runs), 1),
            "back": statistics.median(each["back"] for each in runs) / count,
        }
        for name, runs in found.items()
    }


def latency(yard: Yard, seconds: float) -> dict[str, dict[str, float]]:
    """Measure at steady rates."""
    found = {}
    for rate in RATES:
        for client in yard.clients:
            if client.name in ("echo-drained", "user-script", "daemon-every"):
                count = int(rate * seconds)
                run = yard.send(client, count, rate)
                del run["back"]
                found[f"{client.name}, {rate}/s"] = {name: round(value, 2) for name, value in run.items()}
    return found


def show(title: str, rows: dict[str, Any]) -> None:
    """Print a table."""
    print(f"\n{title}")
    for name, figures in rows.items():
        each = figures if isinstance(figures, dict) else {"us": figures}
        print(f"  {name:<28}", ", ".join(f"{word} {value:g}" for word, value in each.items()))


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target, help="file to add a line to")
    parser.add_argument("--count", type=int, default=20_000, help="messages of a burst")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each rate; 0 leaves latency out")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    samples = Samples()
    figures: dict[str, Any] = {"offline_us": offline(samples, 2000), "stages_us": stages(samples, 800)}
    show("message to message, us", figures["offline_us"])
    show("stages, us", figures["stages_us"])
    for qos in (0, 1):
        with tempfile.TemporaryDirectory() as name, running(Path(name)) as (_, url):
            yard = Yard(url, qos, Path(name), samples.channels)
            try:
                yard.start()
                figures[f"burst_qos_{qos}"] = through_broker(yard, args.count, args.rounds)
                show(f"through Mosquitto, QoS {qos}, us of processor a message", figures[f"burst_qos_{qos}"])
                if args.seconds and qos == 0:
                    figures["latency"] = latency(yard, args.seconds)
                    show("latency", figures["latency"])
            finally:
                yard.close()
    if args.json:
        with args.json.open("a") as file:
            file.write(json.dumps(figures | {"machine": machine()}) + "\n")


if __name__ == "__main__":
    main()
