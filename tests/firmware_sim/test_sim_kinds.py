"""Physics: reproducible, in range, and coupled as a domain engineer expects."""

from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_sim import KINDS, Device
from firmware_sim.kinds.bearing import Bearing
from firmware_sim.kinds.motor import Motor
from firmware_sim.kinds.pump import Pump
from firmware_sim.kinds.room import saturation_g_m3

Columns = dict[str, NDArray[np.float64]]

# What an engineer would accept as normal: tighter than the sensors' ranges.
PLAUSIBLE: dict[str, dict[str, tuple[float, float]]] = {
    "bearing": {"rms_mm_s": (0.2, 2.8), "kurtosis": (2.5, 4.0), "temperature_c": (30, 65)},
    "pump": {"flow_l_min": (40, 125), "pressure_bar": (2.2, 4.3), "current_a": (1.2, 2.4)},
    "motor": {"current_a": (5, 18), "speed_rpm": (1430, 1500), "winding_c": (35, 100)},
    "room": {"temperature_c": (16, 25), "humidity_pct": (5, 75), "co2_ppm": (400, 1_500)},
    "meter": {"power_w": (60, 6_500), "voltage_v": (215, 245), "current_a": (0.3, 30)},
}


def record(kind: str, rows: int, seed: int = 1, day_start_s: float = 0.0) -> Columns:
    device = Device(kind, seed, day_start_s=day_start_s)
    samples = [device.sample() for _ in range(rows)]
    return {name: np.array([s[name] for s in samples if s]) for name in device.channels}


def test_the_contract_of_names_and_periods() -> None:
    assert {name: (kind.period_s, *(c.name for c in kind.channels)) for name, kind in KINDS.items()} == {
        "bearing": (1.0, "rms_mm_s", "kurtosis", "temperature_c"),
        "pump": (1.0, "flow_l_min", "pressure_bar", "current_a"),
        "motor": (1.0, "current_a", "speed_rpm", "winding_c"),
        "room": (60.0, "temperature_c", "humidity_pct", "co2_ppm"),
        "meter": (10.0, "power_w", "voltage_v", "current_a"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_values(kind: str) -> None:
    first, again, other = Device(kind, 7), Device(kind, 7), Device(kind, 8)
    ours = [first.sample() for _ in range(200)]
    assert ours == [again.sample() for _ in range(200)]
    assert ours != [other.sample() for _ in range(200)]


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_plausible_rounded_and_alive(kind: str) -> None:
    columns = record(kind, 20_000, seed=3)
    for channel in KINDS[kind].channels:
        values = columns[channel.name]
        low, high = PLAUSIBLE[kind][channel.name]
        assert low <= values.min(), channel.name
        assert values.max() <= high, channel.name
        steps = values / channel.resolution
        assert np.allclose(steps, np.round(steps), atol=1e-5)
        changes = np.flatnonzero(np.diff(values))
        assert np.diff(changes).max() <= 15, f"{channel.name} stands still"


@pytest.mark.parametrize("kind", KINDS)
def test_one_typical_is_more_than_the_usual_surprise(kind: str) -> None:
    # One-step surprise of a linear forecaster over 8 samples of all channels.
    columns = record(kind, 6_000, seed=2)
    x = np.column_stack(list(columns.values()))
    past = np.hstack([x[i : len(x) - 8 + i] for i in range(8)] + [np.ones((len(x) - 8, 1))])
    fit, *_ = np.linalg.lstsq(past, x[8:], rcond=None)
    surprise = np.quantile(np.abs(x[8:] - past @ fit), 0.68, axis=0)
    for channel, sd in zip(KINDS[kind].channels, surprise, strict=True):
        assert channel.typical >= sd, channel.name


def test_pump_flow_falls_and_pressure_rises_as_the_valve_closes() -> None:
    pump = Pump(Random(1), 0.0)
    opening, flow, pressure = [], [], []
    for _ in range(2_000):
        values = pump.step()
        opening.append(pump.valve_opening)
        flow.append(values[0])
        pressure.append(values[1])
    assert np.corrcoef(opening, flow)[0, 1] > 0.9
    assert np.corrcoef(flow, pressure)[0, 1] < -0.9


def test_pump_current_follows_hydraulic_power() -> None:
    columns = record("pump", 4_000)
    power = columns["flow_l_min"] * columns["pressure_bar"]
    assert np.corrcoef(power, columns["current_a"])[0, 1] > 0.7


def test_worn_pump_delivers_less_and_draws_more() -> None:
    new, worn = Pump(Random(1), 0.0), Pump(Random(1), 0.0)
    worn.wear = 1.0
    fresh = np.mean([new.step() for _ in range(500)], axis=0)
    tired = np.mean([worn.step() for _ in range(500)], axis=0)
    assert tired[0] < 0.9 * fresh[0]
    assert tired[1] < 0.9 * fresh[1]
    assert tired[2] > 1.1 * fresh[2]


def test_bearing_wear_shows_in_kurtosis_before_rms() -> None:
    def mean_at(wear: float) -> NDArray[np.float64]:
        bearing = Bearing(Random(1), 0.0)
        bearing.wear = wear
        return np.array(np.mean([bearing.step() for _ in range(600)], axis=0))

    new, early, late = mean_at(0.0), mean_at(0.15), mean_at(1.0)
    assert early[1] / new[1] > 1.3 > early[0] / new[0]
    assert late[0] / new[0] > 3.0


def test_bearing_temperature_lags_behind_load() -> None:
    columns = record("bearing", 8_000)
    rms = columns["rms_mm_s"] - columns["rms_mm_s"].mean()
    temperature = columns["temperature_c"] - columns["temperature_c"].mean()
    together = [float(rms[: -lag or None] @ temperature[lag:]) for lag in range(0, 200, 10)]
    assert int(np.argmax(together)) * 10 >= 20


def test_motor_slip_follows_load_and_heat_follows_current() -> None:
    motor = Motor(Random(1), 0.0)
    current, speed, winding = np.array([motor.step() for _ in range(6_000)]).T
    assert np.corrcoef(current, speed)[0, 1] < -0.95
    assert 1_500.0 - 1.2 * 48.0 < speed.min() < speed.max() < 1_500.0
    lags = [float(np.corrcoef(current[:-lag], winding[lag:])[0, 1]) for lag in range(1, 200, 10)]
    assert 1 + 10 * int(np.argmax(lags)) >= 20


def test_room_follows_the_day() -> None:
    columns = record("room", 7 * 1_440)
    hour = np.arange(7 * 1_440) / 60.0 % 24.0
    night, day = (hour > 1) & (hour < 5), (hour > 9) & (hour < 12)
    assert columns["temperature_c"][day].mean() > columns["temperature_c"][night].mean() + 1.0
    assert columns["co2_ppm"][day].mean() > 700.0 > 500.0 > columns["co2_ppm"][night].mean()
    assert saturation_g_m3(20.0) == pytest.approx(17.3, abs=0.1)


def test_a_room_that_starts_at_noon_is_a_room_at_noon() -> None:
    assert record("room", 60, day_start_s=11 * 3600.0)["co2_ppm"].mean() > 700.0


def test_voltage_sags_with_load_at_the_supply_impedance() -> None:
    columns = record("meter", 8_640)
    power, voltage = np.diff(columns["power_w"]), np.diff(columns["voltage_v"])
    switched = np.abs(power) > 1_000.0
    ohm = -(voltage[switched] / (power[switched] / 230.0)).mean()
    assert ohm == pytest.approx(0.55, abs=0.1)
