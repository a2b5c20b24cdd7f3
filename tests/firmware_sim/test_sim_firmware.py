"""Each habit of firmware has the effect it states; without habits nothing happens to a stream."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from firmware_sim.firmware import MESSY, Emission, Firmware, Habits

CLEAN = Habits(jitter=0.0)
START = 1_700_000_000.0


def run(habits: Habits, samples: int = 500, seed: int = 1) -> list[Emission]:
    firmware = Firmware(habits, seed, 1.0, START)
    sent = []
    for index in range(samples):
        sent += firmware.handle(float(index), float(index), {"x": float(index)})
    return sent + firmware.close(float(samples))


def seqs(sent: Sequence[Emission]) -> list[int]:
    return [json.loads(e.payload)["seq"] for e in sent if e.leaf == "telemetry"]


def test_clean_is_clean() -> None:
    sent = run(CLEAN)
    assert [emission.at_s for emission in sent] == [float(i) for i in range(500)]
    assert sent[3].payload == b'{"t":1700000003.0,"seq":3,"x":3.0}'
    assert seqs(sent) == list(range(500))


def test_jitter_delays_and_keeps_the_order() -> None:
    sent = run(replace(CLEAN, jitter=0.3))
    delays = [emission.at_s - index for index, emission in enumerate(sent)]
    assert all(0.0 <= delay < 1.0 for delay in delays)
    assert max(delays) > 0.3
    assert sorted(e.at_s for e in sent) == [e.at_s for e in sent]


def test_clock_drift_shows_in_stamps_alone() -> None:
    firmware = Firmware(replace(CLEAN, drift_ppm=50.0), 3, 1.0, START)
    drift_s = firmware.stamp(100_000.0) - START - 100_000.0
    assert 0.05 < abs(drift_s) < 20.0
    (sent,) = firmware.handle(5.0, 100_000.0, {"x": 1.0})
    assert sent.at_s == 5.0


def test_duplicates_are_equal_bytes() -> None:
    sent = run(replace(CLEAN, duplicate=0.1))
    twice = [a for a, b in pairwise(sent) if a.payload == b.payload]
    assert 20 < len(twice) < 100
    assert sorted(set(seqs(sent))) == list(range(500))


def test_reorder_swaps_neighbors_and_loses_none() -> None:
    order = seqs(run(replace(CLEAN, reorder=0.1)))
    assert sorted(order) == list(range(500))
    assert order != sorted(order)
    assert max(abs(seq - place) for place, seq in enumerate(order)) == 1


def test_outage_is_flushed_late_and_in_order() -> None:
    sent = run(replace(CLEAN, outage=0.01))
    assert seqs(sent) == list(range(500))
    lateness = [emission.at_s - index for index, emission in enumerate(sent)]
    assert max(lateness) >= 4.0
    assert sorted(e.at_s for e in sent) == [e.at_s for e in sent]


def test_reboot_leaves_a_gap_and_starts_seq_again() -> None:
    sent = run(replace(CLEAN, reboot=0.01))
    boots = [json.loads(e.payload) for e in sent if e.leaf == "boot"]
    assert boots
    assert [boot["boots"] for boot in boots] == list(range(1, len(boots) + 1))
    assert all(boot["uptime_s"] > 0.0 for boot in boots[:1])
    after = next(i for i, e in enumerate(sent) if e.leaf == "boot")
    before, first = json.loads(sent[after - 1].payload), json.loads(sent[after + 1].payload)
    assert first["seq"] == 0
    assert first["t"] - before["t"] >= 3.0


def test_silence_sends_nothing_and_shows_in_seq() -> None:
    firmware = Firmware(CLEAN, 1, 1.0, START)
    assert firmware.handle(0.0, 0.0, None) == []
    (sent,) = firmware.handle(1.0, 1.0, {"x": 1.0})
    assert json.loads(sent.payload)["seq"] == 1


def test_mishaps_are_reproducible() -> None:
    wild = replace(MESSY, reboot=0.01, outage=0.01, duplicate=0.05, reorder=0.05)
    assert run(wild, 2_000) == run(wild, 2_000)
    assert run(wild, 2_000) != run(wild, 2_000, seed=2)
