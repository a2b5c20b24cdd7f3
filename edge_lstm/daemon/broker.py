"""What it takes to be let in by the broker: its address, who we are, and how we trust each other."""

import ssl
from pathlib import Path
from typing import NamedTuple

from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.toml import Problems, file_of
from edge_lstm.errors import ConfigError


class Broker(NamedTuple):
    """A checked address with its secrets; never printed."""

    mqtt: Mqtt
    username: str
    password: str | None
    tls: ssl.SSLContext | None


def open_broker(mqtt: Mqtt, folder: Path, problems: Problems) -> Broker | None:
    """Return the broker with what its options name; note everything that is wrong with them.

    Args:
        folder: where relative paths start.
    """
    before = len(problems.found)
    password, tls = None, None
    try:
        _check_address(mqtt)
        _check_options(mqtt)  # which looks at parts of the address
        tls = _tls(mqtt, folder)
    except ConfigError as error:
        problems.add(("mqtt",), str(error))
    try:
        password = _password(mqtt, folder)
    except ConfigError as error:
        problems.add(("mqtt",), str(error))
    if len(problems.found) > before:
        return None
    return Broker(mqtt, mqtt.username or mqtt.url.username or "", password, tls)


def _check_address(mqtt: Mqtt) -> None:
    """Refuse what could never be connected to."""
    example = "expected such as 'mqtt://192.168.1.5:1883' or 'mqtts://user@broker.example.org'"
    try:
        url, port = mqtt.url, mqtt.port
        host = (url.hostname or "").encode("idna")  # a host that can't be looked up raises here, not in the loop
    except ValueError as error:  # UnicodeError among them
        raise ConfigError(f"broker is {mqtt.broker!r}: {error}; {example}") from None
    if url.password is not None:  # not shown
        raise ConfigError("broker has a password in it; put that into a file and name it with password_file")
    if url.scheme not in ("mqtt", "mqtts") or not host or not port or url.path.strip("/") or url.query:
        raise ConfigError(f"broker is {mqtt.broker!r}, {example}")
    if url.username and mqtt.username and url.username != mqtt.username:
        raise ConfigError(f"username is {mqtt.username!r}, and broker names {url.username!r}; keep one of them")


def _check_options(mqtt: Mqtt) -> None:
    """Refuse options that contradict each other."""
    if mqtt.clean_session is False and not mqtt.client_id:
        raise ConfigError("clean_session = false needs a client_id, to be known again by")
    for name in ("ca_file", "cert_file", "key_file"):
        if getattr(mqtt, name) and not mqtt.tls:
            raise ConfigError(f"{name} is for TLS; write broker = 'mqtts://...', or remove it")
    if mqtt.key_file and not mqtt.cert_file:
        raise ConfigError("key_file stands without cert_file; set both")
    if mqtt.password_file and not (mqtt.username or "@" in mqtt.url.netloc):
        raise ConfigError("password_file needs a username")


def _password(mqtt: Mqtt, folder: Path) -> str | None:
    """Return the first line of the password file."""
    if not mqtt.password_file:
        return None
    path = file_of(folder, "password_file", mqtt.password_file)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        readable = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"password_file {path} can't be read: {_reason(error)}") from None
    if readable:
        raise ConfigError(f"password_file {path} may be read by others on this machine; chmod 600 it")
    if not lines or not lines[0]:
        raise ConfigError(f"password_file {path} is empty, expected the password on its first line")
    return lines[0]


def _tls(mqtt: Mqtt, folder: Path) -> ssl.SSLContext | None:
    """Return how to encrypt, if the address asks for it; TLS 1.2 or later, host names checked."""
    if not mqtt.tls:
        return None
    name, file = "ca_file", mqtt.ca_file
    try:
        context = ssl.create_default_context(cafile=str(file_of(folder, name, file)) if file else None)
        if mqtt.cert_file:
            name, file = "cert_file", mqtt.cert_file
            key = str(file_of(folder, "key_file", mqtt.key_file)) if mqtt.key_file else None
            context.load_cert_chain(str(file_of(folder, name, file)), key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} {file} can't be used: {_reason(error)}") from None
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
