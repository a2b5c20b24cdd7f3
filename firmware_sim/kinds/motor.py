"""A 7.5 kW four-pole induction motor behind a soft starter, driving a mixer in batches.

Each batch runs through load steps, then the motor stops and coasts down. Heat takes two paths:
copper to winding in a minute or two, frame to air in many. Wear is a fouled fan and tired
insulation: the winding runs hotter, current rises.
"""

from math import sqrt
from random import Random

from firmware_sim.kinds.model import Channel, Kind
from firmware_sim.kinds.signals import Program, Wander

_RATED_A = 15.2
_SYNCHRONOUS_RPM = 1_500.0
_RATED_SLIP_RPM = 48.0
_NO_LOAD = 0.38  # of rated current
_LOAD_STAGES = ((0.35, 25.0), (0.75, 45.0), (1.00, 40.0), (0.55, 35.0))
_RUN_STEPS, _STOP_STEPS = 300.0, 35.0
_START_STEPS = 8  # soft starter ramp
_INRUSH = (0.8, 1.5, 2.2, 2.8, 3.0, 2.7, 2.0, 1.2)  # of rated current, held by the current limit
_START_SPEED = (0.02, 0.08, 0.20, 0.37, 0.56, 0.75, 0.90, 0.98)
_COAST_STEPS = 5.0
_COPPER_LAG, _FRAME_LAG = 90.0, 420.0


class Motor:
    """Physics of one motor."""

    def __init__(self, rng: Random, day_start_s: float) -> None:
        """Build an individual; ``day_start_s`` does not matter indoors."""
        self.wear = 0.0
        self._rng = rng
        self._load = Program(rng, _LOAD_STAGES, slew=0.06)
        self._mains = Wander(rng, sd=0.008, tau=120.0)
        self._ambient = Wander(rng, sd=1.0, tau=1_500.0)
        self._torque = Wander(rng, sd=0.02, tau=6.0)
        self._run_steps = _RUN_STEPS * rng.uniform(0.95, 1.05)
        self._clock = rng.uniform(_START_STEPS + 1, self._run_steps)  # steps since the start button
        self._speed_rpm = _SYNCHRONOUS_RPM - 30.0
        self._copper_k, self._frame_k = 22.0, 24.0

    def step(self) -> tuple[float, float, float]:
        """Advance one second; return current in A, speed in rpm, winding temperature in C."""
        gauss = self._rng.gauss
        self._clock += 1.0
        if self._clock >= self._run_steps + _STOP_STEPS:
            self._clock = 0.0
        current = self._drive()
        self._heat(current)
        winding = 23.0 + self._ambient.step() + self._copper_k + self._frame_k
        return (
            current * gauss(1.0, 0.006) + gauss(0.0, 0.03),
            self._speed_rpm + gauss(0.0, 0.8),  # a tachogenerator: noisy, also at rest
            winding + gauss(0.0, 0.12),
        )

    def _drive(self) -> float:
        """Advance speed; return the current in A."""
        mains = 1.0 + self._mains.step()
        load = self._load.step() * (1.0 + self._torque.step())
        if self._clock >= self._run_steps:
            self._speed_rpm -= self._speed_rpm / _COAST_STEPS
            return 0.0
        if self._clock < _START_STEPS:
            index = int(self._clock)
            self._speed_rpm = _SYNCHRONOUS_RPM * _START_SPEED[index]
            return _RATED_A * _INRUSH[index]
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
