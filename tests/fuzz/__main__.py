"""The long run: ``scripts/fuzz [--cases N] [--seed S] [--processes P] [reader ...]``.

Prints what came of the cases, and leaves each input that caused anything but a refusal in a file, with exit code 1.
``--again FILE reader`` runs such a file once more, with its traceback.
"""

import argparse
import hashlib
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.fuzz.drive import CHUNK, Tally, run_named
from tests.fuzz.readers import READERS, SHARES


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", metavar="reader", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--cases", type=int, default=100_000, help="over all readers (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other cases (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--keep", type=Path, default=Path(), metavar="FOLDER", help="for offending inputs")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run this input alone")
    args = parser.parse_args()
    if unknown := set(args.readers) - set(READERS):
        parser.error(f"no reader {', '.join(sorted(unknown))}; expected some of {', '.join(READERS)}")
    names = args.readers or list(READERS)
    if args.again:
        sys.stdout.write(f"{READERS[names[0]]().run(args.again.read_bytes())}\n")
        return 0
    shares = {name: SHARES[name] / sum(SHARES[each] for each in names) for name in names}
    sys.stdout.write(_row("reader", "cases", "cases/s", "read", "refused", "slowest ms", "growth MiB", "unexpected"))
    found = 0
    context = multiprocessing.get_context("spawn")
    for name, share in shares.items():
        with ProcessPoolExecutor(args.processes, context) as pool:  # a reader's memory ends with it
            began = time.monotonic()
            tally = Tally()
            for part in pool.map(run_named, *zip(*_chunks(name, args.seed, round(share * args.cases)), strict=True)):
                tally.add(part)
        found += _report(name, tally, time.monotonic() - began, args.keep)
    return 1 if found else 0


def _chunks(name: str, seed: int, cases: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield the arguments of ``run_named`` for so many cases."""
    for number in range(-(-max(cases, 1) // CHUNK)):
        yield name, seed, number, min(CHUNK, max(cases, 1) - number * CHUNK)


def _row(*cells: object) -> str:
    name, *rest = map(str, cells)
    return f"{name:<12}" + "".join(f"{cell:>12}" for cell in rest) + "\n"


def _report(name: str, tally: Tally, wall_s: float, keep: Path) -> int:
    """Write what came of a reader's cases; return how many kinds of exceptions are no refusal."""
    read = [outcome for outcome in tally.outcomes if outcome.startswith(("samples", "streams", "a "))]
    good, odd = sum(tally.outcomes[outcome] for outcome in read), tally.outcomes["unexpected"]
    rate = f"{tally.cases / wall_s:.0f}"
    slowest, growth = f"{tally.slowest_ms:.1f}", f"{tally.growth_mib:.1f}"
    sys.stdout.write(_row(name, tally.cases, rate, good, tally.cases - good - odd, slowest, growth, odd))
    reasons = ", ".join(f"{outcome} {count}" for outcome, count in tally.outcomes.most_common())
    sys.stdout.write(f"    {reasons}\n")
    for what, case in tally.unexpected.items():
        path = keep / f"fuzz-{name}-{hashlib.sha256(case).hexdigest()[:8]}"
        path.write_bytes(case)
        sys.stdout.write(f"    {what}\n    {path} ({len(case)} bytes)\n")
    sys.stdout.flush()
    return len(tally.unexpected)


if __name__ == "__main__":
    sys.exit(main())
