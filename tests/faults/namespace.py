"""A network of the daemon's own, on which packets can be dropped or held up. For root only."""

import os
import shutil
import subprocess
from typing import Literal

import pytest

Chain = Literal["INPUT", "OUTPUT"]  # seen from the daemon


def skip_unless_possible() -> None:
    """Skip the test where networks can't be made, and say why."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made by root only")
    for tool, package in (("ip", "iproute2"), ("tc", "iproute2")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install {package})")
    if shutil.which("iptables") is None and shutil.which("nft") is None:
        pytest.skip("there is no packet filter (apt install iptables)")


class Namespace:
    """A network namespace, and a cable from it to this machine.

    Attributes:
        host: this machine's address on the cable.
        prefix: what to put before a command that shall run inside.
    """

    def __init__(self) -> None:
        skip_unless_possible()
        number = os.getpid() % 16_384  # so that several suites may run at once
        net = f"198.18.{number // 64}.{number % 64 * 4}".rsplit(".", 1)
        self._name, self._outside, self._inside = f"faults{number}", f"fo{number}", f"fi{number}"
        self.host = f"{net[0]}.{int(net[1]) + 1}"
        self.prefix = ["ip", "netns", "exec", self._name]
        _run("ip", "netns", "add", self._name)
        try:
            _run("ip", "link", "add", self._outside, "type", "veth", "peer", "name", self._inside, "netns", self._name)
            _run("ip", "addr", "add", f"{self.host}/30", "dev", self._outside)
            _run("ip", "link", "set", self._outside, "up")
            self._run("ip", "addr", "add", f"{net[0]}.{int(net[1]) + 2}/30", "dev", self._inside)
            self._run("ip", "link", "set", self._inside, "up")
            self._run("ip", "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.close()
            pytest.skip(f"no network namespace can be made: {error.stderr.decode().strip()}")

    def _run(self, *command: str) -> None:
        _run(*self.prefix, *command)

    def drop(self, *chains: Chain) -> None:
        """Let no packet through any more."""
        if shutil.which("iptables"):
            for chain in chains:
                self._run("iptables", "-A", chain, "-i" if chain == "INPUT" else "-o", self._inside, "-j", "DROP")
            return
        self._run("nft", "add", "table", "ip", "faults")
        for chain in chains:
            hook = f"{{ type filter hook {chain.lower()} priority 0; policy drop; }}"
            self._run("nft", "add", "chain", "ip", "faults", chain.lower(), hook)

    def heal(self) -> None:
        """Let all packets through again."""
        if shutil.which("iptables"):
            self._run("iptables", "-F")
        else:
            self._run("nft", "delete", "table", "ip", "faults")

    def slow(self, kbit_s: int) -> None:
        """Let this much through in each direction, and keep half a second's worth waiting."""
        shape = ("root", "tbf", "rate", f"{kbit_s}kbit", "burst", "4kb", "latency", "500ms")
        self._run("tc", "qdisc", "add", "dev", self._inside, *shape)
        _run("tc", "qdisc", "add", "dev", self._outside, *shape)

    def fast(self) -> None:
        """Let everything through as it comes."""
        self._run("tc", "qdisc", "del", "dev", self._inside, "root")
        _run("tc", "qdisc", "del", "dev", self._outside, "root")

    def close(self) -> None:
        """Remove it, the cable with it."""
        subprocess.run(["ip", "link", "del", self._outside], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
