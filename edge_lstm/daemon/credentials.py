"""Files with secrets: where they are, who may read them, and what stands in them.

They are read anew for each connection, so that a password, token or certificate may be replaced while we run.
"""

import os
import stat
from pathlib import Path

from edge_lstm.daemon.toml import file_of
from edge_lstm.errors import ConfigError

SCHEME = "credential:"  # of systemd's LoadCredential
SECRET_BYTES = 65_535  # as long as a password may be in MQTT
CERTIFICATES_BYTES = 4_194_304  # a system's authorities take a quarter of a megabyte
_OTHERS = 0o007
_GROUP_AND_OTHERS = 0o077


def path_of(folder: Path, name: str, value: str) -> Path:
    """Return the path that an option names: from the configuration's folder on, or in systemd's credentials.

    Raises:
        ConfigError: there is no such place.
    """
    if not value.startswith(SCHEME):
        return file_of(folder, name, value)
    credential = value.removeprefix(SCHEME)
    if not credential or "/" in credential or "\0" in credential or credential in (".", ".."):
        raise ConfigError(f"{name} is {value!r}, expected 'credential:NAME' without any folder")
    place = os.environ.get("CREDENTIALS_DIRECTORY")
    if not place:
        raise ConfigError(
            f"{name} is {value!r}, and there are no credentials here ($CREDENTIALS_DIRECTORY); "
            f"the systemd unit needs LoadCredential={credential}:/path/to/file"
        )
    return Path(place) / credential


def read_password(folder: Path, value: str) -> str:
    """Return the first line of the password file.

    Raises:
        ConfigError: there is none, or others could read it too.
    """
    path = path_of(folder, "password_file", value)
    content = read_file("password_file", path, SECRET_BYTES)
    _check_private("password_file", value, path)
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"password_file {path} can't be read: it is not UTF-8 text") from None
    if not lines or not lines[0]:
        raise ConfigError(f"password_file {path} is empty, expected the password on its first line")
    return lines[0]


def read_file(name: str, path: Path, most: int) -> bytes:
    """Return what is in a regular file of a sane size; anything else could block us, or fill the memory.

    Raises:
        ConfigError: it is no such file, or can't be read.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would wait for one
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise ConfigError(f"{name} {path} is not a regular file")
            content = os.read(number, most + 1)
        finally:
            os.close(number)
    except OSError as error:
        raise ConfigError(f"{name} {path} can't be read: {error.strerror}") from None
    if len(content) > most:
        raise ConfigError(f"{name} {path} has more than {most:,} bytes; is it the right file?")
    return content


def private_file(folder: Path, name: str, value: str) -> Path:
    """Return the path of a file with a private key, once it is sure that nobody else may read it.

    Raises:
        ConfigError: others may, or it is no file.
    """
    path = path_of(folder, name, value)
    read_file(name, path, SECRET_BYTES)
    _check_private(name, value, path)
    return path


def public_file(folder: Path, name: str, value: str) -> Path:
    """Return the path of a file with certificates.

    Raises:
        ConfigError: it is no file, or a much too long one.
    """
    path = path_of(folder, name, value)
    read_file(name, path, CERTIFICATES_BYTES)
    return path


def _check_private(name: str, value: str, path: Path) -> None:
    # systemd may let us read through an access list, whose mask shows where the group's permission would stand
    readers = _OTHERS if value.startswith(SCHEME) else _GROUP_AND_OTHERS
    try:
        readable = path.stat().st_mode & readers
    except OSError as error:
        raise ConfigError(f"{name} {path} can't be read: {error.strerror}") from None
    if readable:
        raise ConfigError(f"{name} {path} may be read by others on this machine; chmod 600 it")
