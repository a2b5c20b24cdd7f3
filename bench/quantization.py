"""What quantization does to scores and alerts on recordings with labels, and whether its error grows with time.

    scripts/bench quantization --data DATA --json FILE [--seeds 0 1 2] [--out DIR]

DATA holds ``skab/valve1/*.csv`` and ``batadal/dataset03.csv``, ``dataset04.csv``. For each of the two one network is
trained as ``edge-lstm fit`` does. Its float64 outputs are judged by a judge that is calibrated on them, and by the
bundle's own; bundles of it go through the engine. With ``--out`` the scores are written for other scorers.
"""

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.detection.labelled import File, System, dataset04, valve1
from bench.detection.measures import measure
from bench.drift import NOISE, STEPS, WINDOW, drift
from bench.floats import EIGHT, SHIPPED, Fitted, check_stream, fit_once
from bench.machine import machine, target
from edge_lstm.compare.differences import NEAR, difference, rank_correlation, spans
from edge_lstm.convert.arrival import run
from edge_lstm.core.judged import judged
from edge_lstm.core.table import REASONS, WARMING_UP, Results
from edge_lstm.fit.recordings import Sequence

FLOAT, FLOAT_OTHER_JUDGE = "float64", "float64, judge of the bundle"
SYSTEMS: dict[str, Callable[[Path], System]] = {"valve1": valve1, "dataset04": dataset04}


def runs(system: System, fitted: Fitted) -> dict[str, list[Results]]:
    """Return what each variant says to each file; the float network first."""
    found: dict[str, list[Results]] = {FLOAT: [], FLOAT_OTHER_JUDGE: []}
    own = fitted.bundles[SHIPPED].weights
    for file in system.files:
        t, x = file.table.t, file.table.x
        if (np.diff(t) <= 0.0).any():
            raise SystemExit(f"{file.name}: rows out of order")
        outputs = fitted.outputs(t, x)
        found[FLOAT].append(judged(fitted.judge, t, x, outputs))
        found[FLOAT_OTHER_JUDGE].append(judged(own, t, x, outputs))
    for name, bundle in fitted.bundles.items():
        found[name] = [run(bundle, Sequence(file.name, file.table.t, file.table.x)) for file in system.files]
    return found


def named(file: File, results: Results, found: tuple[tuple[int, int], ...]) -> list[dict[str, Any]]:
    """Return alerts by name."""
    return [
        {"file": file.name, "row": first, "time": file.when(first), "reason": REASONS[results.reason[first]]}
        for first, _ in found
    ]


def late(mine: set[tuple[int, int]], other: Results) -> list[tuple[int, int, int]]:
    """Return each alert with the distance of its start from the other run's nearest."""
    starts = [start for start, _ in spans(other)]
    return [(*alert, min(abs(start - alert[0]) for start in starts)) for alert in sorted(mine)]


def beside(system: System, exact: list[Results], ours: list[Results]) -> dict[str, Any]:
    """Return how a variant differs from the float network.

    An alert is lost that has none of the variant's near it. One that has, but starts more than ``NEAR`` samples from
    the start of any, has moved, or is joined to the one before; on the variant's side it is parted.
    """
    alerts: dict[str, list[dict[str, Any]]] = {"lost": [], "gained": [], "joined": [], "parted": []}
    far, moved = [], [0]
    for file, a, b in zip(system.files, exact, ours, strict=True):
        apart = difference(a, b)
        far.append(apart.surprise_max)
        sides = (("lost", "joined", a, b, apart.lost), ("gained", "parted", b, a, apart.gained))
        for alone, elsewhere, mine, other, unmatched in sides:
            alerts[alone] += named(file, mine, unmatched)
            shifts = late(set(spans(mine)) - set(unmatched), other)
            alerts[elsewhere] += named(
                file, mine, tuple((first, last) for first, last, shift in shifts if shift > NEAR)
            )
            moved += [shift for *_, shift in shifts if shift <= NEAR]
    heard = [[r.surprise[r.quality != WARMING_UP] for r in side] for side in (exact, ours)]
    return alerts | {
        "rank_correlation": rank_correlation(*(np.concatenate(side) for side in heard)),
        "surprise_max": max(far),
        "start_moved_max": max(moved),
    }


