"""What detectors leave alone, and what they claim."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.optimizer.domain.detectors import PROFILES, detect
from services.optimizer.domain.finding import Finding
from services.optimizer.domain.statistics import Floats, UsageSeries, UtilizationSamples
from services.optimizer.domain.tariff import PeakSchedule
from tests.optimizer.domain.making import (
    CATALOGUE,
    DAYS,
    HOURS,
    samples,
    series,
    statistics,
    weekday_hours,
)
from tests.optimizer.domain.planting import WORK, tariff

WEEKDAY, HOUR = weekday_hours()
BUSY = np.full(HOURS, 0.6)
REST = np.where(WORK, 0.6, 0.01)


def found_by(
    detector_id: str,
    members: list[UsageSeries],
    utilization: list[UtilizationSamples],
    **changed: Any,
) -> list[Finding]:
    known = statistics(members, utilization=utilization, catalogue=CATALOGUE, **changed)
    return detect(known, {}, detector_ids=[detector_id])


def machine(
    number: int = 1, name: str = "one", price: float = 0.4, *, tags: dict[str, str] | None = None
) -> UsageSeries:
    tags = {"instance_type": "m.xl"} | (tags or {})
    cost = np.full(HOURS, price)
    return series(number, cost, resource_id=name, provider="acme", region="eu", tags=tags)


def cut(one: UtilizationSamples, kept: NDArray[np.bool_]) -> UtilizationSamples:
    return one._replace(hours=one.hours[kept], ratios=one.ratios[kept])


def test_a_machine_whose_gpu_works_at_night_is_not_switched_off() -> None:
    cpu = samples("one", REST)

    assert found_by("shutdown", [machine()], [cpu])
    assert not found_by("shutdown", [machine()], [cpu, samples("one", BUSY, measure="gpu")])


@pytest.mark.parametrize(
    "tags", [{"Environment": "production-eu"}, {"env": "PRD"}, {"stage": "live"}, {"tier": "prod1"}]
)
def test_production_under_any_of_its_names_never_sleeps(tags: dict[str, str]) -> None:
    cpu = samples("one", REST)

    assert not found_by("shutdown", [machine(tags=tags)], [cpu])
    assert found_by("shutdown", [machine(tags=dict.fromkeys(tags, "develop"))], [cpu])


def test_samples_that_ended_or_are_two_say_nothing_of_today() -> None:
    quiet = samples("one", np.full(HOURS, 0.002))
    hours = np.arange(HOURS)

    assert found_by("idle", [machine()], [quiet])
    assert not found_by("idle", [machine()], [cut(quiet, hours < HOURS - 200)])
    assert not found_by("idle", [machine()], [cut(quiet, (hours == 0) | (hours == HOURS - 1))])
    part = samples("one", np.full(HOURS, 0.2))
    memory = samples("one", np.full(HOURS, 0.2), measure="memory")
    assert found_by("rightsizing", [machine()], [part, memory])
    assert not found_by("rightsizing", [machine()], [cut(part, hours < HOURS - 200), memory])


def test_amounts_of_several_currencies_compare_in_the_tenants_own() -> None:
    def idle(number: int, name: str, price: float, code: str) -> UsageSeries:
        one = machine(number, name, price)
        return replace(one, subject=one.subject._replace(currency_code=code))

    members = [idle(1, "dollars", 0.2, "USD"), idle(2, "yen", 10.0, "JPY"), idle(3, "x", 9, "XXX")]
    quiet = [samples(name, np.full(HOURS, 0.002)) for name in ("dollars", "yen", "x")]
    known = statistics(members, utilization=quiet, exchange={"JPY": Decimal("0.0064")})
    least = replace(PROFILES["idle"].defaults(), saving_min=Decimal(100))

    found = detect(known, {}, detector_ids=["idle"])
    large = detect(known, {"idle": least}, detector_ids=["idle"])

    # 7,305 yen are 46.75 dollars, less than 146.10; what no rate tells of is told, and comes last.
    assert [one.key for one in found] == ["dollars", "yen", "x"]
    assert [round(one.worth, 2) for one in found] == [Decimal("146.10"), Decimal("46.75"), 0]
    assert [one.key for one in large] == ["dollars", "x"]


def test_every_detector_waits_for_the_history_that_its_owner_asks_for() -> None:
    quiet = samples("one", np.full(HOURS, 0.002))
    known = statistics([machine()], utilization=[quiet], catalogue=CATALOGUE)
    settings = {"idle": PROFILES["idle"].defaults()}

    assert detect(known, settings, detector_ids=["idle"])
    object.__setattr__(settings["idle"], "history_days_min", DAYS + 1)
    assert not detect(known, settings, detector_ids=["idle"])


def fleet(use: Floats, **others: Floats) -> tuple[list[UsageSeries], list[UtilizationSamples]]:
    names = [f"m-{number}" for number in range(4)]
    members = [machine(number, name, tags={"fleet": "web"}) for number, name in enumerate(names, 1)]
    measured = [samples(name, use) for name in names]
    for measure, ratios in others.items():
        measured += [samples(name, ratios, measure=measure) for name in names]
    return members, measured


def test_a_fleet_whose_memory_or_gpu_is_busy_keeps_its_machines() -> None:
    wave = np.where(WORK, 0.66, 0.1)

    assert found_by("scaling", *fleet(wave))
    assert found_by("scaling", *fleet(wave, memory=np.full(HOURS, 0.4)))
    assert not found_by("scaling", *fleet(wave, memory=np.full(HOURS, 0.75)))
    assert not found_by("scaling", *fleet(wave, gpu=np.full(HOURS, 0.66)))


def test_a_fleet_that_is_to_be_all_headroom_is_left_alone() -> None:
    members, measured = fleet(np.where(WORK, 0.66, 0.1))
    settings = PROFILES["scaling"].defaults()
    object.__setattr__(settings, "headroom", Decimal(1))
    known = statistics(members, utilization=measured, catalogue=CATALOGUE)

    assert not detect(known, {"scaling": settings}, detector_ids=["scaling"])


def test_a_pool_is_packed_onto_its_cheapest_and_only_with_known_memory() -> None:
    prices = {"a": 0.5, "b": 0.3, "c": 0.4}
    pool = [
        machine(number, name, price, tags={"pool": "tools"})
        for number, (name, price) in enumerate(prices.items(), 1)
    ]
    cpu = [samples(name, np.full(HOURS, 0.1)) for name in prices]
    memory = [samples(name, np.full(HOURS, 0.15), measure="memory") for name in prices]

    (one,) = found_by("consolidation", pool, [*cpu, *memory])

    services: Any = one.detail["services"]
    moves = {(pair["from_service"], pair["to_service"]) for pair in services["pairs"]}
    assert moves == {("a", "b"), ("c", "b")}
    assert not found_by("consolidation", pool, cpu)


def test_what_stops_or_shrinks_claims_no_disk() -> None:
    disk = series(2, np.full(HOURS, 0.2), resource_id="one", unit="gb", region="eu")
    rest, part = samples("one", REST), samples("one", np.full(HOURS, 0.2))
    memory = samples("one", np.full(HOURS, 0.2), measure="memory")

    for detector_id, use in (("shutdown", rest), ("rightsizing", part)):
        (alone,) = found_by(detector_id, [machine()], [use, memory])
        (both,) = found_by(detector_id, [machine(), disk], [use, memory])
        assert both.saving.expected == alone.saving.expected
        assert [each.series_id for each in both.parts] == [1]


def test_a_bill_told_once_a_day_is_shared_by_the_clock() -> None:
    midnight = HOUR == 0
    hourly = machine()
    daily = series(1, midnight * 9.6, resource_id="one", tags={"instance_type": "m.xl"})
    use = samples("one", REST)

    (by_hour,) = found_by("shutdown", [hourly], [use])
    (by_day,) = found_by("shutdown", [daily], [use])

    assert abs(by_day.saving.expected - by_hour.saving.expected) < Decimal("0.01")


def test_work_told_once_a_day_pays_its_peaks_by_the_clock() -> None:
    peaks = {day * 24 + hour: Decimal(2) for day in range(7) for hour in range(12)}
    schedule = PeakSchedule("day", peaks)
    price = tariff("hour", "1", resource_type="etl", peak_schedule_id="day")
    midnight = series(1, (HOUR == 0) * 24.0, resource_type="etl", tags={"workload": "etl"})

    (one,) = found_by("scheduling", [midnight], [], tariffs=[price], schedules={"day": schedule})

    # Half of the day is at twice the price, and half of that is saved.
    assert abs(one.saving.expected / one.monthly_cost - Decimal("0.25")) < Decimal("0.001")


def test_nobody_is_bound_for_what_sleeps_or_follows_the_day() -> None:
    assert found_by("commitments", [machine()], [samples("one", BUSY)])
    assert not found_by("commitments", [machine()], [samples("one", REST)])
    assert not found_by("commitments", [machine(tags={"fleet": "web"})], [samples("one", BUSY)])
