"""Advice about real machines, fitted on the first half of their traces, replayed on the second.

The detectors themselves run, over statistics made of the traces: every machine is paid by the hour
at the price of the cheapest type it fits into, as a type of its own size beside the catalogue.
"""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest

from services.optimizer.domain.detectors import PROFILES, detect
from services.optimizer.domain.finding import Finding, Kind
from services.optimizer.domain.fit import (
    BUSY_RATIO,
    IDLE_MEAN_MAX,
    IDLE_PEAK_MAX,
    replay,
    use_statistics,
)
from services.optimizer.domain.statistics import MONTH_DAYS, Statistics, UtilizationSamples
from tests.optimizer.domain.real import (
    Machine,
    aws_catalogue,
    hosted,
    machines,
    pods,
    rented,
)
from tests.support.shared import shared_path

LIMIT = 1 - float(PROFILES["rightsizing"].headroom)
MONTH_HOURS = MONTH_DAYS * 24
CENT = Decimal("0.01")


class Advised(NamedTuple):
    """The machines with what the detectors say of them, by name."""

    machines: dict[str, Machine]
    statistics: Statistics
    findings: dict[str, Finding]


@pytest.fixture(scope="module")
def real_machines() -> list[Machine]:
    return list(machines(shared_path("vm_utilisation", "bitbrains_rnd_2013-08_5min.parquet")))


def advised(known: list[Machine], *, is_half: bool) -> Advised:
    catalogue = aws_catalogue(shared_path("instance_catalogue", "aws_ec2_instances_prices.csv"))
    statistics = hosted(known, catalogue, is_half=is_half)
    found = detect(statistics, {}, detector_ids=["idle", "rightsizing"])
    return Advised(
        {one.name: one for one in known},
        statistics,
        {one.scope.resource_ids[0]: one for one in found},
    )


@pytest.fixture(scope="module")
def first_half(real_machines: list[Machine]) -> Advised:
    return advised(real_machines, is_half=True)


@pytest.fixture(scope="module")
def whole(real_machines: list[Machine]) -> Advised:
    return advised(real_machines, is_half=False)


def smaller(found: Advised) -> dict[str, Any]:
    """Returns by machine the detail of each proposal of another type."""
    return {
        name: one.detail["rightsizing"]
        for name, one in found.findings.items()
        if one.kind is Kind.RIGHTSIZING
    }


def test_every_proposal_keeps_its_headroom_on_the_second_half(first_half: Advised) -> None:
    proposals = smaller(first_half)
    broken = 0
    damage = 0.0

    for name, detail in proposals.items():
        machine = first_half.machines[name]
        later = machine.half(is_first=False)
        there = first_half.statistics.catalogue.find(detail["proposed_type"], "us-east-1")
        assert there is not None
        cpu = replay(later["cpu"].ratios, current=machine.cores, proposed=there.vcpus)
        memory = replay(
            later["memory"].ratios, current=machine.memory_gib, proposed=there.memory_gib
        )
        broken += cpu[0] > LIMIT or memory[0] > LIMIT
        damage = max(damage, cpu[1], memory[1])

    print(  # noqa: T201 - the figure is what the test is for
        f"{len(first_half.machines)} machines: {len(proposals)} proposals, {broken} above the "
        f"headroom on the second half, worst share of samples above the whole capacity {damage:.2%}"
    )
    assert len(proposals) >= 25
    assert broken == 0
    assert damage < 0.01


def test_a_saving_is_the_price_difference_times_the_hours_to_the_cent(first_half: Advised) -> None:
    total = Decimal(0)
    for name, detail in smaller(first_half).items():
        now, then = (
            Decimal(detail[f"{which}_hourly_price"]["amount"]) for which in ("current", "proposed")
        )
        saving = first_half.findings[name].saving.expected
        assert round(saving, 2) == round((now - then) * MONTH_HOURS, 2), name
        total += saving

    print(f"{total:.2f} USD a month, over {MONTH_HOURS} hours")  # noqa: T201
    assert total > 0


