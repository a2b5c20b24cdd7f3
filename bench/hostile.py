"""Hostile payloads, and more topics than anybody has, through Mosquitto into the daemon: what it takes and loses.

    python -m bench.hostile --payloads 1000000 --topics 1000000

A process of its own publishes (QoS 0), evenly, never further ahead of the daemon than a window, so that no broker has
to drop. A healthy device goes on all the while. Every message must be counted once, and the daemon must be there in
the end.
"""

import argparse
import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt

from bench.fleet import rss_mib
from bench.machine import ROOT, record
from demo.broker import running
from edge_lstm.daemon.packets import write_publish
from edge_lstm.lane import Settings
from tests.fuzz.decoder import Payloads

FORMATS = ("number", "json", "zigbee2mqtt", "tasmota", "senml")
WARM = 5_000  # messages of the kind before memory is looked at
BATCH = 50
BEAT_S = 0.02
LONG = "x" * 400  # makes a topic as long as one may be, about
CONNECT = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x00\x00\x07hostile"
BOMBS = (
    b"[" * 65_000, b'{"a":' * 13_000, b'{"a":[' + b"[]," * 20_000 + b"[]]}",
    b"[" + b'{"t":1,"a":1},' * 4_095 + b'{"t":2,"a":1}]',
    b'{"' + b"k" * 60_000 + b'":1}', b'[{"bn":"' + b"b" * 30_000 + b'"}' + b',{"v":1}' * 4_000 + b"]",
    b"{" + b",".join(b'"k%d":"x"' % k for k in range(5_000)) + b"}", b" " * 65_000 + b"1", b"1" * 65_536, b"9" * 70_000,
)  # fmt: skip

Packets = Callable[[int], Iterator[bytes]]


class Pace(NamedTuple):
    """How many messages, how many a second, how far ahead of the daemon, and how many streams it takes."""

    count: int
    rate: float
    window: int
    max_streams: int


def payloads(count: int) -> Iterator[bytes]:
    """Yield packets with payloads that are nearly right, and now and then a bomb."""
    maker, rng = Payloads(), Random(1)
    for k in range(count):
        payload = rng.choice(BOMBS) if k % 1000 == 0 else maker.case(rng)[1:65_000]
        yield write_publish(f"hostile/{FORMATS[k % len(FORMATS)]}/{k % 100}", payload, retain=False, five=False)


def topics(count: int) -> Iterator[bytes]:
    """Yield packets with a topic each."""
    for k in range(count):
        yield write_publish(f"hostile/number/{k:07d}/temperature", b"21.5", retain=False, five=False)


def long_topics(count: int) -> Iterator[bytes]:
    """Yield packets with a topic each, as long as one may be."""
    for k in range(count):
        yield write_publish(f"hostile/number/{k:07d}/{LONG}", b"21.5", retain=False, five=False)


KINDS: dict[str, Packets] = {"payloads": payloads, "topics": topics, "long_topics": long_topics}


def publish(kind: str, port: int, pace: Pace, sent: "Synchronized[int]", allowed: "Synchronized[int]") -> None:
    """Send packets, in a process of its own, evenly, as far as that is allowed."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(CONNECT)
        assert sock.recv(4)[3] == 0, "the broker refused us"
        batch: list[bytes] = []
        began = time.monotonic()
        for k, packet in enumerate(KINDS[kind](pace.count), 1):
            batch.append(packet)
            if len(batch) == BATCH or k == pace.count:
                sock.sendall(b"".join(batch))
                batch.clear()
                sent.value = k
                time.sleep(max(0.0, began + k / pace.rate - time.monotonic()))
            while allowed.value < k:
                time.sleep(0.001)
        sock.sendall(b"\xe0\x00")


class Watch:
    """Hears what the daemon says, and how long it takes to score a healthy device.

    Attributes:
        stats: the last ones.
        longest_turn_s: the worst of all stats.
        latencies: of the healthy device, seconds.
    """

    def __init__(self, port: int) -> None:
        self.stats: dict[str, Any] = {}
        self.status = ""
        self.longest_turn_s = 0.0
        self.latencies: list[float] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([("edge-lstm/status", 1), ("edge-lstm/stats", 1), ("edge-lstm/good/#", 1)])
        self._client.loop_start()

    def _on_message(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith("/status"):
            self.status = message.payload.decode()
        elif message.topic.endswith("/stats"):
            self.stats = json.loads(message.payload)
            self.longest_turn_s = max(self.longest_turn_s, self.stats["longest_turn_s"])
        elif message.topic.endswith("/score"):
            self.latencies.append(time.time() - json.loads(message.payload)["t"])

    def beat(self) -> None:
        """Be the healthy device, for one sample."""
        self._client.publish("good/pump", json.dumps({"t": time.time(), "flow": 81.25}), 1)

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


def config(url: str, folder: Path, max_streams: int) -> Path:
    """Write the daemon's configuration: a source per format, and one for the healthy device."""
    text = f'[mqtt]\nbroker = "{url}"\n[output]\nstats_s = 1\n[[source]]\ntopic = "good/+"\n'
    for name in FORMATS:
        text += f'[[source]]\ntopic = "hostile/{name}/#"\nformat = "{name}"\nmax_streams = {max_streams}\n'
    path = folder / "config.toml"
    path.write_text(text)
    return path


