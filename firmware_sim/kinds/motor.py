"""A 7.5 kW four-pole induction motor that drives a conveyor around the clock.

The load goes through stages as material comes and goes, following slowly. Heat takes two paths: copper to winding in
a minute or two, frame to air in many. Wear is a fouled fan and tired insulation: the winding runs hotter, current
rises.
"""

from math import sqrt
from random import Random

from firmware_sim.kinds.model import Channel, Kind
from firmware_sim.kinds.signals import Program, Wander

_RATED_A = 15.2
_SYNCHRONOUS_RPM = 1_500.0
_RATED_SLIP_RPM = 48.0
_NO_LOAD = 0.38  # of rated current
_LOAD_STAGES = ((0.35, 30.0), (0.75, 50.0), (1.00, 40.0), (0.55, 35.0))
_COPPER_LAG, _FRAME_LAG = 90.0, 420.0


class Motor:
    """Physics of one motor."""

    def __init__(self, rng: Random, day_start_s: float) -> None:
        """Build an individual; ``day_start_s`` does not matter indoors."""
        self.wear = 0.0
        self._rng = rng
        self._load = Program(rng, _LOAD_STAGES, slew=0.02)
        self._mains = Wander(rng, sd=0.008, tau=120.0)
        self._ambient = Wander(rng, sd=1.0, tau=1_500.0)
        self._torque = Wander(rng, sd=0.02, tau=6.0)
        self._speed_rpm = _SYNCHRONOUS_RPM - 30.0
        self._copper_k, self._frame_k = 22.0, 24.0

    def step(self) -> tuple[float, float, float]:
        """Advance one second; return current in A, speed in rpm, winding temperature in C."""
        gauss = self._rng.gauss
        current = self._drive()
        self._heat(current)
        winding = 23.0 + self._ambient.step() + self._copper_k + self._frame_k
        return (
            current * gauss(1.0, 0.006) + gauss(0.0, 0.03),
            self._speed_rpm + gauss(0.0, 0.8),  # a tachogenerator
            winding + gauss(0.0, 0.12),
        )

    def _drive(self) -> float:
        """Advance speed; return the current in A."""
        mains = 1.0 + self._mains.step()
        load = self._load.step() * (1.0 + self._torque.step())
        self._speed_rpm = _SYNCHRONOUS_RPM - _RATED_SLIP_RPM * load / (mains * mains)
        active = sqrt(1.0 - _NO_LOAD**2) * load * (1.0 + 0.12 * self.wear) / mains
        return _RATED_A * sqrt((_NO_LOAD * mains) ** 2 + active * active)

    def _heat(self, current: float) -> None:
        loss = min(current / _RATED_A, 3.0) ** 2  # copper loss, 1 at rated current
        turning = self._speed_rpm / _SYNCHRONOUS_RPM
        copper = 27.0 * loss * (1.0 + 1.8 * self.wear)  # 0.3 K/s at rated current
        frame = (30.0 * loss + 8.0) * turning * (1.0 + 0.6 * self.wear)
        self._copper_k += (copper - self._copper_k) / _COPPER_LAG
        self._frame_k += (frame - self._frame_k) / _FRAME_LAG


KIND = Kind(
    name="motor",
    period_s=1.0,
    channels=(
        Channel("current_a", 0.01, typical=1.2, low=-5.0, high=150.0),
        Channel("speed_rpm", 0.1, typical=12.0, low=-50.0, high=2_000.0, bipolar=True),
        Channel("winding_c", 0.1, typical=3.0, low=-40.0, high=250.0, bipolar=True),
    ),
    build=Motor,
    wear_channel="winding_c",
)