def test_every_machine_above_eighty_percent_is_left_alone(
    first_half: Advised, whole: Advised
) -> None:
    above = [
        name
        for name, machine in whole.machines.items()
        if np.percentile(machine.cpu, 95) > BUSY_RATIO
    ]

    print(f"{len(above)} above 80 %: {above}")  # noqa: T201
    assert len(above) == 5
    assert not set(above) & whole.findings.keys()
    assert not set(above) & first_half.findings.keys()


def test_every_idle_machine_is_found_and_no_other(whole: Advised) -> None:
    idle = {
        name
        for name, machine in whole.machines.items()
        if machine.cpu.mean() < IDLE_MEAN_MAX and machine.cpu.max() < IDLE_PEAK_MAX
    }
    memory_holders = {name for name in idle if np.percentile(whole.machines[name].memory, 95) > 0.9}
    found = {name for name, one in whole.findings.items() if one.kind is Kind.IDLE_RESOURCE}

    print(  # noqa: T201
        f"{len(found)} idle of {len(idle)}: mean below 1 %, maximum below 5 %, at least 7 days"
    )
    assert idle
    assert found >= idle - memory_holders
    abandoned = found - idle
    for name in abandoned:
        reason: Any = whole.findings[name].detail["rightsizing"]
        assert "14 days" in reason["idle_reason"]


def test_samples_above_capacity_count_as_they_are(whole: Advised) -> None:
    passed = {}
    for name, machine in whole.machines.items():
        use = use_statistics(UtilizationSamples(machine.name, "cpu", machine.hours, machine.cpu))
        assert use is not None
        assert use.maximum == pytest.approx(machine.cpu.max())
        assert use.above_capacity_count == int((machine.cpu > 1).sum())
        if use.above_capacity_count:
            passed[name] = use.above_capacity_count

    print(f"samples above capacity by machine: {passed}")  # noqa: T201
    assert sum(passed.values()) > 10_000
    # Cut off at capacity they would make a machine look as if it had room.
    assert not passed.keys() & whole.findings.keys()


def test_the_definition_of_idle_finds_41_of_250_machines() -> None:
    summary = shared_path("vm_utilisation", "bitbrains_rnd_2013-08_vm_summary_shared.csv")
    with summary.open() as file:
        found = [
            row["vm_id"]
            for row in csv.DictReader(file)
            if float(row["cpu_mean_pct"]) / 100 < IDLE_MEAN_MAX
            and float(row["cpu_max_pct"]) / 100 < IDLE_PEAK_MAX
        ]

    assert len(found) == 41


def test_idle_and_under_used_gpu_pods_are_found_and_no_busy_one_is_touched() -> None:
    known = list(pods(shared_path("vm_utilisation", "alibaba_gentd26_gpu_pods.parquet")))
    found: dict[Kind, set[str]] = {Kind.IDLE_RESOURCE: set(), Kind.RIGHTSIZING: set()}
    for one in detect(rented(known), {}):
        found.setdefault(one.kind, set()).update(one.scope.resource_ids)
    idle, under_used, busy = set(), set(), set()
    for pod in known:
        use = pod.gpu[~np.isnan(pod.gpu)]
        if use.mean() < IDLE_MEAN_MAX and use.max() < IDLE_PEAK_MAX:
            idle.add(pod.name)
        elif np.percentile(use, 95) <= 0.35:
            under_used.add(pod.name)
        elif np.percentile(use, 95) >= 0.6:
            busy.add(pod.name)

    print(f"{len(idle)} idle, {len(under_used)} under-used, {len(busy)} busy of {len(known)}")  # noqa: T201
    assert (len(idle), len(under_used), len(busy)) == (5, 55, 12)
    assert found[Kind.IDLE_RESOURCE] == idle
    assert found[Kind.RIGHTSIZING] == under_used
    assert not busy & set().union(*found.values())
