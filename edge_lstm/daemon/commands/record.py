r"""``edge-lstm record``: a live subscription to a file, a JSON object a line.

    {"arrived": 1700000000.25, "topic": "pump/1", "payload": "{\"flow\":12.3}", "retain": false, "qos": 1}

``arrived`` is Unix seconds. A payload that is not UTF-8 stands in base64 and says ``"encoding": "base64"``.
"""

import argparse
import base64
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edge_lstm.daemon.commands.options import add_broker, broker_table
from edge_lstm.errors import ConfigError

if TYPE_CHECKING:
    from edge_lstm.daemon.mqtt import Link
    from edge_lstm.messages import Message

EPILOG = """\
example:
  edge-lstm record --broker mqtt://localhost --topic 'sensors/#' -o day.jsonl --seconds 3600

The file holds JSON lines: arrived (Unix seconds), topic, payload, retain, qos; 'edge-lstm replay' reads it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_broker(parser, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.jsonl", help="added to if it exists")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="N", help="stop by itself")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if not args.topic:
        raise ConfigError("record needs --topic; '#' is everything")
    if args.out.suffix != ".jsonl":
        raise ConfigError(f"-o {args.out}: a recording is JSON lines, expected a name that ends in .jsonl")
    link = _link(args)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with args.out.open("a", encoding="utf-8") as file:
            count = _record(link, file, time.monotonic() + args.seconds)
    except OSError as error:
        raise ConfigError(f"-o {args.out}: {error.strerror}") from None
    sys.stdout.write(f"{args.out}: {count} messages\n")
    return 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _link(args: argparse.Namespace) -> "Link":
    from edge_lstm.daemon.broker import open_broker
    from edge_lstm.daemon.config import Mqtt
    from edge_lstm.daemon.mqtt import Link
    from edge_lstm.daemon.toml import Problems, to_struct
    from edge_lstm.stages.topics import TopicPattern

    problems = Problems("command line")
    broker = open_broker(to_struct(broker_table(args), Mqtt, ("mqtt",), problems), Path(), problems)
    if broker is None:
        raise ConfigError("\n".join(problems.found))
    return Link(broker, [TopicPattern(topic).filter for topic in args.topic])


def _record(link: "Link", file: TextIO, until: float) -> int:
    """Write what comes until it is time, or somebody interrupts; return how many messages."""
    from edge_lstm.daemon import logs
    from edge_lstm.daemon.cli import BrokerError

    logs.start("error")  # a first failure ends us, and is told in the end
    count = 0
    try:
        while (now := time.monotonic()) < until:
            connects = link.connects
            link.tend()
            if link.failure and not link.connects:
                raise BrokerError(link.failure)
            link.wait(min(until - now, 1.0))
            messages = link.traffic.receive()
            file.writelines(line(message) for message in messages)
            file.flush()
            link.traffic.acknowledge()
            link.traffic.flush()
            count += len(messages)
            if connects == 0 < link.connects:
                logs.start("warning")  # from now on we try again
    except KeyboardInterrupt:
        pass
    link.close(1.0)
    if link.traffic.inbox.too_large:
        sys.stderr.write(f"edge-lstm: left out {link.traffic.inbox.too_large} messages larger than any decoder takes\n")
    return count


def line(message: "Message") -> str:
    """Return a message as a line of a recording."""
    record: dict[str, object] = {"arrived": message.arrived, "topic": message.topic}
    try:
        record["payload"] = message.payload.decode()
    except UnicodeDecodeError:
        record |= {"payload": base64.b64encode(message.payload).decode(), "encoding": "base64"}
    record |= {"retain": message.retain, "qos": message.qos}
    return json.dumps(record, ensure_ascii=False) + "\n"
