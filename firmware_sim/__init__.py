"""Simulated sensors with the habits of real firmware; ``python -m firmware_sim --help``."""

from firmware_sim.device import Device
from firmware_sim.faults import FAULT_KINDS, Fault
from firmware_sim.kinds import KINDS, Channel, Kind

__all__ = ["FAULT_KINDS", "KINDS", "Channel", "Device", "Fault", "Kind"]
