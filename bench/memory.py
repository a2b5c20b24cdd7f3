"""Whether memory survives quantization: networks that remember over 500 rows, streamed one sample at a time.

    scripts/bench memory --json bench/results/memory.jsonl --plot docs/memory.svg

PyTorch trains networks to recall a value and to add two (``bench.memory_tasks``), of two sizes and from several seeds.
``edge-lstm convert``'s own parts make bundles of their state_dicts, of 16- and of 8-bit activations, and of what
PyTorch's ``quantize_dynamic`` makes of them. The engine then streams test sequences, one row of its table each, and one
long stream that never starts anew. Beside it: the float64 mathematics of what was imported, and PyTorch itself. Two to
three minutes a network, most of them float64.
"""

import argparse
import json
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.machine import machine, target
from bench.memory_tasks import ADDING, RECALL, Batch, Task, chatter, recall, recalled, right, trained
from bench.memory_ways import EXACT, IMPORT, Variant, variants
from edge_lstm.convert import conversion

UNITS = (16, 32)
LAGS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LAG_SEQUENCES = 200
SEGMENTS = 400  # of the long stream, each of as many rows as the task's length
BLOCKS = np.unique(np.geomspace(100, SEGMENTS * RECALL.length, 20).astype(int))


def rms(x: NDArray[Any]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.square(x).mean()))


def accuracy(ways: dict[str, Variant], task: Task, sequences: int) -> dict[str, dict[str, float]]:
    """Return percentages of right answers, and the error."""
    batch = task.tested(np.random.default_rng(2), sequences, task.length)
    found = {}
    for name, way in ways.items():
        said = way.answers(batch.x)
        error = (said - batch.answer)[batch.asked]
        eighth = 1.5625 * task.tolerance  # half of an eighth of the range: one of eight symbols
        found[name] = {
            "right": right(task, said, batch),
            "right_of_8": 100.0 * float((np.abs(error) < eighth).mean()),
            "rms": rms(error),
        }
    return found


def by_lag(ways: dict[str, Variant]) -> dict[str, list[float]]:
    """Return the error of recall after each of ``LAGS``."""
    batches = [recall(np.random.default_rng(lag), LAG_SEQUENCES, lag) for lag in LAGS]

    def error(way: Variant, batch: Batch) -> float:
        return rms((way.answers(batch.x) - batch.answer)[batch.asked])

    return {name: [error(way, batch) for batch in batches] for name, way in ways.items()}


def along_a_stream(ways: dict[str, Variant], task: Task) -> dict[str, dict[str, Any]]:
    """Return how far hidden states are from those in float64, block by block, in a stream that never starts anew."""
    batch = recalled(chatter(np.random.default_rng(3), SEGMENTS, task.length).x.reshape(1, -1, 2))
    found: dict[str, dict[str, Any]] = {}
    exact = ways[IMPORT].stream(batch.x[0])[0]
    for name, way in ways.items():
        hidden, said = way.stream(batch.x[0])
        away = np.square(hidden - exact).mean(1)
        blocks = [float(np.sqrt(part.mean())) for part in np.split(away, BLOCKS[:-1])]
        found[name] = {
            "right": right(task, said[None], batch),
            "hidden_rms": blocks,
            "hidden_max": abs(hidden - exact).max(),
        }
    return found


def measure(task: Task, units: int, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train a network and return its figures."""
    net, training = trained(task, units, args.steps, seed)
    ways = variants(net, task)
    found: dict[str, Any] = {"task": task.name, "length": task.length, "units": units, "seed": seed}
    found |= {"training": training, "sequences": args.sequences, "accuracy": accuracy(ways, task, args.sequences)}
    if task is RECALL:
        found |= {"rms_by_lag": by_lag(ways), "stream": along_a_stream(ways, task)}
    tell(found)
    return found


def tell(network: dict[str, Any]) -> None:
    """Print a network's figures."""
    print(f"{network['task']} over {network['length']} rows, {network['units']} units, seed {network['seed']}")
    for name, figures in network["accuracy"].items():
        print(f"  {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    for name, errors in network.get("rms_by_lag", {}).items():
        along = network["stream"][name]
        first, last = along["hidden_rms"][0], along["hidden_rms"][-1]
        print(f"  {name}: by lag " + " ".join(f"{error:.4f}" for error in errors), end="; ")
        print(f"in a stream {along['right']:.1f} % right, hidden state {first:.2g} to {last:.2g}", flush=True)


def points_lost(networks: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return by task and variant how many points of accuracy the worst network loses, against PyTorch in float."""
    found: dict[str, dict[str, float]] = {}
    for network in networks:
        worst = found.setdefault(network["task"], {})
        for name, figures in network["accuracy"].items():
            lost = network["accuracy"][EXACT]["right"] - figures["right"]
            worst[name] = round(max(worst.get(name, -100.0), lost), 2)
    return found


def main() -> None:
    """Train, convert, stream, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target, help="a line is added to it")
    parser.add_argument("--plot", type=target, help="where the plot goes (.svg)")
    parser.add_argument("--seeds", type=int, default=2, help="networks of each task and size (%(default)s)")
    parser.add_argument("--steps", type=int, default=3000, help="of training (%(default)s)")
    parser.add_argument("--sequences", type=int, default=1000, help="tested (%(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    conversion.LOST = np.inf  # what arrives badly is measured as well
    plan = product((RECALL, ADDING), UNITS, range(args.seeds))
    networks = [measure(task, units, seed, args) for task, units, seed in plan]
    record: dict[str, Any] = {"points_lost": points_lost(networks), "networks": networks}
    record |= {"lags": LAGS, "blocks": BLOCKS.tolist(), "machine": machine() | {"torch": torch.__version__}}
    for task, lost in record["points_lost"].items():
        print(f"{task}, points lost at worst: " + ", ".join(f"{name} {points:.1f}" for name, points in lost.items()))
    if args.json:
        with args.json.open("a") as file:
            file.write(json.dumps(record) + "\n")
    if args.plot:
        from bench.memory_plot import draw  # Matplotlib is needed for nothing else

        draw(record, args.plot)


if __name__ == "__main__":
    main()
