"""What can be typed on the command line: every option once, with its help."""

import argparse
from collections.abc import Callable
from pathlib import Path

from firmware_sim.faults import FAULT_KINDS, FaultKind
from firmware_sim.kinds import KINDS
from firmware_sim.plan import fault_kind
from firmware_sim.tables import DEFAULT_START, unix

Command = Callable[[argparse.Namespace], int]

_EXAMPLES = """\
examples:
  Twenty devices of all kinds, at their natural pace, until Ctrl-C:
    python -m firmware_sim fleet
  A demo of one minute at 10 samples a second; every device has one fault, told on .../truth:
    python -m firmware_sim fleet --devices 14 --rate 10 --seconds 60 --faults one-each
  A thousand pumps with a bad network and bad habits:
    python -m firmware_sim fleet --kind pump --devices 1000 --qos 1 --messy
  Normal data to train on, and a file with faults and its truth:
    python -m firmware_sim normal --kind pump --rows 20000 --seed 1 -o pump.csv
    python -m firmware_sim faulty --kind pump --rows 3000 --seed 2 \\
        --fault drift stuck:pressure_bar:1500:120 -o bad.csv --truth truth.json
  Recordings as devices, a hundred times faster than life, or as fast as the broker takes them:
    python -m firmware_sim play valve/*.csv --topic 'plant/{name}/telemetry' --speed 100
    python -m firmware_sim play valve/*.csv --topic 'plant/{name}/telemetry' --speed max

topics: <prefix>/<kind>/<device>/telemetry, .../truth, .../status, .../boot
payloads and all else: firmware_sim/README.md
"""


def build_parser(fleet: Command, table: Command, play: Command) -> argparse.ArgumentParser:
    """Return the parser; ``command`` in what it parses is one of the three."""
    parser = argparse.ArgumentParser(
        prog="python -m firmware_sim",
        description="Simulated sensors with the habits of real firmware, speaking MQTT.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser
    _add_fleet(_for(fleet, add("fleet", help="run devices against a broker")))
    _add_table(_for(table, add("normal", help="write a CSV without faults")))
    _add_faults(_add_table(_for(table, add("faulty", help="write a CSV with faults"))))
    _add_play(_for(play, add("play", help="play CSV files as devices")))
    return parser


def _for(command: Command, parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.set_defaults(command=command)
    return parser


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _add_broker(parser, qos=0)
    add("--devices", type=int, default=20, metavar="N", help="how many (20)")
    add("--kind", nargs="+", choices=KINDS, default=list(KINDS), help="which, in turn (all)")
    add("--seconds", type=float, metavar="S", help="wall time to run (until stopped)")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=_positive, default=1.0, help="device clocks run SPEED times faster")
    pace.add_argument("--rate", type=_positive, metavar="HZ", help="samples per wall second and device")
    add(
        "--start-time",
        type=unix,
        metavar="T",
        help="first timestamp, ISO 8601 or unix seconds (now)",
    )
    add("--seed", type=int, default=1, help="same seed, same devices, same faults (1)")
    add("--prefix", default="sim", help="first part of all topics (sim)")
    add(
        "--connections",
        choices=("shared", "per-device"),
        default="shared",
        help="one MQTT connection for all, or one each with its own last will (shared)",
    )
    faults = parser.add_argument_group("faults, told on .../truth as they begin")
    faults.add_argument("--faults", choices=("none", "one-each", "random"), default="none")
    faults.add_argument(
        "--fault-kinds",
        type=_names,
        default=list(FAULT_KINDS),
        metavar="A,B",
        help=f"which, in turn ({','.join(FAULT_KINDS)})",
    )
    faults.add_argument(
        "--fault-after",
        type=float,
        metavar="S",
        help="earliest start, wall seconds (half of --seconds)",
    )
    faults.add_argument(
        "--fault-before",
        type=float,
        metavar="S",
        help="latest start, wall seconds (early enough to end before the run does)",
    )
    habits = parser.add_argument_group("firmware habits; probabilities are per sample")
    habits.add_argument("--messy", action="store_true", help="all of them, at realistic rates")
    for name, text in HABITS.items():
        habits.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="X", help=text)


HABITS = {
    "jitter": "sending delay, standard deviation, as a share of the sample period (0.02)",
    "drift_ppm": "rate error of the clock, standard deviation over devices",
    "reboot": "a gap, then seq starts again from 0; .../boot tells the uptime",
    "outage": "samples are kept for a while and sent late, in order",
    "duplicate": "the same message twice",
    "reorder": "two neighbors swapped",
}


def _add_table(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.set_defaults(fault=[], truth=None)
    add = parser.add_argument
    add("--kind", choices=KINDS, required=True)
    add("--rows", type=int, default=10_000, metavar="N", help="samples (10000)")
    add("--seed", type=int, default=1, help="which individual (1)")
    add("--start-time", type=unix, default=DEFAULT_START, metavar="T", help="(2025-01-01T00:00:00Z)")
    add("-o", "--output", type=Path, required=True, metavar="FILE")
    add("--json", action="store_true", help="end with a one-line summary in JSON")
    return parser


def _add_faults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fault",
        nargs="+",
        required=True,
        metavar="FAULT",
        help="KIND[:CHANNEL[:START_S[:DURATION_S[:MAGNITUDE]]]]; what is left out is drawn",
    )
    parser.add_argument("--truth", type=Path, metavar="FILE", help="where to write the ground truth, JSON")


def _add_play(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE.csv")
    add("--topic", required=True, help="may name {name} and {parent}: the file's stem and folder")
    _add_broker(parser, qos=1)
    add("--time", metavar="COLUMN", help="the timestamp; UTC where it names no zone (found by name)")
    add("--columns", type=lambda text: text.split(","), metavar="A,B", help="what to send (all)")
    add("--delimiter", default="auto", help="of the cells (auto)")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--speed",
        default=1.0,
        type=lambda text: None if text == "max" else _positive(text),
        metavar="N|max",
        help="times faster than in the file; max: as fast as it goes (1)",
    )
    pace.add_argument("--rate", type=_positive, metavar="HZ", help="rows per wall second and file")


def _add_broker(parser: argparse.ArgumentParser, qos: int) -> None:
    parser.add_argument("--broker", default="mqtt://localhost:1883", metavar="URL")
    parser.add_argument("--qos", type=int, choices=(0, 1), default=qos, help=f"({qos})")
    parser.add_argument("--json", action="store_true", help="end with a one-line summary in JSON")


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0.0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _names(text: str) -> list[FaultKind]:
    return [fault_kind(name) for name in text.split(",")]
