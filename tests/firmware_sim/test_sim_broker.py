"""The whole of it against a real broker, and the command line."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.cli import main
from firmware_sim.fleet import Fleet, FleetOptions
from firmware_sim.link import Link, LinkError
from firmware_sim.plan import FaultPlan
from firmware_sim.play import Player, PlayOptions

Messages = list[tuple[str, bytes]]


@contextmanager
def listening(broker: str, topic: str) -> Iterator[Messages]:
    """Collect messages, in order of arrival."""
    heard: Messages = []
    subscribed: list[bool] = []

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        heard.append((message.topic, bytes(message.payload)))

    def on_subscribe(*_rest: object) -> None:
        subscribed.append(True)

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.on_subscribe = on_subscribe
    url = urlsplit(broker)
    client.connect(url.hostname or "", url.port or 1883)
    client.subscribe(topic, qos=1)
    client.loop_start()
    wait_until(lambda: bool(subscribed))
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.broker
@pytest.mark.parametrize("qos", [0, 1])
def test_2000_devices_at_1_hz(broker: str, qos: int) -> None:
    options = FleetOptions(
        broker=broker,
        devices=2_000,
        kinds=("bearing", "pump", "motor"),
        seconds=2.0,
        qos=qos,
        prefix=f"many{qos}",
    )
    with listening(broker, f"many{qos}/+/+/telemetry") as heard:
        report = Fleet(options).run()
        assert report.telemetry == 2 * 2_000
        assert report.sent == report.acknowledged
        wait_until(lambda: len(heard) >= report.telemetry)
    assert len({topic for topic, _ in heard}) == 2_000
    assert len(heard) == 4_000


@pytest.mark.broker
def test_truth_matches_what_was_sent(broker: str) -> None:
    plan = FaultPlan("one-each", kinds=("stuck", "level_shift"), after_s=0.5, before_s=0.6)
    options = FleetOptions(
        broker=broker,
        devices=4,
        kinds=("pump",),
        seconds=2.0,
        rate_hz=200.0,
        prefix="true",
        plan=plan,
    )
    with listening(broker, "true/#") as heard:
        report = Fleet(options).run()
        wait_until(lambda: len(heard) >= report.sent + 2)
    assert report.faults == 4
    for number in range(1, 5):
        base = f"true/pump/pump-{number:04d}/"
        (truth,) = [json.loads(payload) for topic, payload in heard if topic == base + "truth"]
        samples = [json.loads(payload) for topic, payload in heard if topic == base + "telemetry"]
        assert [sample["seq"] for sample in samples] == list(range(400))
        inside = [s[truth["channel"]] for s in samples if truth["start"] <= s["t"] < truth["end"]]
        assert 60 <= len(inside) <= 120
        if truth["fault"] == "stuck":
            assert len(set(inside)) == 1
        status = [payload for topic, payload in heard if topic == base + "status"]
        assert status == [b"online", b"offline"]


@pytest.mark.broker
@pytest.mark.parametrize(("qos", "speed"), [(0, None), (1, None), (1, 50_000.0)])
def test_play_sends_exact_numbers_in_order(broker: str, tmp_path: Path, qos: int, speed: float | None) -> None:
    for name, delimiter in (("a", ","), ("b", ";")):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(["datetime", "Current", "Volume Flow RateRMS", "label"])
            for i in range(1_000):
                cell = "" if i == 5 else f"{i / 7:.17g}"
                writer.writerow([f"2020-03-09 10:{i // 60:02d}:{i % 60:02d}", cell, f"{i}e-3", "x"])
    options = PlayOptions(
        files=[tmp_path / "a.csv", tmp_path / "b.csv"],
        topic="plant/{name}/telemetry",
        broker=broker,
        columns=["Current", "Volume Flow RateRMS"],
        speed=speed,
        qos=qos,
    )
    with listening(broker, "plant/#") as heard:
        report = Player(options).run()
        assert report.sent == report.acknowledged == 2_000
        wait_until(lambda: len(heard) >= 2_000)
    for name in "ab":
        samples = [json.loads(p) for topic, p in heard if topic == f"plant/{name}/telemetry"]
        assert [s["t"] for s in samples] == [1583748000.0 + i for i in range(1_000)]
        assert "Current" not in samples[5]
        assert all(s["Current"] == i / 7 for i, s in enumerate(samples) if i != 5)
        assert [s["Volume Flow RateRMS"] for s in samples] == [float(f"{i}e-3") for i in range(1_000)]
    assert [json.loads(p)["t"] for _, p in heard] == sorted(json.loads(p)["t"] for _, p in heard)


@pytest.mark.broker
@pytest.mark.parametrize("qos", [0, 1])
def test_a_broken_connection_is_mended(broker: str, qos: int) -> None:
    link = Link(broker)
    link.connect()
    with listening(broker, f"mend{qos}") as heard:
        for number in range(300):
            if number % 100 == 50:
                link.socket().shutdown(socket.SHUT_RDWR)
            link.publish(f"mend{qos}", str(number).encode(), qos)
        link.close()
        assert link.sent == 300
        assert link.acknowledged + link.lost == 300
        if qos == 1:
            wait_until(lambda: {payload for _, payload in heard} == {b"%d" % i for i in range(300)})


@pytest.mark.broker
def test_last_will_and_orderly_stop(broker: str) -> None:
    command = [sys.executable, "-m", "firmware_sim", "fleet", "--broker", broker, "--devices", "2"]
    command += ["--kind", "pump", "--prefix", "will", "--rate", "20", "--json"]

    def run(last: int, *more: str) -> tuple[Messages, str]:
        with listening(broker, "will/#") as heard:
            with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) as process:
                wait_until(lambda: any(topic.endswith("telemetry") for topic, _ in heard))
                os.kill(process.pid, last)
                output = process.communicate(timeout=5)[0]
            wait_until(lambda: sum(payload == b"offline" for _, payload in heard) >= 2)
        return heard, output

    heard, _ = run(signal.SIGKILL, "--connections", "per-device")
    assert ("will/pump/pump-0001/status", b"offline") in heard
    assert ("will/pump/pump-0002/status", b"offline") in heard
    _, output = run(signal.SIGTERM, "--prefix", "will/again")
    summary = json.loads(output)
    assert summary["sent"] == summary["acknowledged"] > summary["telemetry"] > 0


def test_no_broker_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_sim.link._CONNECT_TIMEOUT_S", 0.0)
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:9: "):
        Link("mqtt://127.0.0.1:9").connect()
    with pytest.raises(ValueError, match="expected mqtt://"):
        Link("localhost")


@pytest.mark.parametrize("command", [[], ["fleet"], ["normal"], ["faulty"], ["play"]])
def test_help_teaches(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "usage: python -m firmware_sim" in text
    if not command:
        assert "--faults one-each" in text
        assert "--speed max" in text


def test_csv_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    normal, again, bad = tmp_path / "n.csv", tmp_path / "m.csv", tmp_path / "bad.csv"
    for path in (normal, again):
        arguments = ["normal", "--kind", "room", "--rows", "50", "--seed", "4", "-o", str(path)]
        assert main([*arguments, "--json"]) == 0
    assert normal.read_bytes() == again.read_bytes()
    assert len(normal.read_text().splitlines()) == 51
    truth = tmp_path / "truth.json"
    faults = ["--fault", "drift", "level_shift:co2_ppm", "wear"]
    command = ["faulty", "--kind", "room", "--rows", "2000", "-o", str(bad), "--truth", str(truth)]
    assert main([*command, *faults]) == 0
    told = json.loads(truth.read_text())
    assert [entry["fault"] for entry in told] == ["drift", "level_shift", "wear"]
    assert json.loads(capsys.readouterr().out.splitlines()[0])["rows"] == 50


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("time,a\n2020-01-01,1\n", "no column 'b'"),
        ("time,b\nyesterday,1\n", "line 2"),
        ("time,b\n2020-01-01,one\n", "line 2"),
    ],
)
def test_play_says_what_is_wrong(
    content: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    assert main(["play", str(path), "--topic", "t/{name}", "--columns", "b"]) == 2
    assert complaint in capsys.readouterr().err
