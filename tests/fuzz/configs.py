"""The configuration reader: TOML that is nearly a configuration."""

from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from edge_lstm.bundle import Bundle, read, write
from edge_lstm.daemon.check import prepare_file
from edge_lstm.errors import ConfigError
from tests.bundles import random_bundle
from tests.fuzz import mutate
from tests.fuzz.scratch import scratch

DOCUMENTS: list[dict[str, Any]] = [
    {"source": [{"topic": "plant/+/telemetry"}]},
    {
        "mqtt": {
            "broker": "mqtt://localhost:1883", "client_id": "edge-lstm", "qos": 1, "username": "edge",
            "password_file": "password", "keepalive_s": 30, "protocol": "5", "clean_session": False,
        },
        "output": {"prefix": "edge-lstm", "publish": "every", "score_qos": 0},
        "log": {"level": "info"},
        "source": [
            {
                "topic": "press/{stream}/{channel}", "format": "number", "weights": "fitted", "budget": "2/day",
                "silence_s": 0, "channels": {"c0": "speed", "c1": "torque", "c2": "heat"},
            },
            {"topic": "zigbee2mqtt/+", "format": "zigbee2mqtt", "weights": "adaptive", "publish": "changes"},
        ],
    },
    {
        "mqtt": {"broker": "mqtts://user@[::1]:8883", "ca_file": "ca.pem", "cert_file": "c.pem", "key_file": "k.pem"},
        "source": [
            {
                "topic": "a/#", "time": 'b."odd key"[0]', "time_unit": "ms", "records": "r", "period_s": 0.5,
                "values": {"ON": 1, "OFF": 0.0}, "coerce": True, "retained": "process", "window_s": 1.5,
                "max_streams": 9,
            },
        ],
    },
]  # fmt: skip


class Table:
    """Stands in for the engine, which knows nothing of configurations and takes its time to be made."""

    device = "cpu"

    def __init__(self, *_: object) -> None: ...


class Configs:
    """Content of a configuration file; the bundles that it names are read once."""

    refusal = ConfigError

    def __init__(self) -> None:
        self._folder = scratch()
        self._bundles: dict[str, Bundle] = {}
        for judge in ("fitted", "adaptive"):
            write(random_bundle(judge), self._folder / judge)
        (self._folder / "password").write_text("secret\n")
        (self._folder / "password").chmod(0o600)
        self._corpus = tuple(toml(document).encode() for document in DOCUMENTS)

    def case(self, rng: Random) -> bytes:
        """Return text that is nearly a configuration."""
        if rng.random() < 0.5:
            return mutate.bytes_of(rng, rng.choice(self._corpus), self._corpus)
        document = mutate.tree_of(rng, rng.choice(DOCUMENTS), rng.choice((1, 1, 2, 4)))
        return toml(document).encode("utf-8", "surrogatepass")

    def run(self, case: bytes) -> str:
        """Prepare everything that it names, as ``edge-lstm check`` does."""
        path = self._folder / "config.toml"
        path.write_bytes(case)
        with patch("edge_lstm.daemon.check.read", self._read), patch("edge_lstm.lane.Engine", Table):
            try:
                prepare_file(path)
            except ConfigError as error:
                for line in str(error).split("\n"):
                    assert line.startswith(f"{path}:"), line
                    assert line.isprintable(), line
                raise
        return "a configuration"

    def _read(self, path: Path) -> Bundle:
        name = str(path)
        if name not in self._bundles:
            self._bundles[name] = read(path)  # what is refused is not kept
        return self._bundles[name]


def toml(document: dict[str, Any]) -> str:
    """Write a document as TOML, with sections as people have them."""
    if not isinstance(document, dict):
        return _value(document)
    text, sections = "", ""
    for key, each in document.items():
        if isinstance(each, dict):
            sections += f"[{_text(key)}]\n{_lines(each)}"
        elif isinstance(each, list) and each and all(isinstance(one, dict) for one in each):
            sections += "".join(f"[[{key}]]\n{_lines(one)}" for one in each)
        else:
            text += f"{_text(key)} = {_value(each)}\n"
    return text + sections


def _lines(table: dict[str, Any]) -> str:
    keys = {key: key if key.isidentifier() and key.isascii() else _text(key) for key in table}
    return "".join(f"{keys[key]} = {_value(each)}\n" for key, each in table.items())


def _value(value: Any) -> str:
    """Write a value; what TOML has no word for becomes text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return hex(value) if isinstance(value, int) and value > 2**64 else repr(value)
    return _text(value)


def _text(value: Any) -> str:
    """Write a basic string, with escapes for what may not stand in one."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in str(value)) + '"'
