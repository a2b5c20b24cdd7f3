"""How the connection is encrypted, and what to do when that fails; there is no way around the checks."""

import ssl
from pathlib import Path

from edge_lstm.daemon.config import Mqtt
from edge_lstm.daemon.credentials import private_file, public_file
from edge_lstm.errors import ConfigError

BROKEN_OFF = "the TLS connection was broken off; is it the right port, and does the broker want a certificate of ours?"
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)  # OpenSSL's numbers of what can be wrong with a certificate
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)

# What OpenSSL calls a failed handshake, by a part of the name; the first that fits.
_REMEDIES = (
    ("WRONG_VERSION_NUMBER", "this port does not speak TLS; use the broker's TLS port, 8883 as a rule"),
    ("RECORD_LAYER_FAILURE", "this port does not speak TLS; use the broker's TLS port, 8883 as a rule"),
    ("HTTP_REQUEST", "this port does not speak TLS; use the broker's TLS port, 8883 as a rule"),
    ("ALERT_PROTOCOL_VERSION", "the broker offers no TLS 1.2 or later; update it"),
    ("UNSUPPORTED_PROTOCOL", "the broker offers no TLS 1.2 or later; update it"),
    ("ALERT_CERTIFICATE_REQUIRED", "the broker wants a certificate of ours; set cert_file and key_file"),
    ("ALERT_HANDSHAKE_FAILURE", "the broker may want a certificate of ours; set cert_file and key_file"),
    ("ALERT_UNKNOWN_CA", "the broker does not know who signed our cert_file; use one by its own authority"),
    ("ALERT_DECRYPT_ERROR", "the broker does not trust our cert_file; use one by its own authority"),
    ("ALERT_CERTIFICATE_EXPIRED", "our cert_file has expired; renew it"),
    ("ALERT_CERTIFICATE_REVOKED", "our cert_file was revoked; replace it"),
    ("CERTIFICATE", "the broker refuses our cert_file"),
)  # fmt: skip


def context_of(mqtt: Mqtt, folder: Path) -> ssl.SSLContext | None:
    """Return how to encrypt, if the address asks for it: TLS 1.2 or later, certificate and host name checked.

    Args:
        folder: where relative paths start.

    Raises:
        ConfigError: a file can't be used.
    """
    if not mqtt.tls:
        return None
    name, file = "ca_file", mqtt.ca_file
    try:
        context = ssl.create_default_context(cafile=str(public_file(folder, name, file)) if file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever the system's own settings allow
        if mqtt.cert_file:
            name, file = "cert_file", mqtt.cert_file
            _load_own(context, mqtt, folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} {file} can't be used: {getattr(error, 'strerror', None) or error}") from None
    return context


def _load_own(context: ssl.SSLContext, mqtt: Mqtt, folder: Path) -> None:
    """Load our certificate and its key, which may stand in one file."""

    def encrypted() -> str:
        raise ConfigError(f"{name} {file} is encrypted, and nobody is there to type its passphrase; decrypt it")

    name, file = ("key_file", mqtt.key_file) if mqtt.key_file else ("cert_file", mqtt.cert_file)
    key = private_file(folder, name, file)
    certificate = public_file(folder, "cert_file", mqtt.cert_file)
    context.load_cert_chain(str(certificate), str(key), password=encrypted)


def reason_of(error: Exception, mqtt: Mqtt) -> str:
    """Return what went wrong with a connection, and what to do about it where that is known."""
    if isinstance(error, ssl.SSLError):
        return _explain(error, mqtt)
    return getattr(error, "strerror", None) or str(error)


def _explain(error: ssl.SSLError, mqtt: Mqtt) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.rstrip('.')}; {_remedy(error.verify_code, mqtt)}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return BROKEN_OFF
    reason = error.reason or str(error)
    remedy = next((remedy for part, remedy in _REMEDIES if part in reason), "")
    return f"TLS failed: {reason.replace('_', ' ').lower()}" + (f"; {remedy}" if remedy else "")


def _remedy(code: int, mqtt: Mqtt) -> str:
    if code in _UNKNOWN_AUTHORITY:
        known = f"ca_file {mqtt.ca_file}" if mqtt.ca_file else "this system's authorities"
        return f"the broker's certificate is not by {known}; name the authority that signed it with ca_file"
    if code == _NOT_YET:
        return "the broker's certificate starts later; check the clock of this machine and the certificate"
    if code == _EXPIRED:
        return "renew the broker's certificate; if it is a new one, check the clock of this machine"
    if code in _OTHER_NAME:
        return "connect to a name that stands in the broker's certificate, or put this one into it"
    return "replace the broker's certificate"
