"""Who reads foreign bytes, by name."""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tests.fuzz.bundles import Bundles
from tests.fuzz.checkpoints import Checkpoints
from tests.fuzz.configs import Configs
from tests.fuzz.decoder import Payloads
from tests.fuzz.topics import Topics


class Reader(Protocol):
    """Something that reads foreign bytes.

    Attributes:
        refusal: what it may raise.
    """

    refusal: Any

    def case(self, rng: Random) -> bytes:
        """Return bytes that it can nearly read."""

    def run(self, case: bytes) -> str:
        """Read them; return what they were."""


READERS: dict[str, Callable[[], Reader]] = {
    "decoder": Payloads,
    "topics": Topics,
    "bundle": Bundles,
    "checkpoint": Checkpoints,
    "config": Configs,
}
SHARES = {"decoder": 0.475, "topics": 0.47, "bundle": 0.025, "checkpoint": 0.01, "config": 0.02}  # of all cases
