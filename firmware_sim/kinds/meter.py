"""The electricity meter of a household: power, voltage sag, current.

Inverter-driven compressors (fridge, heat pump) modulate slowly under what people do: lights by
daylight, cooking at meals, a kettle now and then. Voltage drops over the supply impedance; current follows
power, voltage, and a power factor that is worse when little but electronics is on.
"""

from math import cos, pi
from random import Random

from firmware_sim.kinds.model import Channel, Kind
from firmware_sim.kinds.signals import DAY_S, Program, Wander, between

_PERIOD_S = 10.0
_SUPPLY_OHM = 0.55
_NO_LOAD_V = 233.5
_STANDBY_W = 85.0
_FRIDGE_STAGES = ((0.0, 110.0), (105.0, 75.0))  # W, hold in steps of 10 s
_HEAT_PUMP_STAGES = ((0.0, 50.0), (700.0, 45.0))
_HOB_STAGES = ((900.0, 30.0), (1_400.0, 20.0))  # induction: power follows the cook, no thermostat


class Meter:
    """Physics of one household's supply."""

    def __init__(self, rng: Random, day_start_s: float) -> None:
        """Build an individual household.

        Args:
            rng: owned by the device.
            day_start_s: seconds since midnight at the first sample.
        """
        self.wear = 0.0
        self._rng = rng
        self._time_s = day_start_s
        self._fridge = Program(rng, _FRIDGE_STAGES, slew=4.0)
        self._heat_pump = Program(rng, _HEAT_PUMP_STAGES, slew=12.0)
        self._hob = Program(rng, _HOB_STAGES, spread=0.05, slew=25.0)
        self._living = Wander(rng, sd=0.2, tau=90.0)
        self._feeder = Wander(rng, sd=1.0, tau=150.0)
        self._factor = Wander(rng, sd=0.004, tau=40.0)
        self._no_load_v = _NO_LOAD_V + rng.gauss(0.0, 1.0)
        self._kettle_left = 0
        self._hob_left = 0

    def step(self) -> tuple[float, float, float]:
        """Advance ten seconds; return power in W, voltage in V, and current in A."""
        gauss = self._rng.gauss
        hour = self._time_s % DAY_S / 3600.0
        self._time_s += _PERIOD_S
        nominal_w = self._appliances(hour)
        # Neighbors load the same street, most of all in the evening.
        street_v = 1.5 * cos(2.0 * pi * (hour - 3.0) / 24.0) + self._feeder.step()
        open_v = self._no_load_v + street_v
        voltage = open_v - _SUPPLY_OHM * nominal_w / open_v
        power = nominal_w * (voltage / 230.0) ** 2  # mostly resistive
        factor = 0.90 + 0.09 * min(1.0, power / 3_000.0) + self._factor.step()
        return (
            power * gauss(1.0, 0.004) + gauss(0.0, 2.0),
            voltage + gauss(0.0, 0.12),
            power / (voltage * factor) * gauss(1.0, 0.004) + gauss(0.0, 0.01),
        )

    def _appliances(self, hour: float) -> float:
        """Return the load at 230 V, in W."""
        awake = between(hour, 6.3, 23.2)
        evening = between(hour, 17.5, 23.2)
        comfort_w = 320.0 if evening else 180.0 if awake else 25.0  # lights, screens
        pump_share = 1.0 if awake else 0.75
        power = _STANDBY_W + self._fridge.step() + pump_share * self._heat_pump.step()
        power += comfort_w * (1.0 + self._living.step())
        return power + self._kettle(awake) + self._cooking(hour)

    def _kettle(self, awake: bool) -> float:
        if self._kettle_left > 0:
            self._kettle_left -= 1
            return 1_950.0
        if awake and self._rng.random() < 0.0013:  # about eight times a day
            self._kettle_left = self._rng.randint(9, 18)
        return 0.0

    def _cooking(self, hour: float) -> float:
        if self._hob_left > 0:
            self._hob_left -= 1
            return self._hob.step()
        meal = between(hour, 7.0, 7.8) or between(hour, 12.0, 12.8) or between(hour, 18.2, 19.5)
        if meal and self._rng.random() < 0.012:
            self._hob_left = self._rng.randint(90, 180)
        return 0.0


KIND = Kind(
    name="meter",
    period_s=_PERIOD_S,
    channels=(
        Channel("power_w", 1.0, typical=900.0, low=0.0, high=25_000.0),
        Channel("voltage_v", 0.1, typical=2.0, low=0.0, high=300.0, bipolar=True),
        Channel("current_a", 0.01, typical=4.0, low=0.0, high=110.0),
    ),
    build=Meter,
)
