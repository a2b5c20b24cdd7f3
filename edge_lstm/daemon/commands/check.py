"""``edge-lstm check``: everything that is wrong with a configuration, a line each."""

import argparse
import sys
from pathlib import Path

from edge_lstm.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from edge_lstm.daemon.check import prepare_file

    try:
        prepared = prepare_file(args.config)
    except ConfigError as error:
        sys.stdout.write(f"{error}\n")
        return 2
    for route in prepared.routes:
        metadata = route.lane.bundle.metadata
        sys.stdout.write(
            f"{route.decoder.source.topic}: {route.reporter.model}, {metadata.judge}, "
            f"{', '.join(metadata.channel_names)}\n"
        )
    sys.stdout.write(f"{args.config}: ok\n")
    return 0
