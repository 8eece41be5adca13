"""Growth and the capacity outlook are right on series whose answer is known."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.period import Period, zone
from services.usage.domain.analytics import HourlyUsage, usage_totals
from services.usage.domain.trend import Growth, capacity_outlook, growth

START = datetime(2025, 6, 2, tzinfo=UTC)
UTC_ZONE = zone("UTC")
NOTHING = usage_totals([])


def days(count: int) -> Period:
    return Period(START, START + timedelta(days=count))


def at(day: int, hour: int = 12) -> datetime:
    return START + timedelta(days=day, hours=hour)


def grown(quantities: list[float], period: Period | None = None) -> Growth:
    rows = [
        HourlyUsage(at(day), quantity=Decimal(str(quantity)), billed_cost=Decimal(1))
        for day, quantity in enumerate(quantities)
    ]
    return growth(
        rows, usage_totals(rows), NOTHING, period=period or days(len(quantities)), tz=UTC_ZONE
    )


def sampled(day: int, hour: int, utilization: float, capacity: int = 100) -> HourlyUsage:
    return HourlyUsage(
        at(day, hour),
        utilization_sum=utilization * 2,
        utilization_samples=2,
        capacity_sum=Decimal(capacity * 2),
        capacity_samples=2,
    )


def test_a_period_is_compared_with_the_one_before() -> None:
    now = usage_totals([HourlyUsage(START, quantity=Decimal(12), billed_cost=Decimal(5))])
    before = usage_totals([HourlyUsage(START, quantity=Decimal(10), billed_cost=Decimal(10))])

    compared = growth([], now, before, period=days(1), tz=UTC_ZONE)
    alone = growth([], now, NOTHING, period=days(1), tz=UTC_ZONE)

    assert compared.quantity_change_ratio == pytest.approx(0.2)
    assert compared.cost_change_ratio == pytest.approx(-0.5)
    assert (alone.quantity_change_ratio, alone.cost_change_ratio) == (None, None)


def test_a_straight_line_has_its_slope() -> None:
    rising = grown([100 + 2 * day for day in range(10)])
    falling = grown([100 - 2 * day for day in range(20)])

    assert rising.daily_growth_ratio == pytest.approx(2 / 109)
    assert falling.daily_growth_ratio == pytest.approx(-2 / 81)


def test_weekends_and_one_wild_day_are_no_trend() -> None:
    week = [100.0, 100, 100, 100, 100, 10, 10]
    wild = week * 4
    wild[9] = 10_000

    assert grown(week * 4).daily_growth_ratio == pytest.approx(0)
    assert grown(wild).daily_growth_ratio == pytest.approx(0)


def test_too_short_or_empty_a_period_has_no_trend() -> None:
    assert grown([1, 2, 3, 4, 5, 6]).daily_growth_ratio is None
    assert grown([0] * 10).daily_growth_ratio is None


def test_days_cut_by_the_period_do_not_count() -> None:
    cut = Period(START + timedelta(hours=1), START + timedelta(days=7, hours=23))

    # The first and the last day are cut, which leaves six.
    assert grown([5] * 8, cut).daily_growth_ratio is None
    assert grown([5] * 8).daily_growth_ratio == pytest.approx(0)


def test_demand_that_grows_steadily_reaches_capacity_when_it_must() -> None:
    # The busiest hour uses 50 % on the first day and 1 % more each day: 79 % on the thirtieth.
    rows = [sampled(day, hour, 0.2) for day in range(30) for hour in (3, 4)]
    rows += [sampled(day, 12, 0.50 + 0.01 * day) for day in range(30)]

    outlook = capacity_outlook(rows, days(30), UTC_ZONE)

    assert outlook is not None
    assert outlook.capacity == 100
    assert outlook.utilization == pytest.approx(
        (0.2 * 14 + sum(0.73 + 0.01 * n for n in range(7))) / 21
    )
    assert (
        outlook.days_until_full_low,
        outlook.days_until_full,
        outlook.days_until_full_high,
    ) == (21, 21, 21)


def test_the_interval_widens_with_noise_and_holds_the_estimate() -> None:
    noise = random.Random(7)
    rows = [sampled(day, 12, 0.50 + 0.005 * day + noise.uniform(-0.05, 0.05)) for day in range(30)]

    outlook = capacity_outlook(rows, days(30), UTC_ZONE)

    assert outlook is not None
    low, middle, high = (
        outlook.days_until_full_low,
        outlook.days_until_full,
        outlook.days_until_full_high,
    )
    assert low is not None
    assert middle is not None
    assert high is not None
    assert low < middle < high


def test_full_is_now_and_flat_is_never() -> None:
    full = capacity_outlook([sampled(day, 12, 1.0) for day in range(10)], days(10), UTC_ZONE)
    flat = capacity_outlook([sampled(day, 12, 0.5) for day in range(10)], days(10), UTC_ZONE)

    assert full is not None
    assert full.days_until_full == 0
    assert flat is not None
    assert (flat.days_until_full_low, flat.days_until_full) == (None, None)


def test_capacity_that_was_raised_lately_is_what_counts() -> None:
    rows = [sampled(day, 12, 0.9, 100) for day in range(10)]
    rows += [sampled(day, 12, 0.45, 200) for day in range(10, 20)]

    outlook = capacity_outlook(rows, days(20), UTC_ZONE)

    assert outlook is not None
    assert outlook.capacity == 200
    assert outlook.days_until_full is None


def test_few_days_give_the_present_state_without_an_outlook() -> None:
    outlook = capacity_outlook([sampled(day, 12, 0.9) for day in range(6)], days(6), UTC_ZONE)

    assert outlook is not None
    assert outlook.utilization == pytest.approx(0.9)
    assert outlook.days_until_full is None


def test_usage_without_capacity_has_no_outlook() -> None:
    assert capacity_outlook([], days(30), UTC_ZONE) is None
    assert capacity_outlook([HourlyUsage(START, events=1)], days(30), UTC_ZONE) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_interval_is_always_in_order(utilizations: list[float]) -> None:
    rows = [sampled(day, 12, share) for day, share in enumerate(utilizations)]

    outlook = capacity_outlook(rows, days(len(utilizations)), UTC_ZONE)

    assert outlook is not None
    never = 10**6
    low, middle, high = (
        never if each is None else each
        for each in (
            outlook.days_until_full_low,
            outlook.days_until_full,
            outlook.days_until_full_high,
        )
    )
    assert 0 <= low <= middle <= high
