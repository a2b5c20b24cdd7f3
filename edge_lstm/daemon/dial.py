"""One attempt to reach the broker, in a short-lived thread: looking up a name and shaking hands both block.

Rules:
1. The thread ends in a socket that is ready for use, or in a sentence; never in both, and never in a socket that
   nobody closes.
2. What can be expected to go wrong becomes the sentence. Anything else is a fault of ours, and leaves the thread for
   ``threading.excepthook``.
3. There is one thread at a time. A name service that hangs keeps it, and the loop goes on meanwhile.
"""

import socket
import ssl
import threading
from typing import NamedTuple

from edge_lstm.daemon.broker import Broker
from edge_lstm.daemon.tls import BROKEN_OFF, reason_of
from edge_lstm.errors import ConfigError

CONNECT_S = 5.0  # for each address that the name stands for
HANDSHAKE_S = 10.0


class Line(NamedTuple):
    """A connection that nothing was said on yet, and the password to say."""

    sock: socket.socket
    password: str | None


class Dial:
    """An attempt that is under way."""

    def __init__(self, broker: Broker) -> None:
        self._outcome: Line | str = "the attempt failed; see the error before"
        self._given_up = False
        self._lock = threading.Lock()
        self._ours, self._theirs = socket.socketpair()
        try:
            threading.Thread(target=self._run, args=(broker,), name="dial", daemon=True).start()
        except RuntimeError:  # no thread is left for us
            self._ours.close()
            self._theirs.close()
            raise

    def fileno(self) -> int:
        """Return a number that ``poll`` finds readable once the attempt is over."""
        return self._ours.fileno()

    def take(self) -> Line | str:
        """Return what came of it; to be called once, when it is over."""
        self._ours.close()
        return self._outcome

    def give_up(self) -> None:
        """Want it no more; what it still gets is closed."""
        with self._lock:
            self._given_up = True
            if isinstance(self._outcome, Line):
                self._outcome.sock.close()
        self._ours.close()

    def _run(self, broker: Broker) -> None:
        try:
            self._keep(_attempt(broker))
        finally:
            self._theirs.close()  # which the loop notices

    def _keep(self, outcome: Line | str) -> None:
        with self._lock:
            if self._given_up and isinstance(outcome, Line):
                outcome.sock.close()
            self._outcome = outcome


def _attempt(broker: Broker) -> Line | str:
    """Return a connection, or why there is none."""
    try:
        return _connect(broker)
    except TimeoutError:
        return f"no answer within {CONNECT_S:.0f} s"
    except (ConfigError, OSError, ValueError) as error:  # of a file that was good once; a name that can't be encoded
        return reason_of(error, broker.mqtt)


def _connect(broker: Broker) -> Line:
    password, context = broker.read_password(), broker.read_tls()
    host = broker.mqtt.url.hostname or ""
    sock = socket.create_connection((host, broker.mqtt.port), CONNECT_S)  # tries every address of the name
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = _encrypt(sock, context, host)
    except BaseException:
        sock.close()
        raise
    return Line(sock, password)


def _encrypt(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """Return the socket after a handshake in which the other side has proved to be the host."""
    encrypted = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        encrypted.settimeout(HANDSHAKE_S)  # for all of it
        encrypted.do_handshake()
    except TimeoutError:
        encrypted.close()
        raise OSError(f"the TLS handshake was not over within {HANDSHAKE_S:.0f} s; does this port speak TLS?") from None
    except ConnectionError:
        encrypted.close()
        raise OSError(BROKEN_OFF) from None
    except BaseException:
        encrypted.close()
        raise
    return encrypted
