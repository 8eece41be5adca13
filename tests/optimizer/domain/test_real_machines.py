"""Advice about real machines, fitted on the first half of their traces, replayed on the second."""

from __future__ import annotations

import csv
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from services.optimizer.domain.consolidation import use_class
from services.optimizer.domain.fit import (
    BUSY_RATIO,
    IDLE_MEAN_MAX,
    IDLE_PEAK_MAX,
    Fit,
    fitting_types,
    replay,
    use_statistics,
)
from services.optimizer.domain.rightsizing import is_busy, saving_ratio
from services.optimizer.domain.statistics import UtilizationSamples
from tests.optimizer.domain.real import (
    Machine,
    aws_catalogue,
    current_type,
    machines,
    pods,
)
from tests.support.shared import shared_path

HEADROOM = Decimal("0.2")
LIMIT = 0.8


@pytest.fixture(scope="module")
def real_machines() -> list[Machine]:
    return list(machines(shared_path("vm_utilisation", "bitbrains_rnd_2013-08_5min.parquet")))


def test_every_proposal_keeps_its_headroom_on_the_second_half(
    real_machines: list[Machine],
) -> None:
    catalogue = aws_catalogue(shared_path("instance_catalogue", "aws_ec2_instances_prices.csv"))
    proposals = busy = broken = hours = 0
    damage = 0.0
    saved = Decimal(0)

    for machine in real_machines:
        current = current_type(machine, catalogue)
        own = replace(current, vcpus=machine.cores, memory_gib=machine.memory_gib)
        found = {name: use_statistics(one) for name, one in machine.half(is_first=True).items()}
        use = {name: one for name, one in found.items() if one is not None}
        if is_busy(use):
            busy += 1
            continue
        fits = fitting_types(use, own, catalogue, headroom=HEADROOM)
        best: Fit | None = next(iter(fits), None)
        if best is None or best.instance.hourly_price >= current.hourly_price:
            continue
        proposals += 1
        later = machine.half(is_first=False)
        cpu = replay(later["cpu"].ratios, current=machine.cores, proposed=best.instance.vcpus)
        memory = replay(
            later["memory"].ratios, current=machine.memory_gib, proposed=best.instance.memory_gib
        )
        broken += cpu[0] > LIMIT or memory[0] > LIMIT
        damage = max(damage, cpu[1], memory[1])
        hours += 720
        saved += (current.hourly_price - best.instance.hourly_price) * 720
        price = current.hourly_price * 720
        assert round(price * saving_ratio(current, best.instance), 2) == round(
            (current.hourly_price - best.instance.hourly_price) * 720, 2
        )

    print(  # noqa: T201 - the figure is what the test is for
        f"{len(real_machines)} machines: {proposals} proposals, {busy} busy and left alone, "
        f"{broken} above the headroom on the second half, worst share of samples above the whole "
        f"capacity {damage:.2%}, {saved} USD saved in {hours} machine hours"
    )
    assert proposals >= 25
    assert broken == 0
    assert damage < 0.01


def test_every_machine_above_eighty_percent_is_left_alone(real_machines: list[Machine]) -> None:
    above = untouched = samples_above = 0
    for machine in real_machines:
        samples = UtilizationSamples(machine.name, "cpu", machine.hours, machine.cpu)
        use = use_statistics(samples)
        assert use is not None
        samples_above += use.above_capacity_count
        if np.percentile(machine.cpu, 95) > BUSY_RATIO:
            above += 1
            untouched += is_busy({"cpu": use})

    print(f"{above} above 80 %, {untouched} untouched, {samples_above} samples above capacity")  # noqa: T201
    assert above == untouched == 5
    assert samples_above > 0


def test_every_idle_machine_is_found(real_machines: list[Machine]) -> None:
    found = expected = 0
    for machine in real_machines:
        use = use_statistics(UtilizationSamples(machine.name, "cpu", machine.hours, machine.cpu))
        assert use is not None
        found += use.is_idle
        expected += machine.cpu.mean() < 0.01 and machine.cpu.max() < 0.05

    print(f"{found} idle of {expected}: mean below 1 %, maximum below 5 %, at least 7 days")  # noqa: T201
    assert found == expected > 0


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


def test_gpu_pods_that_idle_or_hardly_work_are_told_from_the_busy_ones() -> None:
    counts: dict[str, int] = {}
    wrong = quiet = 0
    for pod in pods(shared_path("vm_utilisation", "alibaba_gentd26_gpu_pods.parquet")):
        samples = UtilizationSamples(pod.name, "gpu", pod.hours, pod.gpu)
        use = use_statistics(samples)
        kind = use_class({} if use is None else {"gpu": use})
        counts[kind] = counts.get(kind, 0) + 1
        known = pod.gpu[~np.isnan(pod.gpu)]
        if known.size and np.percentile(known, 95) >= 0.6:
            wrong += kind != "busy"
        quiet += bool(known.size and known.mean() < 0.01 and known.max() < 0.05)

    print(f"GPU pods: {counts}; busy ones touched: {wrong}")  # noqa: T201
    assert wrong == 0
    assert counts["busy"] == 12
    assert counts["under_used"] + counts["idle"] == 60
    assert counts["idle"] == quiet > 0
