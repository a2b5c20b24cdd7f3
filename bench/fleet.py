"""Simulated devices through Mosquitto into the daemon: what is lost, and what the daemon takes.

    python -m bench.fleet --devices 1000 --seconds 300

Every device sends one JSON message a second (QoS 1); every sample is scored and published. Needs Mosquitto.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt

from bench.machine import ROOT, record
from demo.broker import running

KINDS = ("bearing", "pump", "motor", "room", "meter")


def cpu_s(pid: int) -> float:
    """Return user and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def config(url: str, folder: Path) -> Path:
    """Write the daemon's configuration: a source per device kind."""
    text = f'[mqtt]\nbroker = "{url}"\nclient_id = "fleet"\nqos = 1\n[output]\nscore_qos = 0\n'
    for kind in KINDS:
        text += f'[[source]]\ntopic = "sim/{kind}/+/telemetry"\nweights = "{ROOT / "weights" / kind}.safetensors"\n'
    path = folder / "config.toml"
    path.write_text(text)
    return path


def main() -> None:
    """Run, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=300.0)
    args = parser.parse_args()
    counts = {"score": 0, "alert": 0}
    stats: dict[str, object] = {}
    ready = threading.Event()

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        last = message.topic.rsplit("/", 1)[1]
        if last in counts:
            counts[last] += 1
        elif last == "stats":
            stats.update(json.loads(message.payload))
        elif last == "status":
            ready.set()

    with tempfile.TemporaryDirectory() as name, running(Path(name)) as (broker, url):
        host, port = url.removeprefix("mqtt://").split(":")
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_message = on_message
        client.connect(host, int(port))
        client.subscribe("edge-lstm/#", 1)
        client.loop_start()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edge_lstm", "run", "-c", str(config(url, Path(name)))], cwd=ROOT
        )
        ready.wait(180)
        time.sleep(2)
        idle_mib, cpu_before, began = rss_mib(daemon.pid), cpu_s(daemon.pid), time.monotonic()
        fleet = [sys.executable, "-m", "firmware_sim", "fleet", "--broker", url, "--devices", str(args.devices)]
        fleet += ["--rate", "1", "--seconds", str(args.seconds), "--qos", "1", "--json"]
        sent = json.loads(
            subprocess.run(fleet, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        )
        wall = time.monotonic() - began
        time.sleep(3)
        cpu, busy_mib = cpu_s(daemon.pid) - cpu_before, rss_mib(daemon.pid)
        daemon.terminate()
        daemon.wait(15)
        time.sleep(1)
        client.loop_stop()
    figures = {
        "broker": broker,
        "devices": args.devices,
        "seconds": args.seconds,
        "sent": sent,
        "scores": counts["score"],
        "alerts": counts["alert"],
        "daemon": stats,
        "cpu_percent": round(100 * cpu / wall, 2),
        "cpu_us_per_sample": round(1e6 * cpu / max(counts["score"], 1), 1),
        "rss_idle_mib": round(idle_mib, 1),
        "rss_mib": round(busy_mib, 1),
    }
    print(json.dumps(figures, indent=1))
    record("fleet", figures)


if __name__ == "__main__":
    main()
