"""Options that several commands share, and what they come to in the configuration's structure."""

import argparse
from typing import Any


def add_broker(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Declare where to connect to, and what to listen to."""
    parser.add_argument("--broker", metavar="URL", required=required, help="mqtt://[user@]host[:1883], or mqtts://")
    parser.add_argument("--topic", metavar="FILTER", action="append", default=[], help="may be given several times")
    parser.add_argument("--qos", type=int, choices=(0, 1), default=1, help="of the subscription (%(default)s)")
    parser.add_argument("--password-file", metavar="FILE", help="its first line is the password")
    parser.add_argument("--ca-file", metavar="FILE", help="authorities to trust in place of the system's")


def broker_table(args: argparse.Namespace) -> dict[str, Any]:
    """Return the ``[mqtt]`` table that the options stand for."""
    names = ("broker", "qos", "password_file", "ca_file")
    return {name: value for name in names if (value := getattr(args, name)) is not None}
