"""Host names that mean something else to the daemon alone, and a name server that takes its time."""

import os
import shutil
import socket
import threading
from pathlib import Path

import pytest


class Names:
    """What host names mean to the daemon. For root only.

    Args:
        folder: where the files are that it sees in place of the system's.
        order: how names are looked up, as in ``nsswitch.conf``.

    Attributes:
        prefix: what to put before a command that shall see them.
    """

    def __init__(self, folder: Path, order: str = "files") -> None:
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            pytest.skip("mount namespaces are made by root only")
        self._hosts, resolver, switch = (folder / name for name in ("hosts", "resolv.conf", "nsswitch.conf"))
        self._hosts.touch()
        resolver.touch()
        self._resolver = resolver
        switch.write_text(f"hosts: {order}\n")
        mounts = (f"mount --bind {path} /etc/{path.name}" for path in (self._hosts, resolver, switch))
        script = " && ".join((*mounts, 'exec "$@"'))
        self.prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]

    def set(self, **addresses: tuple[str, ...]) -> None:
        """Let names lead to these addresses, and no others; in place, as a mounted file has to be changed."""
        lines = (f"{address} {name}\n" for name, found in addresses.items() for address in found)
        self._hosts.write_text("".join(lines))

    def ask(self, address: str, timeout_s: int) -> None:
        """Let a name server be asked, once, and waited for."""
        self._resolver.write_text(f"nameserver {address}\noptions timeout:{timeout_s} attempts:1\n")


class SlowNameServer:
    """Answers every question with one address, after a while.

    Attributes:
        address: where it is asked.
        asked: questions so far.
    """

    def __init__(self, answer: str, delay_s: float) -> None:
        self.address = f"127.53.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"  # so that several suites may run
        self.asked = 0
        self._answer = socket.inet_aton(answer)
        self._delay_s = delay_s
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, 53))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="name server")
        self._thread.start()

    def _serve(self) -> None:
        self._socket.settimeout(0.1)
        while not self._ended.is_set():
            try:
                question, client = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            self.asked += 1
            threading.Thread(target=self._reply, args=(question, client)).start()

    def _reply(self, question: bytes, client: object) -> None:
        if not self._ended.wait(self._delay_s):
            self._socket.sendto(self._reply_to(question), client)  # type: ignore[arg-type]

    def _reply_to(self, question: bytes) -> bytes:
        """Return an A record to a question for one, and none to others."""
        end = question.index(b"\x00", 12) + 5
        asks_for_a = question[end - 4 : end - 2] == b"\x00\x01"
        head = question[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if asks_for_a else b"\x00\x00") + bytes(4)
        record = b"\xc0\x0c\x00\x01\x00\x01" + bytes(4) + b"\x00\x04" + self._answer
        return head + question[12:end] + (record if asks_for_a else b"")

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()
