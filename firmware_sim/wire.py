"""The wire contract, in code: topics and payloads. Its text is ``firmware_sim/README.md``."""

import json

from firmware_sim.faults import Fault

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def payload(content: dict[str, object]) -> bytes:
    """Return compact JSON; floats keep all their digits (shortest form that reads back equal)."""
    return _encode(content).encode()


def device_id(kind: str, number: int) -> str:
    """Return the name of the ``number``-th device of its kind, like ``pump-0007``."""
    return f"{kind}-{number:04d}"


def topic(prefix: str, kind: str, device: str, leaf: str) -> str:
    """Return a device's topic; ``leaf`` is telemetry, truth, status or boot."""
    return f"{prefix}/{kind}/{device}/{leaf}"


def telemetry(t: float, seq: int, values: dict[str, float]) -> bytes:
    """Return one sample's payload; ``t`` is in unix seconds."""
    return payload({"t": round(t, 3), "seq": seq, **values})


def truth(fault: Fault, start: float, end: float) -> dict[str, object]:
    """Return the ground truth of one fault that covers [start, end), in unix seconds."""
    return {
        "fault": fault.kind,
        "channel": fault.channel,
        "start": round(start, 3),
        "end": round(end, 3),
        "magnitude": fault.magnitude,
    }


def boot(t: float, uptime_s: float, boots: int) -> bytes:
    """Return what a device says after a reboot.

    Args:
        t: when it was up again, unix seconds.
        uptime_s: how long it had been up before.
        boots: reboots since it was built.
    """
    return payload({"t": round(t, 3), "uptime_s": round(uptime_s, 3), "boots": boots})
