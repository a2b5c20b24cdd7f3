"""One LSTM step, ours against other libraries, called from Python with the state kept between calls.

    scripts/bench step --json step.json             # or python -m bench.step
    scripts/bench step --json sweep.json --sweep    # by hidden size; for bench.plots

Everything of one case is timed in turns, a few milliseconds each, so that a noisy machine is noisy for all alike; a
figure is the median of the turns. A step takes its input as a NumPy array and leaves h as one.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.machine import machine, target
from bench.ours import Ours
from bench.peers import installed, versions
from bench.peers.lstm import Peer, check, random_inputs
from bench.roofline import Machine, measure

CASES = "1/16,4/32,8/64,8/128,16/256"
SWEEP = "8/8,8/16,8/32,8/64,8/128,8/256,8/512"
INPUTS = 64  # different ones, taken round and round
SINGLE_CALLS = 5000
STEP, EIGHT, LOOP = "ours", "ours, 8-bit activations", "ours, compiled loop"
ADVANCE, SCORE_ONE = "ours, Engine.advance", "ours, score_one"
OURS = (  # what it is called, and its key
    (STEP, "ours_us"),
    ("  99 % of calls below", "p99_us"),
    (EIGHT, "ours_8bit_us"),
    (LOOP, "ours_loop_us"),
    (ADVANCE, "advance_us"),
    (SCORE_ONE, "score_one_us"),
)
INVOKE = ", invoke"  # what of a peer's step is not Python's passing of arrays
Turn = Callable[[int], None]  # makes so many steps


def turn_of(step: Callable[[Any], object], inputs: list[Any]) -> Turn:
    """Return what makes ``n`` calls of ``step``."""
    endless = itertools.cycle(inputs)

    def turn(n: int) -> None:
        for x in itertools.islice(endless, n):
            step(x)

    return turn


def timed_us(turn: Turn, n: int) -> float:
    """Return the time of one of ``n`` steps, microseconds."""
    began = time.perf_counter_ns()
    turn(n)
    return (time.perf_counter_ns() - began) / n / 1e3


def steps_in(turn: Turn, milliseconds: float) -> int:
    """Return how many steps fill a turn."""
    turn(3)  # whatever is done on first use
    n = 1
    while (us := timed_us(turn, n)) * n < 200 and n < 1 << 20:
        n *= 2
    return max(1, round(1e3 * milliseconds / us))


def interleaved_us(turns: dict[str, Turn], rounds: int, milliseconds: float) -> dict[str, list[float]]:
    """Return the time of a step in every round, microseconds."""
    counts = {name: steps_in(turn, milliseconds) for name, turn in turns.items()}
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            times[name].append(timed_us(turn, counts[name]))
    return times


def p99_us(turn: Turn) -> float:
    """Return the 99 % quantile of single calls; the clock's own time, some 0.05 us, is in it."""
    return float(np.quantile([timed_us(turn, 1) for _ in range(SINGLE_CALLS)], 0.99))


def all_turns(ours: Ours, eight: Ours, peers: list[Peer], input_size: int, rows: int) -> dict[str, Turn]:
    """Return what is to be timed, by name."""
    inputs = random_inputs(INPUTS, rows, input_size)
    samples = [x.astype(np.float64) for x in inputs]
    turns = {STEP: turn_of(ours.step, inputs), ADVANCE: turn_of(ours.advance, samples), LOOP: ours.loop}
    turns[EIGHT] = turn_of(eight.step, inputs)
    if rows == 1:
        turns[SCORE_ONE] = turn_of(ours.score_one, samples)
    for peer in peers:
        turns[peer.name] = turn_of(peer.step, inputs)
        if hasattr(peer, "invoke"):
            turns[peer.name + INVOKE] = turn_of(lambda _, invoke=peer.invoke: invoke(), inputs)
    return turns


