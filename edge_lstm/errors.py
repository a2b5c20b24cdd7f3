"""What can go wrong, as types a caller can act on."""


class EdgeLstmError(Exception):
    """Base of every error that edge-lstm raises on purpose."""


class ConfigError(EdgeLstmError):
    """A configuration that can't be run; says where and what to do."""


class WeightsError(EdgeLstmError):
    """A weights bundle that is not what it should be."""


class StateError(EdgeLstmError):
    """Saved state that does not fit the weights it is restored under."""


class PayloadError(EdgeLstmError):
    """A message that can't be decoded; counted by ``reason`` and dropped.

    Attributes:
        reason: one lower-case word with a fixed set of values, fit for a metric label.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
