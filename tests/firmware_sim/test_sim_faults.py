"""A fault changes what it says, when it says, and only that."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from firmware_sim import FAULT_KINDS, KINDS, Device, Fault
from firmware_sim.faults import DEFAULT_MAGNITUDE, FaultKind
from firmware_sim.plan import FaultPlan, parse_fault
from firmware_sim.tables import write_csv

START, LENGTH, END = 100, 80, 300
ON_CHANNEL: tuple[FaultKind, ...] = ("spike", "drift", "stuck", "level_shift", "noise")


def run(kind: str, *faults: Fault) -> list[dict[str, float] | None]:
    device = Device(kind, 1, faults)
    return [device.sample() for _ in range(END)]


def fault_on(kind: str, channel: str | None, fault: FaultKind, length: int = LENGTH) -> Fault:
    period_s = KINDS[kind].period_s
    return Fault(fault, channel, START * period_s, length * period_s, DEFAULT_MAGNITUDE[fault])


@pytest.mark.parametrize("fault", ON_CHANNEL)
@pytest.mark.parametrize(("kind", "channel"), [(kind.name, c.name) for kind in KINDS.values() for c in kind.channels])
def test_only_the_channel_and_only_the_time(kind: str, channel: str, fault: FaultKind) -> None:
    normal, faulty = run(kind), run(kind, fault_on(kind, channel, fault))
    changed = 0
    for index, (before, after) in enumerate(zip(normal, faulty, strict=True)):
        assert before is not None
        assert after is not None
        different = {name for name in before if before[name] != after[name]}
        if START <= index < START + LENGTH:
            assert different <= {channel}
            changed += bool(different)
        else:
            assert not different
    assert changed > LENGTH // 2


def values_of(channel: str, samples: list[dict[str, float] | None]) -> list[float]:
    return [sample[channel] for sample in samples if sample]


def test_level_shift_adds_its_magnitude_in_typicals() -> None:
    typical = KINDS["pump"].channels[0].typical
    normal = values_of("flow_l_min", run("pump"))
    shifted = values_of("flow_l_min", run("pump", fault_on("pump", "flow_l_min", "level_shift")))
    assert shifted[START] - normal[START] == pytest.approx(5.0 * typical, abs=0.11)


def test_drift_starts_at_nothing_and_grows() -> None:
    normal = values_of("flow_l_min", run("pump"))
    drifted = values_of("flow_l_min", run("pump", fault_on("pump", "flow_l_min", "drift")))
    gap = [b - a for a, b in zip(normal, drifted, strict=True)]
    assert gap[START] == pytest.approx(0.0, abs=0.11)
    assert gap[START + LENGTH // 2] == pytest.approx(15.0, abs=0.5)
    assert gap[START + LENGTH - 1] > 29.0


def test_stuck_repeats_the_last_value_exactly() -> None:
    stuck = values_of("flow_l_min", run("pump", fault_on("pump", "flow_l_min", "stuck")))
    assert set(stuck[START - 1 : START + LENGTH]) == {stuck[START - 1]}
    assert stuck[START + LENGTH] != stuck[START - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_silence(kind: str) -> None:
    normal, faulty = run(kind), run(kind, fault_on(kind, None, "dropout"))
    assert faulty[START : START + LENGTH] == [None] * LENGTH
    assert faulty[:START] == normal[:START]
    assert faulty[START + LENGTH :] == normal[START + LENGTH :]


@pytest.mark.parametrize(("kind", "sign"), [("bearing", 1), ("pump", -1), ("motor", 1)])
def test_wear_acts_on_physics_and_grows(kind: str, sign: int) -> None:
    channel = KINDS[kind].wear_channel
    assert channel is not None
    normal = values_of(channel, run(kind))
    worn = values_of(channel, run(kind, fault_on(kind, channel, "wear")))
    gap = [sign * (b - a) for a, b in zip(normal, worn, strict=True)]
    assert gap[:START] == [0.0] * START
    early, late = sum(gap[START : START + 20]), sum(gap[START + LENGTH - 20 : START + LENGTH])
    assert late > 4.0 * abs(early)
    assert late / 20 > 2.0 * KINDS[kind].channels[KINDS[kind].channel_index(channel)].typical


def test_wear_without_a_model_acts_on_the_channel() -> None:
    normal, worn = run("room"), run("room", fault_on("room", "co2_ppm", "wear"))
    gap = values_of("co2_ppm", worn)[START + LENGTH - 1] - values_of("co2_ppm", normal)[START + LENGTH - 1]
    assert gap > 400.0


def test_begun_tells_each_fault_once() -> None:
    faults = [fault_on("pump", "flow_l_min", "drift"), fault_on("pump", None, "dropout")]
    device = Device("pump", 1, faults)
    told = []
    for index in range(END):
        device.sample()
        told += [(index, fault.kind) for fault in device.begun]
    assert sorted(told) == [(START, "drift"), (START, "dropout")]


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Fault("spike", None, 0.0, 1.0, 8.0),
        lambda: Fault("dropout", "flow_l_min", 0.0, 1.0, 0.0),
        lambda: Fault("stuck", "flow_l_min", 0.0, 0.0, 0.0),
        lambda: Device("pump", 1, [Fault("stuck", "co2_ppm", 0.0, 1.0, 0.0)]),
        lambda: Fault("wear", "flow_l_min", 0.0, 1.0, -1.0),
        lambda: Device("toaster", 1),
    ],
)
def test_nonsense_is_refused(bad: object) -> None:
    assert callable(bad)
    with pytest.raises(ValueError, match=r"."):
        bad()


def test_one_each_deals_out_all_kinds_within_the_window() -> None:
    plan = FaultPlan("one-each", after_s=20.0, before_s=40.0, end_s=60.0)
    seen = set()
    for number in range(len(FAULT_KINDS)):
        (fault,) = plan.faults(KINDS["pump"], number, 10.0, Random(number))
        seen.add(fault.kind)
        assert 200.0 <= fault.start_s <= 401.0
        assert fault.end_s <= 601.0
        if fault.kind == "dropout":
            assert fault.duration_s >= 100.0  # 10 wall seconds at speed 10
    assert seen == set(FAULT_KINDS)


def test_random_faults_do_not_overlap() -> None:
    faults = FaultPlan("random", before_s=50_000.0).faults(KINDS["pump"], 0, 1.0, Random(1))
    assert len(faults) > 20
    assert all(a.end_s <= b.start_s for a, b in pairwise(faults))


def test_faulty_csv_and_its_truth(tmp_path: Path) -> None:
    kind = KINDS["pump"]
    texts = ["stuck:pressure_bar:100:20", "dropout::200:30", "spike"]
    faults = [parse_fault(text, kind, 50.0, Random(1)) for text in texts]
    truth = write_csv(tmp_path / "a.csv", "pump", 1, 400, faults)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "timestamp,flow_l_min,pressure_bar,current_a"
    assert lines[1].startswith("2025-01-01T00:00:00.000Z,")
    assert len(lines) == 1 + 400 - 30
    assert [entry["fault"] for entry in truth] == ["spike", "stuck", "dropout"]
    assert truth[1]["start_iso"] == "2025-01-01T00:01:40.000Z"
    assert truth[1]["end"] == 1735689600.0 + 120.0
    assert len({line.split(",")[2] for line in lines[100:121]}) == 1