def compare(system: System, fitted: Fitted, out: Path | None) -> dict[str, Any]:
    """Return the figures of each variant."""
    said, found = runs(system, fitted), {}
    for name, results in said.items():
        scores = [r.score for r in results]
        found[name] = measure(system, scores) | {"alerts": sum(len(spans(r)) for r in results)}
        found[name]["change"] = found[name]["auc_roc"] - found[FLOAT]["auc_roc"]
        found[name] |= beside(system, said[FLOAT], results)
        if out is not None:
            write(out / system.name.split()[0].lower() / name.replace(" ", "-").replace(",", ""), system, scores)
    return found


def write(folder: Path, system: System, scores: list[Any]) -> None:
    """Write scores, a file for each recording."""
    for file, score in zip(system.files, scores, strict=True):
        place = folder / system.name.split()[1] / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("timestamp", "score", "label"))
            writer.writerows(zip(file.table.clock, score.tolist(), file.truth.astype(int).tolist(), strict=True))


def show(record: dict[str, Any]) -> None:
    """Print a system's figures."""
    print(f"\n{record['system']}, seed {record['seed']}")
    for variant, found in record["variants"].items():
        s = f"   S {found['s']:.4f}" if "s" in found else ""
        print(
            f"  {variant:28s} AUC-ROC {found['auc_roc']:.4f} ({found['change']:+.4f})   "
            f"balanced accuracy {found['balanced_accuracy']:.4f}{s}   rank correlation {found['rank_correlation']:.5f}"
            f"   alerts {found['alerts']}, lost {len(found['lost'])}, gained {len(found['gained'])}, "
            f"joined {len(found['joined'])}, parted {len(found['parted'])}, the others' starts moved by at most "
            f"{found['start_moved_max']} samples"
        )
        for kind in ("lost", "gained", "joined", "parted"):
            for alert in found[kind]:
                print(f"    {kind:6s} {alert['file']} row {alert['row']} ({alert['time']}), {alert['reason']}")
    for variant, found in record["drift"].items():
        rms, largest = found["rms"], found["largest"]
        print(
            f"  forecasts over {found['steps']:,} steps, {variant}: rms {rms[0]:.5f} in the first {WINDOW:,}, "
            f"{rms[-1]:.5f} in the last, {max(rms):.5f} at most; largest {largest[0]:.4f}, {largest[-1]:.4f}, "
            f"{max(largest):.4f}; rms of a turn of the recording {found['rms_of_second_turn']:.7f} (second), "
            f"{found['rms_of_last_turn']:.7f} (last), in scales"
        )


def measured(system: System, seed: int, steps: int, out: Path | None) -> dict[str, Any]:
    """Fit a system and return all of its figures."""
    fitted = fit_once(system, seed)
    check_stream(fitted.model, fitted.normal.z[0][:300])
    return {
        "system": system.name,
        "seed": seed,
        "variants": compare(system, fitted, out),
        "drift": drifts(fitted, steps) if steps else {},
    }


def drifts(fitted: Fitted, steps: int) -> dict[str, dict[str, Any]]:
    """Return how far forecasts are apart over many steps."""
    found = {name: drift(fitted, fitted.bundles[name], steps) for name in (SHIPPED, EIGHT)}
    return found | {f"{SHIPPED}, noise": drift(fitted, fitted.bundles[SHIPPED], steps, NOISE)}


def main() -> None:
    """Fit, judge, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--json", type=target, help="where the record goes")
    parser.add_argument("--out", type=Path, help="folder for scores")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the training; drift is the first's")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the drift, whole windows (%(default)s); 0: none")
    parser.add_argument("--system", nargs="*", choices=list(SYSTEMS), default=list(SYSTEMS))
    args = parser.parse_args()
    if args.steps % WINDOW:
        parser.error(f"--steps: a multiple of {WINDOW}")
    torch.set_num_threads(1)
    records = []
    for name in args.system:
        system = SYSTEMS[name](args.data)
        for k, seed in enumerate(args.seeds):
            out = args.out and args.out / f"seed{seed}"
            records.append(measured(system, seed, 0 if k else args.steps, out))
            show(records[-1])
    if args.json:
        args.json.write_text(json.dumps({"records": records, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
