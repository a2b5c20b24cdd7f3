"""From a configuration to a running daemon."""

from collections.abc import Callable
from contextlib import closing

import msgspec

from edge_lstm.daemon.check import Prepared
from edge_lstm.daemon.folder import StateFolder
from edge_lstm.daemon.mqtt import Link
from edge_lstm.daemon.service import Service
from edge_lstm.daemon.signals import Signals
from edge_lstm.daemon.stats import info


def serve(prepared: Prepared, read_again: Callable[[], Prepared]) -> None:
    """Run a configuration until a signal ends it.

    Args:
        read_again: reads the configuration once more.

    Raises:
        InUseError: another process works with the state folder.
        ConfigError: it is not a folder of ours.
    """
    folder = StateFolder(prepared.folder) if prepared.folder else None
    broker = prepared.broker
    if folder and not broker.mqtt.client_id:
        known = msgspec.structs.replace(broker.mqtt, client_id=folder.client_id())
        broker = broker._replace(mqtt=known)
    prefix = prepared.config.output.prefix
    link = Link(broker, prepared.filters, f"{prefix}/status", [info(prepared)])
    with closing(Signals(link.poller)) as signals:
        Service(prepared, folder, link, signals, read_again).run()
