"""A small centrifugal pump at fixed speed, against a static head, a pipe and a control valve.

Flow is where pump curve and system curve meet:
    H = H0 - a Q^2  (pump)      H = Hs + (r + v / opening^2) Q^2  (system)
and the motor draws what the hydraulic power needs. Wear widens the gaps inside: head and
efficiency fall.
"""

from math import sqrt
from random import Random

from firmware_sim.kinds.model import Channel, Kind
from firmware_sim.kinds.signals import Program, Wander

_VALVE_STAGES = ((0.85, 55.0), (0.34, 40.0), (1.00, 70.0), (0.52, 45.0))  # opening, hold in s
_SHUTOFF_HEAD_M = 42.0
_STATIC_HEAD_M = 8.0
_PUMP_DROP = 1.1e-3  # a, m / (l/min)^2
_PIPE_LOSS = 0.8e-3  # r
_VALVE_LOSS = 0.9e-3  # v, fully open
_BEST_FLOW_L_MIN = 105.0
_BEST_EFFICIENCY = 0.58
_WATTS_PER_M_L_MIN = 9.81 / 60.0  # water: rho g H Q, Q in l/min
_BAR_PER_M = 0.0981
_MOTOR_EFFICIENCY = 0.82
_MAGNETIZING_A = 0.95


class Pump:
    """Physics of one pump."""

    def __init__(self, rng: Random, day_start_s: float) -> None:
        """Build an individual; ``day_start_s`` does not matter to a batch process."""
        self.wear = 0.0
        self._gauss = rng.gauss
        self._valve = Program(rng, _VALVE_STAGES, slew=0.04)
        self._turbulence = Wander(rng, sd=0.006, tau=5.0)
        self._mains = Wander(rng, sd=0.008, tau=120.0)  # relative, moves slip and so the speed a little
        self._head_m = _SHUTOFF_HEAD_M * rng.uniform(0.98, 1.02)

    @property
    def valve_opening(self) -> float:
        """How far the valve is open, 1 is fully."""
        return self._valve.value

    def step(self) -> tuple[float, float, float]:
        """Advance one second; return flow in l/min, discharge pressure in bar, and current in A."""
        gauss, wear = self._gauss, self.wear
        opening = self._valve.step() * (1.0 + self._turbulence.step())
        mains = 1.0 + self._mains.step()
        shutoff_m = self._head_m * (1.0 - 0.28 * wear) * (1.0 + 0.4 * (mains - 1.0))
        resistance = _PIPE_LOSS + _VALVE_LOSS / (opening * opening)
        flow = sqrt((shutoff_m - _STATIC_HEAD_M) / (_PUMP_DROP + resistance))
        head_m = shutoff_m - _PUMP_DROP * flow * flow
        hydraulic_w = _WATTS_PER_M_L_MIN * head_m * flow
        efficiency = _BEST_EFFICIENCY * (1.0 - (flow / _BEST_FLOW_L_MIN - 1.0) ** 2)
        electric_w = hydraulic_w / (efficiency * (1.0 - 0.45 * wear) * _MOTOR_EFFICIENCY)
        active_a = electric_w / (sqrt(3.0) * 400.0 * mains)
        current = sqrt(active_a * active_a + (_MAGNETIZING_A * mains) ** 2)
        return (
            flow + gauss(0.0, 0.35),
            head_m * _BAR_PER_M + gauss(0.0, 0.012),
            current + gauss(0.0, 0.010),
        )


KIND = Kind(
    name="pump",
    period_s=1.0,
    channels=(
        Channel("flow_l_min", 0.1, typical=5.0, low=0.0, high=250.0, bipolar=True),
        Channel("pressure_bar", 0.01, typical=0.12, low=0.0, high=10.0, bipolar=True),
        Channel("current_a", 0.01, typical=0.08, low=0.0, high=20.0, bipolar=True),
    ),
    build=Pump,
    wear_channel="flow_l_min",
)
