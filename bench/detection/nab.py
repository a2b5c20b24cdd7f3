"""Replays NAB's files through a bundle and writes scores that a NAB scorer reads.

    python -m bench.detection.nab --data NAB/data --weights weights/universal.safetensors --out /tmp/nab
    nab_score.py --labels NAB/labels/combined_windows.json --scores /tmp/nab/own        (and /tmp/nab/with_range)

NAB bills every row outside a window that is over the threshold, so a score of rows has to become one of events first:
of each excursion only the rows that top what was said in the 100 rows before are kept. ``own`` is the model's surprise,
``with_range`` the larger of it and the strength of the ``out_of_range`` rule; ``rows`` is the surprise of every row.
"""

import argparse
import csv
from pathlib import Path

from edge_lstm.bundle import read
from edge_lstm.core.table import OUT_OF_RANGE
from edge_lstm.replay.tracks import replay
from edge_lstm.tables import read_table

QUIET_ROWS = 100


def events(surprise: list[float]) -> list[float]:
    """Keep a surprise only where it tops all that was kept in the last rows; 0 elsewhere."""
    kept, peak, age = [], 0.0, 0
    for value in surprise:
        age += 1
        if age > QUIET_ROWS:
            peak = 0.0
        if value > peak:
            peak, age = value, 0
            kept.append(value)
        else:
            kept.append(0.0)
    return kept


def main() -> None:
    """Replay every file; state starts anew for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    bundle = read(args.weights)
    for path in sorted(args.data.glob("*/*.csv")):
        table = read_table(path, ("value",))
        results = replay(bundle, table)[0].results
        own = results.surprise.tolist()
        ranged = [
            max(surprise, strength) if reason == OUT_OF_RANGE else surprise
            for surprise, strength, reason in zip(own, results.strength.tolist(), results.reason.tolist(), strict=True)
        ]
        for kind, scores in (("own", events(own)), ("with_range", events(ranged)), ("rows", own)):
            target = args.out / kind / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("timestamp", "anomaly_score"))
                writer.writerows(zip(table.clock, scores, strict=True))


if __name__ == "__main__":
    main()
