"""Device kinds, one module each; ``KINDS`` lists them by name."""

from firmware_sim.kinds import bearing, meter, motor, pump, room
from firmware_sim.kinds.model import Channel, Kind, Physics

KINDS: dict[str, Kind] = {module.KIND.name: module.KIND for module in (bearing, pump, motor, room, meter)}

__all__ = ["KINDS", "Channel", "Kind", "Physics"]
