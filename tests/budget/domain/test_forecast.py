"""Forecasts, plans and runways: simple series whose end can be told by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.budget.domain.budget import Budget, BudgetPeriod, BudgetVersion, PeriodTotals
from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.forecast import Trend, forecast
from services.budget.domain.scope import Scope
from services.budget.domain.status import SpendHistory, planned, status_of
from services.budget.domain.terms import BudgetTerms, PlannedPoint
from services.budget.domain.threshold import Basis, Threshold
from services.kernel.money import Money
from services.kernel.period import Period

START = datetime(2026, 3, 1, tzinfo=UTC)
MARCH = Period(START, datetime(2026, 4, 1, tzinfo=UTC))
DAY = timedelta(days=1)


def decimals(*values: float) -> list[Decimal]:
    return [Decimal(str(value)) for value in values]


def terms(**changed: object) -> BudgetTerms:
    fields: dict[str, object] = {
        "display_name": "Research",
        "scope": Scope(),
        "rule": PeriodRule(Cadence.MONTHLY),
        "amount": Money("USD", Decimal(310)),
    }
    return BudgetTerms(**(fields | changed))  # type: ignore[arg-type]


def budget(**changed: object) -> Budget:
    version = BudgetVersion(1, terms(**changed), START, "ada", START)
    return Budget("acme", "b1", (version,), "ada", START, started_at=START)


def row(spent: str, *, held: str = "0", rolled_over: str = "0") -> BudgetPeriod:
    totals = PeriodTotals(
        Decimal(310), Decimal(rolled_over), spent=Decimal(spent), held=Decimal(held)
    )
    return BudgetPeriod("b1", MARCH, 1, "USD", totals, MARCH.end)


def test_a_constant_spend_goes_on() -> None:
    found = forecast(decimals(*[10] * 20), spent=Decimal(100), days_left=10)

    assert found.expected == Decimal(200)
    assert found.lower == found.upper == Decimal(200)
    assert found.breach_probability(Decimal(250), Decimal(100)) == 0
    assert found.breach_probability(Decimal(150), Decimal(100)) == 1


def test_a_straight_line_is_seen() -> None:
    found = forecast(decimals(*range(1, 22)), spent=Decimal(0), days_left=3)

    assert found.trend is Trend.LINEAR
    assert abs(found.expected - (22 + 23 + 24)) < Decimal("0.001")


def test_a_constant_growth_is_seen() -> None:
    found = forecast(decimals(*(1.1**day for day in range(24))), spent=Decimal(0), days_left=2)

    assert found.trend is Trend.EXPONENTIAL
    assert abs(float(found.expected) - (1.1**24 + 1.1**25)) < 0.01


def test_weekends_are_seen() -> None:
    weeks = decimals(*([10, 10, 10, 10, 10, 1, 1] * 5))

    found = forecast(weeks, spent=Decimal(0), days_left=7)

    assert found.trend is Trend.SEASONAL
    assert abs(found.expected - 52) < Decimal("0.001")


def test_a_short_history_gives_the_plain_average_and_no_error() -> None:
    found = forecast(decimals(4, 6), spent=Decimal(10), days_left=2)

    assert (found.trend, found.expected) == (Trend.FLAT, Decimal(20))
    assert found.alternatives[0].error is None
    assert forecast([], spent=Decimal(3), days_left=5).expected == 3


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.decimals(0, 1000, places=2), max_size=60),
    left=st.floats(0, 40),
    spent=st.decimals(0, 5000, places=2),
)
def test_the_interval_holds_the_expectation_and_never_less_than_is_spent(
    days: list[Decimal], left: float, spent: Decimal
) -> None:
    found = forecast(days, spent=spent, days_left=left)

    assert spent <= found.lower <= found.expected <= found.upper
    assert 0 <= found.breach_probability(Decimal(3000), spent) <= 1


@pytest.mark.parametrize(("day", "expected"), [(0, "0"), (10, "100"), (31, "310")])
def test_a_budget_without_a_plan_is_spent_evenly(day: int, expected: str) -> None:
    found = planned(terms(), Decimal(310), MARCH, START + day * DAY)

    assert abs(found - Decimal(expected)) < Decimal("0.000001")


def test_a_plan_runs_straight_from_point_to_point() -> None:
    points = (PlannedPoint(Decimal("0.5"), Decimal("0.8")),)

    found = planned(terms(plan=points), Decimal(310), MARCH, START + 15.5 * DAY / 2)

    assert abs(found - 124) < Decimal("0.000001")


def test_a_status_tells_where_the_spend_goes() -> None:
    now = START + 10 * DAY
    hours = [(START + hour * DAY / 24, Decimal("0.5")) for hour in range(240)]
    history = SpendHistory(hours, decimals(*[12] * 10), previous=Decimal(100))

    found = status_of(budget(), row("120", held="10"), history, now=now)

    assert found.burn_rate.day == found.burn_rate.week == Decimal(12)
    assert abs(found.burn_rate.period - 12) < Decimal("0.000001")
    assert found.burn_rate.trend is not None
    assert found.forecast is not None
    assert found.forecast.expected == 120 + 12 * 21
    assert found.runway_at is not None
    # 180 are left, at 12 a day.
    assert abs(found.runway_at - (now + 15 * DAY)) < timedelta(seconds=1)
    assert abs(found.plan_variance.difference - 20) < Decimal("0.000001")
    assert found.previous_variance is not None
    assert found.previous_variance.ratio == Decimal("0.2")
    assert found.reset_at == MARCH.end


def test_a_runway_reaches_into_the_next_period_and_no_further() -> None:
    now = START + 30 * DAY
    soon = status_of(budget(), row("305"), SpendHistory(), now=now)
    later = status_of(budget(), row("330", rolled_over="100"), SpendHistory(), now=now)
    never = status_of(budget(), row("3"), SpendHistory(), now=now)

    assert soon.runway_at is not None
    assert soon.runway_at <= now + DAY
    assert later.runway_at is not None
    assert later.runway_at > MARCH.end
    assert never.runway_at is None


def test_a_closed_period_has_no_forecast() -> None:
    found = status_of(budget(), row("120"), SpendHistory(), now=MARCH.end + DAY)

    assert found.forecast is None
    assert found.as_of == MARCH.end


def test_thresholds_tell_when_they_will_fire() -> None:
    limits = (
        Threshold(Decimal("0.1")),
        Threshold(Decimal("0.9")),
        Threshold(Decimal(5)),
        Threshold(Decimal(1), Basis.FORECAST),
    )
    now = START + 10 * DAY
    history = SpendHistory(days=decimals(*[10] * 20))

    found = status_of(budget(thresholds=limits), row("100"), history, now=now)

    reached, ahead, never, foreseen = found.thresholds
    assert reached.expected_at == now
    assert ahead.amount == 279
    assert ahead.expected_at is not None
    assert abs(ahead.expected_at - (now + 17.9 * DAY)) < timedelta(minutes=1)
    assert never.expected_at is None
    assert foreseen.expected_at is None
