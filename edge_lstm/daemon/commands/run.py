"""``edge-lstm run``: the daemon."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_lstm.daemon.commands.options import add_broker, broker_table
from edge_lstm.errors import ConfigError

if TYPE_CHECKING:
    from edge_lstm.daemon.check import Prepared

FORMATS = ("number", "json", "zigbee2mqtt", "tasmota", "esphome", "statestream", "senml")

EPILOG = """\
examples:
  edge-lstm run -c config.toml
  edge-lstm run --broker mqtt://localhost --topic 'zigbee2mqtt/+' --format zigbee2mqtt
  edge-lstm run --broker mqtt://localhost --topic 'plant/{stream}/data' --weights pump.safetensors

Publishes PREFIX/STREAM/score, PREFIX/STREAM/alert (retained), and about itself PREFIX/status, PREFIX/info (both
retained) and PREFIX/stats. Ends with 0 on SIGTERM or SIGINT; reads FILE again on SIGHUP.
"""
IN_USE = 3  # exit code: another process works with the state folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="a TOML file; or else --broker and --topic")
    add_broker(parser, required=False)
    parser.add_argument("--weights", metavar="BUNDLE", help="default: the universal bundle")
    parser.add_argument("--format", choices=FORMATS, help="of the payloads; default: json")
    parser.add_argument("--budget", help="alerts that chance may raise per stream (1/week)")
    parser.add_argument("--prefix", help="first levels of the topics to publish under (edge-lstm)")
    parser.add_argument("--publish", choices=("every", "changes", "alerts"), help="which scores (every)")
    parser.add_argument("--state", metavar="FOLDER", help="keep the streams' state here, over restarts")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    _check_usage(args)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload: its default is the end
    from edge_lstm.daemon import check, death, logs
    from edge_lstm.daemon.folder import InUseError
    from edge_lstm.daemon.start import serve

    def read() -> "Prepared":
        prepared = check.prepare_file(args.config) if args.config else check.prepare_options(_tables(args))
        return prepared.verbose() if args.verbose else prepared

    death.of_any_thread()
    prepared = read()
    logs.start(prepared.config.log.level)
    try:
        serve(prepared, read)
    except InUseError as error:
        sys.stderr.write(f"edge-lstm: {error}\n")
        return IN_USE
    except ConfigError:
        raise
    except Exception as error:
        death.tell(error, "the loop")
        return death.INTERNAL
    return 0


def _check_usage(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    own = ("broker", "weights", "format", "budget", "prefix", "publish", "password_file", "ca_file", "topic", "state")
    given = [name for name in own if getattr(args, name)]
    if args.config and given:
        raise ConfigError(f"--{given[0].replace('_', '-')} and -c exclude each other; put it into {args.config}")
    if not args.config and not (args.broker and args.topic):
        raise ConfigError("run needs -c FILE, or --broker and --topic; see 'edge-lstm run --help'")


def _tables(args: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration that the options stand for."""

    def given(*names: str) -> dict[str, Any]:
        return {name: getattr(args, name) for name in names if getattr(args, name) is not None}

    sources = [{"topic": topic} | given("weights", "format", "budget") for topic in args.topic]
    state = {"folder": args.state} if args.state else {}
    return {"mqtt": broker_table(args), "output": given("prefix", "publish"), "state": state, "source": sources}
