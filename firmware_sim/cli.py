"""The command line: options are spelled here once, and handed on as the parts' dataclasses."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from random import Random
from types import FrameType

from firmware_sim.firmware import MESSY, Habits
from firmware_sim.fleet import Fleet, FleetOptions, Report
from firmware_sim.kinds import KINDS
from firmware_sim.link import LinkError
from firmware_sim.parser import HABITS, build_parser
from firmware_sim.plan import FaultPlan, parse_fault
from firmware_sim.play import Player, PlayOptions, PlayReport
from firmware_sim.tables import write_csv


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    args = build_parser(_fleet, _table, _play).parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except (LinkError, OSError, ValueError) as error:
        sys.stderr.write(f"firmware_sim: {error}\n")
        return 2


def _fleet(args: argparse.Namespace) -> int:
    habits = asdict(MESSY if args.messy else Habits())
    habits |= {name: given for name in HABITS if (given := getattr(args, name)) is not None}
    plan: dict[str, float] = {}
    if args.seconds is not None:
        plan = {"after_s": 0.5 * args.seconds, "before_s": args.seconds, "end_s": args.seconds}
    if args.fault_after is not None:
        plan["after_s"] = args.fault_after
    if args.fault_before is not None:
        plan["before_s"] = args.fault_before
    options = FleetOptions(
        broker=args.broker,
        devices=args.devices,
        kinds=list(dict.fromkeys(args.kind)),
        seconds=args.seconds,
        speed=args.speed,
        rate_hz=args.rate,
        start_time=args.start_time,
        qos=args.qos,
        seed=args.seed,
        prefix=args.prefix,
        per_device_connections=args.connections == "per-device",
        plan=FaultPlan(args.faults, args.fault_kinds, **plan),
        habits=Habits(**habits),
    )
    return _run(Fleet(options), as_json=args.json)


def _play(args: argparse.Namespace) -> int:
    options = PlayOptions(
        files=args.files,
        topic=args.topic,
        broker=args.broker,
        time_column=args.time,
        columns=args.columns,
        delimiter=None if args.delimiter == "auto" else args.delimiter,
        speed=args.speed,
        rate_hz=args.rate,
        qos=args.qos,
    )
    return _run(Player(options), as_json=args.json)


def _table(args: argparse.Namespace) -> int:
    kind = KINDS[args.kind]
    rng = Random(f"faulty:{args.seed}")
    # One place for each fault, in order, the first tenth left normal.
    slot_s = 0.9 * args.rows * kind.period_s / max(len(args.fault), 1)
    begin_s = 0.1 * args.rows * kind.period_s
    faults = [
        parse_fault(text, kind, begin_s + (place + rng.uniform(0.1, 0.5)) * slot_s, rng)
        for place, text in enumerate(args.fault)
    ]
    truth = write_csv(args.output, args.kind, args.seed, args.rows, faults, args.start_time)
    if args.truth is not None:
        args.truth.write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    _tell({"file": str(args.output), "rows": args.rows, "faults": len(truth)}, as_json=args.json)
    return 0


def _run(runner: Fleet | Player, *, as_json: bool) -> int:
    def stop(number: int, _frame: FrameType | None) -> None:
        runner.stop()
        signal.signal(number, signal.SIG_DFL)  # whoever asks twice means at once

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    report: Report | PlayReport = runner.run()
    _tell(asdict(report), as_json=as_json)
    return 0


def _tell(summary: dict[str, object], *, as_json: bool) -> None:
    plain = ", ".join(f"{name} {value}" for name, value in summary.items())
    sys.stdout.write((json.dumps(summary) if as_json else plain) + "\n")
