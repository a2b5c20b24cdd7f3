"""Certificates of every kind, good and bad, made with openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest

_CONFIG = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""
_NEW = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
LONG_AGO, LATELY, SOON, FAR = "20000101000000Z", "20010101000000Z", "20990101000000Z", "21000101000000Z"


class Authority:
    """An authority in a folder of its own, which signs anything."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.pem"
        self._folder = folder / name
        self._folder.mkdir()
        (self._folder / "config").write_text(_CONFIG)
        (self._folder / "index.txt").touch()
        (self._folder / "serial").write_text("01\n")
        self._key = self._folder / "own.key"
        self._openssl(*_NEW, "-x509", "-days", "3650", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.file)

    def _openssl(self, *arguments: str | Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed (apt install openssl)")
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)

    def sign(self, name: str, host: str = "localhost", start: str = LONG_AGO, end: str = FAR) -> tuple[Path, Path]:
        """Return a certificate for a host, and its key."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        names = f"subjectAltName=DNS:{host}"
        self._openssl(*_NEW, "-subj", f"/CN={host}", "-addext", names, "-keyout", key, "-out", "request")
        signed = ("ca", "-batch", "-config", "config", "-cert", self.file, "-keyfile", self._key, "-notext")
        self._openssl(*signed, "-startdate", start, "-enddate", end, "-in", "request", "-out", certificate)
        key.chmod(0o600)
        return certificate, key

    def self_signed(self) -> tuple[Path, Path]:
        """Return a certificate that nobody but its own key has signed."""
        certificate, key = self._folder / "self.pem", self._folder / "self.key"
        names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        self._openssl(*_NEW, "-x509", *names, "-keyout", key, "-out", certificate)
        return certificate, key

    def encrypt(self, key: Path) -> Path:
        """Return the same key behind a passphrase."""
        locked = key.with_suffix(".locked")
        self._openssl("ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked)
        locked.chmod(0o600)
        return locked
