"""SKAB's valve1, live: played as 16 devices through a broker into the daemon, and the same files through replay.

    python -m bench.detection.skab --data SKAB --out /tmp/skab
    skab_score.py --data SKAB --scores /tmp/skab/live --threshold 0.99 --files 'valve1/*'    (and /tmp/skab/replay)

Fits a bundle on the first 400 rows of each file (the benchmark's own rule), runs both ways, and compares every score.
"""

import argparse
import csv
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt

from demo.broker import running

CHANNELS = "Accelerometer1RMS,Accelerometer2RMS,Current,Pressure,Temperature,Thermocouple,Voltage,Volume Flow RateRMS"
START_ROWS = 400


def live(files: list[Path], weights: Path, folder: Path) -> dict[tuple[str, float], tuple[float, float, str]]:
    """Play the files through a broker and the daemon; return score, surprise and quality by file and time."""
    scores: dict[tuple[str, float], tuple[float, float, str]] = {}
    ready = threading.Event()

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == "edge-lstm/status":
            ready.set()
        elif message.topic.endswith("/score"):
            s = json.loads(message.payload)
            name = s["stream"].split("/")[1]
            scores[name, s["t"]] = (s["score"] or 0.0, s["surprise"] or 0.0, s["quality"])

    with running(folder) as (name, url):
        print(f"broker: {name}")
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_message = on_message
        host, port = url.removeprefix("mqtt://").split(":")
        client.connect(host, int(port))
        client.subscribe("edge-lstm/#", 1)
        client.loop_start()
        config = folder / "config.toml"
        config.write_text(
            f'[mqtt]\nbroker = "{url}"\nclient_id = "skab"\nqos = 1\n[output]\nscore_qos = 1\n'
            f'[[source]]\ntopic = "valve1/+/telemetry"\nweights = "{weights.resolve()}"\n'
        )
        daemon = subprocess.Popen([sys.executable, "-m", "edge_lstm", "run", "-c", str(config)])
        ready.wait(180)
        play = [sys.executable, "-m", "firmware_sim", "play", *map(str, files), "--topic", "valve1/{name}/telemetry"]
        play += ["--broker", url, "--columns", CHANNELS, "--time", "datetime", "--speed", "max", "--qos", "1", "--json"]
        subprocess.run(play, check=True)
        total = sum(len(path.read_text().splitlines()) - 1 for path in files)
        end = time.monotonic() + 60
        while len(scores) < total and time.monotonic() < end:
            time.sleep(0.2)
        daemon.terminate()
        daemon.wait(10)
        client.loop_stop()
    return scores


def main() -> None:
    """Fit, play, replay, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files = sorted((args.data / "valve1").glob("*.csv"))
    weights = args.out / "valve1.safetensors"
    edge = [sys.executable, "-m", "edge_lstm"]
    fit = [*edge, "fit", *map(str, files), "--rows", str(START_ROWS), "--columns", CHANNELS]
    subprocess.run([*fit, "--seed", str(args.seed), "-o", str(weights)], check=True)
    replayed = args.out / "replay" / "valve1"
    subprocess.run(
        [*edge, "replay", "--weights", str(weights), "--in", *map(str, files), "--out", f"{replayed}/"], check=True
    )

    from edge_lstm.tables import read_table

    scores = live(files, weights, args.out)
    equal = differ = missing = 0
    for path in files:
        table = read_table(path, tuple(CHANNELS.split(",")))
        target = args.out / "live" / "valve1" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with (replayed / path.name).open() as offline, target.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("timestamp", "score", "surprise", "quality"))
            for row, t in zip(csv.DictReader(offline), table.t.tolist(), strict=True):
                found = scores.get((path.stem, t))
                missing += found is None
                same = found == (float(row["score"]), float(row["surprise"]), row["quality"])
                equal += same
                differ += found is not None and not same
                writer.writerow((row["timestamp"], *(found or (0.0, 0.0, "missing"))))
    print(json.dumps({"rows": equal + differ + missing, "equal": equal, "different": differ, "missing": missing}))


if __name__ == "__main__":
    main()
