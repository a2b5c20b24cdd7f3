"""The command line. What a command needs is imported when it runs, so ``--help`` is quick on a small machine."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from edge_lstm import __version__
from edge_lstm.errors import EdgeLstmError

OK, USAGE, UNAVAILABLE, INTERNAL = 0, 2, 69, 70  # exit codes; the latter two from sysexits.h

COMMANDS = {
    "run": ("edge_lstm.daemon.commands.run", "watch streams and publish scores and alerts"),
    "check": ("edge_lstm.daemon.commands.check", "say everything that is wrong with a configuration"),
    "replay": ("edge_lstm.replay.command", "score a CSV file or a recording as if it were live"),
    "record": ("edge_lstm.daemon.commands.record", "write what a broker sends to a file"),
    "fit": ("edge_lstm.fit.command", "train a bundle on recordings of normal operation"),
    "convert": ("edge_lstm.convert.command", "make a bundle of a model that was trained elsewhere"),
    "compare": ("edge_lstm.compare.command", "show how far apart two bundles are on a recording"),
    "inspect": ("edge_lstm.daemon.commands.inspect", "show what is in a bundle"),
}
EXTRAS = {
    "torch": "train", "amqtt": "demo", "rich": "demo", "matplotlib": "plot",
    "h5py": "convert", "onnx": "convert",
}  # fmt: skip

EPILOG = """\
examples:
  edge-lstm run --broker mqtt://localhost --topic 'sensors/+/temperature' --format number
  edge-lstm run -c /etc/edge-lstm/config.toml
  edge-lstm check -c config.toml
  edge-lstm record --broker mqtt://localhost --topic 'sensors/#' -o day.jsonl

exit codes: 0 done, 2 usage or configuration, 3 state folder in use, 69 no broker (one-shot commands),
70 a fault of ours
"""


class BrokerError(EdgeLstmError):
    """A one-shot command found no broker."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        args = _parser(argv).parse_args(argv)
        if args.command is None:
            _parser(argv).print_help(sys.stderr)
            return USAGE
        code = int(import_module(COMMANDS[args.command][0]).main(args))
        _flush()  # here, where a closed pipe is expected
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # 'edge-lstm inspect ... | head'
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _complain(f"this needs {error.name}; pip install 'edge-lstm[{EXTRAS[error.name]}]'")
    except BrokerError as error:
        _complain(str(error))
        return UNAVAILABLE
    except (EdgeLstmError, OSError, UnicodeError) as error:
        return _complain(str(error))


def _flush() -> None:
    if sys.stdout is not None:  # as it is where it was closed before the start
        sys.stdout.flush()


def _complain(message: str) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"edge-lstm: {line}\n")
    return USAGE


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser that knows all commands, and the options of the one that is asked for."""
    parser = argparse.ArgumentParser(
        prog="edge-lstm",
        description="Watches MQTT sensor streams with a stateful, quantized LSTM and publishes anomaly scores.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-lstm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        if find_spec(module.rpartition(".")[0]) is None or find_spec(module) is None:
            continue  # an installation may leave out what only a workstation needs
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:
            import_module(module).add_arguments(command)
    return parser
