"""What it takes to be let in by the broker: its address, who we are, and how we trust each other."""

import ssl
from pathlib import Path
from typing import NamedTuple

from edge_lstm.daemon import credentials, tls
from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.toml import Problems
from edge_lstm.errors import ConfigError

_TEXT_BYTES = 65_535


class Broker(NamedTuple):
    """A checked address, without any secret; those are read when they are needed, and may change meanwhile.

    Attributes:
        folder: where relative paths start.
    """

    mqtt: Mqtt
    username: str
    folder: Path

    def read_password(self) -> str | None:
        """Return the password, if there is one.

        Raises:
            ConfigError: its file can't be used.
        """
        file = self.mqtt.password_file
        return credentials.read_password(self.folder, file) if file else None

    def read_tls(self) -> ssl.SSLContext | None:
        """Return how to encrypt, if the address asks for it.

        Raises:
            ConfigError: a file can't be used.
        """
        return tls.context_of(self.mqtt, self.folder)


def open_broker(mqtt: Mqtt, folder: Path, problems: Problems) -> Broker | None:
    """Return the broker with what its options name; note everything that is wrong with them.

    Args:
        folder: where relative paths start.
    """
    before = len(problems.found)
    broker = Broker(mqtt, "", folder)
    try:
        _check_address(mqtt)
        _check_options(mqtt)  # which looks at parts of the address
        broker = broker._replace(username=mqtt.username or mqtt.url.username or "")
        broker.read_tls()
    except ConfigError as error:
        problems.add(("mqtt",), str(error))
    try:
        broker.read_password()
    except ConfigError as error:
        problems.add(("mqtt",), str(error))
    return None if len(problems.found) > before else broker


def _check_address(mqtt: Mqtt) -> None:
    """Refuse what could never be connected to."""
    example = "expected such as 'mqtt://192.168.1.5:1883' or 'mqtts://user@broker.example.org'"
    try:
        url, port = mqtt.url, mqtt.port
        host = (url.hostname or "").encode("idna")  # a host that can't be looked up is told here, not once we run
    except ValueError as error:  # UnicodeError among them
        detail = "" if "@" in mqtt.broker else f": {error}"  # which may quote what stands before the @
        raise ConfigError(f"broker is {_shown(mqtt.broker)}{detail}; {example}") from None
    if url.password is not None:  # not shown
        raise ConfigError("broker has a password in it; put that into a file and name it with password_file")
    if url.scheme not in ("mqtt", "mqtts") or not host or not port or url.path.strip("/") or url.query:
        raise ConfigError(f"broker is {_shown(mqtt.broker)}, {example}")
    if url.username and mqtt.username and url.username != mqtt.username:
        raise ConfigError(f"username is {mqtt.username!r}, and broker names {url.username!r}; keep one of them")


def _shown(broker: str) -> str:
    """Return an address without what stands before the host, where people put passwords."""
    _, at, host = broker.rpartition("@")
    return repr(f"...@{host}" if at else broker)


def _check_options(mqtt: Mqtt) -> None:
    """Refuse options that contradict each other."""
    if mqtt.clean_session is False and not mqtt.client_id:
        raise ConfigError("clean_session = false needs a client_id, to be known again by")
    for name in ("client_id", "username"):
        if "\0" in getattr(mqtt, name) or len(getattr(mqtt, name).encode()) > _TEXT_BYTES:
            raise ConfigError(f"{name} can't be sent: MQTT takes {_TEXT_BYTES:,} bytes at most, and no NUL among them")
    for name in ("ca_file", "cert_file", "key_file"):
        if getattr(mqtt, name) and not mqtt.tls:
            raise ConfigError(f"{name} is for TLS; write broker = 'mqtts://...', or remove it")
    if mqtt.key_file and not mqtt.cert_file:
        raise ConfigError("key_file stands without cert_file; set both")
    if mqtt.password_file and not (mqtt.username or "@" in mqtt.url.netloc):
        raise ConfigError("password_file needs a username")