def drive(kind: str, port: int, pace: Pace, watch: Watch) -> int:
    """Publish at a pace; return how many messages were sent."""
    before = watch.stats["received"] - len(watch.latencies)
    sent, allowed = multiprocessing.Value("q", 0), multiprocessing.Value("q", pace.window)
    publisher = multiprocessing.get_context("fork").Process(target=publish, args=(kind, port, pace, sent, allowed))
    publisher.start()
    while publisher.is_alive():
        watch.beat()
        time.sleep(BEAT_S)
        allowed.value = watch.stats["received"] - len(watch.latencies) - before + pace.window
    return int(sent.value)


def settle(watch: Watch) -> dict[str, Any]:
    """Return the stats once nothing moves any more."""
    last = -1
    while watch.stats["received"] != last or watch.stats["queued"]:
        last = watch.stats["received"]
        time.sleep(2.5)
    return watch.stats


def trial(kind: str, pace: Pace) -> dict[str, Any]:
    """Run a daemon under one kind of attack; return what there is to say of it."""
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as (broker, url):
        port = int(url.rsplit(":", 1)[1])
        watch = Watch(port)
        log = Path(name) / "daemon.log"
        with log.open("wb") as file:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "edge_lstm", "run", "-c", str(config(url, Path(name), pace.max_streams))],
                cwd=ROOT,
                stderr=file,
            )
        while not watch.stats:
            assert daemon.poll() is None, log.read_text()
            time.sleep(0.1)
        drive("payloads", port, pace._replace(count=WARM), watch)
        warm = settle(watch)
        before, watch.longest_turn_s, watch.latencies = rss_mib(daemon.pid), 0.0, []
        began = time.monotonic()
        sent = drive(kind, port, pace, watch)
        after = settle(watch)
        seconds, grown = time.monotonic() - began, rss_mib(daemon.pid) - before
        beats = sorted(watch.latencies)
        daemon.terminate()
        code = daemon.wait(15)
        watch.close()
        lines = len(log.read_text().splitlines())
    return {
        "broker": broker,
        "kind": kind,
        "max_streams": pace.max_streams,
        "sent": sent,
        "received": after["received"] - warm["received"] - len(beats),
        "messages_unaccounted": after["received"] - after["decoded"] - sum(after["dropped"].values()) - after["queued"],
        "samples_unaccounted": after["samples"] - after["scored"] - sum(after["refused"].values()),
        "dropped": after["dropped"],
        "refused": after["refused"],
        "seconds": round(seconds, 1),
        "rss_before_mib": round(before, 1),
        "rss_growth_mib": round(grown, 2),
        "longest_turn_ms": round(1e3 * watch.longest_turn_s, 1),
        "beats": len(beats),
        "beat_p50_ms": round(1e3 * beats[len(beats) // 2], 1),
        "beat_p99_ms": round(1e3 * beats[len(beats) * 99 // 100], 1),
        "beat_max_ms": round(1e3 * beats[-1], 1),
        "connects": after["connects"],
        "exit_code": code,
        "log_lines": lines,
    }


def main() -> None:
    """Run, show, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in KINDS:
        parser.add_argument(f"--{kind.replace('_', '-')}", type=int, default=0, metavar="N", help="0: not tried")
    parser.add_argument("--rate", type=float, default=5_000, help="messages a second (%(default)s)")
    parser.add_argument("--window", type=int, default=20_000, help="messages ahead of the daemon (%(default)s)")
    parser.add_argument("--max-streams", type=int, default=Settings().max_streams, help="(%(default)s)")
    args = parser.parse_args()
    for kind in KINDS:
        if count := getattr(args, kind):
            figures = trial(kind, Pace(count, args.rate, args.window, args.max_streams))
            print(json.dumps(figures, indent=1))
            record("hostile", figures)


if __name__ == "__main__":
    main()
