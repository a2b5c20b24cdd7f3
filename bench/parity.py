"""The same float weights in PyTorch, in a float64 reference of the cell, and quantized in the engine.

    python -m bench.parity --data SKAB --score skab_score.py

Fits valve1's bundle (first 400 rows of 16 files), keeps the float network, and runs all files through three ways:
PyTorch float32; a NumPy float64 LSTM with exact tanh and sigmoid; the engine with int8 weights. Rows count as one a
second, since PyTorch forgets nothing at a gap. Prints the largest difference between forecasts, in scales, and, with
``--score``, what quantization does to the scores.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.machine import record
from edge_lstm.fit import fitting
from edge_lstm.fit.calibrate import calibrate, residuals
from edge_lstm.fit.network import Forecaster
from edge_lstm.fit.report import replay
from edge_lstm.tables import Table, read_table

START_ROWS, HELD = 400, 300
COLUMNS = (
    "Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure",
    "Temperature", "Thermocouple", "Voltage", "Volume Flow RateRMS",
)  # fmt: skip
Floats = NDArray[np.float64]


def reference(tensors: dict[str, Floats], z: Floats) -> Floats:
    """Return locations of one layer of LSTM and its head in float64, from a zero state; (n, C)."""
    hidden = tensors["weight_hh_l0"].shape[1]
    h, c, out = np.zeros(hidden), np.zeros(hidden), []
    for x in z:
        gates = tensors["weight_ih_l0"] @ x + tensors["weight_hh_l0"] @ h + tensors["bias_l0"]
        i, f, g, o = np.split(gates, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        out.append(tensors["head.weight"] @ h + tensors["head.bias"])
    return np.array(out)[:, : z.shape[1]]


def main() -> None:
    """Fit, run three ways, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--score", type=Path, help="the benchmark's scorer")
    args = parser.parse_args()
    torch.set_num_threads(1)
    nets: dict[float, Forecaster] = {}
    train_each = fitting._train_each  # float networks are not part of a bundle, so they are caught on their way

    def keep(*arguments: Any) -> Any:
        trained, errors = train_each(*arguments)
        nets.update(trained)
        return trained, errors

    fitting._train_each = keep
    files = sorted((args.data / "valve1").glob("*.csv"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = fitting.FitOptions(columns=COLUMNS, rows=START_ROWS)
        bundle, _ = fitting.fit_files(files, folder / "valve1.safetensors", options)
        net = nets[float(bundle.metadata.provenance["weight_decay"])]  # type: ignore[arg-type]
        w = bundle.weights.norms
        tables = [read_table(path, COLUMNS) for path in files]
        z = [np.clip((table.x - w.mean) / w.scale, -20, 20) for table in tables]
        pytorch = [net.forecast(part) for part in z]
        exact = [reference(net.export(), part) for part in z]
        # gaps in two of the files would make the engine forget, and PyTorch not
        replays = [
            replay(bundle, fitting.Sequence("", np.arange(len(table.x), dtype=np.float64), table.x)) for table in tables
        ]
        engine = [(r.forecast[..., 0] - w.mean) / w.scale for r in replays]
        judged = [residuals(part, f, HELD) for part, f in zip(z, pytorch, strict=True)]
        judge = calibrate(
            [j._replace(e=j.e[: START_ROWS - 1]) for j in judged], np.zeros(len(COLUMNS), bool), 6.0, 10.0
        )
        float_surprise = [np.r_[0.0, judge.surprise(j.e)] for j in judged]
        figures: dict[str, object] = {
            "rows": sum(map(len, z)),
            "largest_pytorch_reference": float(max(np.abs(a - b).max() for a, b in zip(pytorch, exact, strict=True))),
            "largest_pytorch_quantized": float(max(np.abs(a - b).max() for a, b in zip(pytorch, engine, strict=True))),
            "rms_pytorch_quantized": float(
                np.sqrt(np.mean(np.square(np.concatenate(pytorch) - np.concatenate(engine))))
            ),
            "largest_surprise_difference": float(
                max(np.abs(a[60:] - r.surprise[60:]).max() for a, r in zip(float_surprise, replays, strict=True))
            ),
        }
        if args.score:
            figures["float"] = _score(args, folder / "float", files, tables, float_surprise)
            figures["quantized"] = _score(args, folder / "quantized", files, tables, [r.surprise for r in replays])
    print(json.dumps(figures, indent=1))
    record("parity", figures)


def _score(
    args: argparse.Namespace, folder: Path, files: list[Path], tables: list[Table], surprises: list[Floats]
) -> dict[str, float]:
    """Return balanced accuracy at score 0.99 and AUC-ROC."""
    for path, table, surprise in zip(files, tables, surprises, strict=True):
        target = folder / "valve1" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("timestamp", "score"))
            writer.writerows(zip(table.clock, surprise.tolist(), strict=True))
    command = [sys.executable, str(args.score), "--data", str(args.data), "--scores", str(folder)]
    command += ["--files", "valve1/*", "--threshold", "2.0", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {"balanced_accuracy": found["outlier"]["balanced"], "auc_roc": found["auc_roc"]}


if __name__ == "__main__":
    main()
