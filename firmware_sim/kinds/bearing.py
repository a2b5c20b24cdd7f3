"""A rolling bearing on a variable-speed drive, with a vibration sensor and a thermometer.

Vibration velocity grows with speed and load. Wear shows as in the field: impacts raise the
kurtosis first; then the RMS rises and, as damage spreads, impacts merge and the kurtosis falls
back. Levels follow ISO 20816-3 zones A to D.
"""

from math import exp
from random import Random

from firmware_sim.kinds.model import Channel, Kind
from firmware_sim.kinds.signals import Program, Wander

_LAG_STEPS = 180.0  # housing temperature, time constant
_LOAD_STAGES = ((0.35, 45.0), (0.80, 60.0), (0.60, 40.0), (0.95, 50.0))  # of rated load
_SPEED_STAGES = ((0.80, 150.0), (1.00, 210.0))  # of rated speed


class Bearing:
    """Physics of one bearing."""

    def __init__(self, rng: Random, day_start_s: float) -> None:
        """Build an individual; ``day_start_s`` does not matter in a heated hall."""
        self.wear = 0.0
        self._gauss = rng.gauss
        self._load = Program(rng, _LOAD_STAGES, slew=0.05)
        self._speed = Program(rng, _SPEED_STAGES, slew=0.008, spread=0.01)
        self._flutter = Wander(rng, sd=0.025, tau=40.0)
        self._ambient = Wander(rng, sd=1.2, tau=1_500.0)
        self._rms_rated = rng.uniform(1.5, 1.8)
        self._temperature = self._settled(0.66, 0.9)

    def _settled(self, load: float, speed: float) -> float:
        friction = speed * (0.3 + 0.7 * load) + 0.45 * self.wear
        return 24.0 + self._ambient.value + 32.0 * friction

    def step(self) -> tuple[float, float, float]:
        """Advance one second; return RMS in mm/s, kurtosis, and temperature in degrees Celsius."""
        gauss, wear = self._gauss, self.wear
        load = self._load.step()
        speed = self._speed.step()
        self._ambient.step()
        healthy = self._rms_rated * speed * speed * (0.4 + 0.6 * load)
        rms = healthy * (1.0 + self._flutter.step() + 2.6 * wear**1.5)
        impacts = 14.0 * wear * exp(-2.0 * wear)  # peaks at wear 0.5
        self._temperature += (self._settled(load, speed) - self._temperature) / _LAG_STEPS
        return (
            rms * gauss(1.0, 0.02),
            (3.05 + 0.25 * load + impacts) * gauss(1.0, 0.022),
            self._temperature + gauss(0.0, 0.1),
        )


KIND = Kind(
    name="bearing",
    period_s=1.0,
    channels=(
        Channel("rms_mm_s", 0.01, typical=0.30, low=0.0, high=50.0),
        Channel("kurtosis", 0.01, typical=0.25, low=1.0, high=50.0),
        Channel("temperature_c", 0.1, typical=1.5, low=-40.0, high=150.0, bipolar=True),
    ),
    build=Bearing,
    wear_channel="rms_mm_s",
)