def measure_case(sizes: tuple[int, int, int], roofline: Machine, quick: bool) -> dict[str, Any]:
    """Check and time everything for one case, (input, hidden, rows); return its record."""
    input_size, hidden_size, rows = sizes
    ours, eight, peers = Ours(*sizes), Ours(*sizes, bits=8), [peer(*sizes) for peer in installed()]
    errors = {each.name: check(each, *sizes) for each in (ours, eight, *peers)}
    turns = all_turns(ours, eight, peers, input_size, rows)
    times = interleaved_us(turns, *((5, 0.5) if quick else (30, 2.0)))
    us = {name: float(np.median(found)) for name, found in times.items()}
    peers_us = {peer.name: us[peer.name] for peer in peers}
    best = min(peers_us, key=peers_us.__getitem__)
    return {
        "case": f"{input_size}/{hidden_size}",
        "input": input_size,
        "hidden": hidden_size,
        "rows": rows,
        "ours_us": us[STEP],
        "ours_min_us": min(times[STEP]),
        "ours_8bit_us": us[EIGHT],
        "ours_loop_us": us[LOOP] if rows == 1 else None,
        "score_one_us": us.get(SCORE_ONE),
        "p99_us": p99_us(turns[STEP]) if rows == 1 else None,
        "advance_us": us[ADVANCE],
        "best_peer": best,
        "best_peer_us": peers_us[best],
        "ratio": peers_us[best] / us[STEP],
        "roofline_us": roofline.step_us(*sizes),
        "peers": peers_us,
        "errors": errors,  # of h after a few steps, largest, ours too
        "invoke_us": {name.removesuffix(INVOKE): us[name] for name in us if name.endswith(INVOKE)},
        "peers_min": {name: min(times[name]) for name in peers_us},
    }


def table(records: list[dict[str, Any]]) -> Iterator[str]:
    """Return the lines of the table."""
    rows = records[0]["rows"]
    yield f"microseconds for one step of {rows} rows, called from Python; Engine.advance and score_one judge too"
    yield line("inputs/units", [f"{r['case']:>12}" for r in records])
    for title, key in OURS:
        yield line(title, [cell(r[key]) for r in records])
    for name in records[0]["peers"]:
        yield line(name, [cell(r["peers"][name]) for r in records])
        if name in records[0]["invoke_us"]:
            yield line("  invoke alone", [cell(r["invoke_us"][name]) for r in records])
    yield line("roofline of ours", [cell(r["roofline_us"]) for r in records])
    yield line("best peer / ours", [cell(r["ratio"]) for r in records])
    yield "largest error of h after a few steps, times 1000"
    for name in records[0]["errors"]:
        yield line(name, [cell(1e3 * r["errors"][name]) for r in records])


def line(title: str, cells: list[str]) -> str:
    """Return a line of the table."""
    return f"{title:26}" + "".join(cells)


def cell(value: float | None) -> str:
    """Return three figures, right-aligned; a dash for nothing."""
    if value is None:
        return f"{'-':>12}"
    return f"{value:12.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def main() -> None:
    """Measure the cases, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target, help="where the records go, a list")
    parser.add_argument("--cases", help=f"input/hidden, ...; otherwise {CASES}")
    parser.add_argument("--rows", default="1,1000")
    parser.add_argument("--sweep", action="store_true", help=f"the cases {SWEEP}, one row")
    parser.add_argument("--quick", action="store_true", help="few and short turns: to see that it runs")
    args = parser.parse_args()
    cases = [case.split("/") for case in (args.cases or (SWEEP if args.sweep else CASES)).split(",")]
    roofline, records = measure(), []
    common = {"rates": roofline._asdict(), "libraries": versions(), "machine": machine()}
    print(roofline.words())
    for rows in ["1"] if args.sweep else args.rows.split(","):
        group = [measure_case((int(i), int(h), int(rows)), roofline, args.quick) for i, h in cases]
        print("\n" + "\n".join(table(group)), flush=True)
        records += [record | common for record in group]
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
