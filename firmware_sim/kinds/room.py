"""An office of 20 m2 with a radiator on a thermostat, people, and a day outside.

Heat: one capacity for air and furniture, a lagging radiator, losses to outdoors. Carbon dioxide
and water are mass balances of air exchanged with outdoors; relative humidity is absolute humidity
over saturation (Magnus formula).
"""

from math import cos, exp, pi
from random import Random

from firmware_sim.kinds.model import Channel, Kind
from firmware_sim.kinds.signals import DAY_S, Wander, between

_PERIOD_S = 60.0
_VOLUME_M3 = 60.0
_CAPACITY_J_K = 620e3
_LOSS_W_K = 60.0
_RADIATOR_W = 2_100.0
_RADIATOR_LAG_S = 420.0
_PERSON_W, _PERSON_CO2_M3_S, _PERSON_WATER_G_S = 80.0, 5.0e-6, 0.014
_OUTDOOR_CO2_PPM = 425.0
_HYSTERESIS_K = 0.35
_SPIN_UP_STEPS = 180  # forgets the guessed start, without costing a fleet its start-up time


def saturation_g_m3(temperature_c: float) -> float:
    """Return the water that air can hold, in g/m3 (Magnus formula with WMO constants)."""
    pressure_pa = 611.2 * exp(17.62 * temperature_c / (243.12 + temperature_c))
    return 2.1667 * pressure_pa / (273.15 + temperature_c)


class Room:
    """Physics of one room."""

    def __init__(self, rng: Random, day_start_s: float) -> None:
        """Build an individual and let it settle.

        Args:
            rng: owned by the device.
            day_start_s: seconds since midnight at the first sample.
        """
        self.wear = 0.0
        self._rng = rng
        self._weather = Wander(rng, sd=2.0, tau=600.0)
        self._dew = Wander(rng, sd=0.5, tau=600.0)
        self._draft = Wander(rng, sd=0.08, tau=15.0)
        self._comfort_c = rng.uniform(20.5, 21.5)
        self._arrive_h, self._leave_h = rng.uniform(7.5, 8.5), rng.uniform(16.8, 18.2)
        self._seats = rng.randint(2, 3)
        self._people = 0
        self._temperature = self._comfort_c
        self._radiator_w, self._valve_open = 700.0, False
        self._co2_ppm = 600.0
        self._water_g_m3 = 7.0
        self._time_s = day_start_s - _SPIN_UP_STEPS * _PERIOD_S
        for _ in range(_SPIN_UP_STEPS):
            self.step()

    def step(self) -> tuple[float, float, float]:
        """Advance one minute; return temperature in C, relative humidity in %, CO2 in ppm."""
        gauss = self._rng.gauss
        self._time_s += _PERIOD_S
        hour = self._time_s % DAY_S / 3600.0
        outdoor_c = 6.0 - 4.0 * cos(2.0 * pi * (hour - 3.0) / 24.0) + self._weather.step()
        self._occupy(hour)
        self._heat(hour, outdoor_c)
        self._exchange_air(outdoor_c)
        humidity = 100.0 * self._water_g_m3 / saturation_g_m3(self._temperature)
        return (
            self._temperature + gauss(0.0, 0.025),
            humidity + gauss(0.0, 0.12),
            self._co2_ppm + gauss(0.0, 3.0),
        )

    def _occupy(self, hour: float) -> None:
        """Let people come for the working day, leave over lunch, and step out now and then."""
        working = between(hour, self._arrive_h, self._leave_h) and not between(hour, 12.2, 13.0)
        wanted = self._seats if working else 0
        if self._rng.random() < 0.15:
            self._people += (wanted > self._people) - (wanted < self._people)
        elif working and self._people > 1 and self._rng.random() < 0.01:
            self._people -= 1

    def _heat(self, hour: float, outdoor_c: float) -> None:
        setpoint = self._comfort_c if between(hour, 5.5, 19.0) else self._comfort_c - 2.0
        if self._temperature > setpoint + _HYSTERESIS_K:
            self._valve_open = False
        elif self._temperature < setpoint - _HYSTERESIS_K:
            self._valve_open = True
        wanted_w = _RADIATOR_W if self._valve_open else 0.0
        self._radiator_w += (wanted_w - self._radiator_w) * _PERIOD_S / _RADIATOR_LAG_S
        sun_w = 250.0 * max(0.0, cos(2.0 * pi * (hour - 13.0) / 24.0))
        loss_w = _LOSS_W_K * (1.0 + self._draft.value) * (self._temperature - outdoor_c)
        gain_w = self._radiator_w + sun_w + _PERSON_W * self._people - loss_w
        self._temperature += gain_w * _PERIOD_S / _CAPACITY_J_K

    def _exchange_air(self, outdoor_c: float) -> None:
        # Ventilation runs harder while somebody is in; 1/s, from air changes an hour.
        changes = (0.5 + 0.35 * self._people) * (1.0 + self._draft.step()) / 3600.0
        outdoor_water = 0.78 * saturation_g_m3(outdoor_c) * (1.0 + 0.1 * self._dew.step())
        co2_source = 1e6 * _PERSON_CO2_M3_S * self._people / _VOLUME_M3
        water_source = _PERSON_WATER_G_S * self._people / _VOLUME_M3
        co2_rate = co2_source - changes * (self._co2_ppm - _OUTDOOR_CO2_PPM)
        self._co2_ppm += _PERIOD_S * co2_rate
        water_rate = water_source - changes * (self._water_g_m3 - outdoor_water)
        self._water_g_m3 += _PERIOD_S * water_rate


KIND = Kind(
    name="room",
    period_s=_PERIOD_S,
    channels=(
        Channel("temperature_c", 0.01, typical=0.5, low=-20.0, high=60.0, bipolar=True),
        Channel("humidity_pct", 0.1, typical=3.0, low=0.0, high=100.0, bipolar=True),
        Channel("co2_ppm", 1.0, typical=90.0, low=300.0, high=5_000.0),
    ),
    build=Room,
)
