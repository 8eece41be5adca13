"""Periods and their parts: every second counted once, months of any length, zones, 31sts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.billing_period import BillingCalendar, next_billing_time
from services.billing.domain.plan import BillingInterval, Discount, PlanRates
from services.billing.domain.proration import Terms, change_lines, share_of, unused_share
from services.kernel.period import Period
from tests.billing.domain.invoices import PERIOD, cut

SECONDS = 28 * 86_400
OLD = Terms(
    plan_id="old",
    plan_version=1,
    display_name="Old",
    rates=PlanRates(currency_code="EUR", flat_fee=Decimal(28)),
    quantity=Decimal(1),
)
NEW = replace(OLD, plan_id="new", rates=PlanRates(currency_code="EUR", flat_fee=Decimal(56)))


def calendar(day: int, zone: str = "UTC", **changed: object) -> BillingCalendar:
    made = BillingCalendar(BillingInterval.MONTH, day, zone, date(2026, 1, 31))
    return replace(made, **changed)  # type: ignore[arg-type]


def starts(made: BillingCalendar, count: int) -> list[date]:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    found = []
    for _ in range(count):
        period = made.period(at)
        found.append(period.start.date())
        at = period.end
    return found


@given(st.lists(st.integers(1, SECONDS - 1), max_size=9))
def test_split_periods_sum_to_the_whole(seconds: list[int]) -> None:
    parts = cut(PERIOD, seconds)

    shares = [share_of(PERIOD, part) for part in parts]

    assert sum(shares) == 1
    assert sum(Fraction("99.99") * share for share in shares) == Fraction("99.99")


def test_a_change_credits_the_unused_old_and_charges_the_unused_new() -> None:
    at = PERIOD.start + timedelta(days=7, microseconds=999_999)

    lines = change_lines(OLD, NEW, PERIOD, at)

    assert [each.exact for each in lines] == [-21, 42]
    assert {each.period for each in lines} == {Period(PERIOD.start + timedelta(days=7), PERIOD.end)}


def test_a_change_before_or_after_the_period_counts_all_or_nothing_of_it() -> None:
    early = change_lines(None, NEW, PERIOD, PERIOD.start - timedelta(days=1))

    assert [each.exact for each in early] == [56]
    assert change_lines(OLD, None, PERIOD, PERIOD.end) == []
    assert unused_share(PERIOD, PERIOD.start) == 1


@given(st.lists(st.integers(0, SECONDS - 1), min_size=1, max_size=6, unique=True))
def test_going_to_and_fro_charges_each_plan_for_its_own_seconds(seconds: list[int]) -> None:
    edges = sorted(seconds)
    plans = [OLD if number % 2 == 0 else NEW for number in range(len(edges) + 1)]

    charged = Fraction(28)
    for (before, after), second in zip(pairwise(plans), edges, strict=True):
        at = PERIOD.start + timedelta(seconds=second)
        charged += sum(line.exact for line in change_lines(before, after, PERIOD, at))

    bounds = [0, *edges, SECONDS]
    parts = zip(pairwise(bounds), plans, strict=True)
    assert charged == sum(
        Fraction(b - a, SECONDS) * plan.fee(PERIOD.start) for (a, b), plan in parts
    )


def test_what_was_paid_less_is_given_back_less() -> None:
    half = Discount(source_id="d", display_name="Half", ratio=Decimal("0.5"))
    fixed = Discount(source_id="f", display_name="Fixed", amount=Decimal(5))

    (line,) = change_lines(replace(OLD, discounts=(half, fixed)), None, PERIOD, PERIOD.start)

    assert line.exact == -14
    assert not line.is_discountable


def test_the_31st_is_the_last_day_of_shorter_months_and_comes_back() -> None:
    assert starts(calendar(31), 5) == [
        date(2026, 1, 31),
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
        date(2026, 5, 31),
    ]
    leap = calendar(31).period(datetime(2028, 2, 29, 1, tzinfo=UTC))
    assert leap.start.date() == date(2028, 2, 29)


def test_quarters_and_years_count_from_the_first_month() -> None:
    quarters = calendar(31, interval=BillingInterval.QUARTER)
    years = calendar(29, interval=BillingInterval.YEAR, first=date(2024, 2, 29))

    assert starts(quarters, 3) == [date(2026, 1, 31), date(2026, 4, 30), date(2026, 7, 31)]
    assert years.period(datetime(2026, 7, 1, tzinfo=UTC)) == Period(
        datetime(2026, 2, 28, tzinfo=UTC), datetime(2027, 2, 28, tzinfo=UTC)
    )


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Apia"])
@given(st.integers(0, 10**9), st.integers(1, 31))
def test_periods_hold_their_instants_and_follow_one_another(
    zone: str, seconds: int, day: int
) -> None:
    at = datetime(2010, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    made = calendar(day, zone)

    period = made.period(at)

    assert at in period
    assert made.period(period.end).start == period.end
    assert made.period(period.start) == period


def test_the_next_billing_time_is_later_than_now() -> None:
    noon = datetime(2026, 2, 28, 12, tzinfo=UTC)

    assert next_billing_time(noon, 31, "UTC") == datetime(2026, 3, 31, tzinfo=UTC)
    assert next_billing_time(noon, 28, "Asia/Tokyo") == datetime(2026, 3, 27, 15, tzinfo=UTC)
