"""What users of other budget tools complain about in periods and resets, and how it is here."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import ledger_service_pb2 as ledger
from finops.common.v1.money_pb2 import Money as MoneyMessage
from google.protobuf.timestamp_pb2 import Timestamp

from services.budget.domain.budget import Budget, BudgetVersion
from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.scope import Scope, SpendAttributes
from services.budget.domain.terms import BudgetTerms
from services.budget.service.budget_index import BudgetIndex
from services.kernel.clock import ManualClock
from services.kernel.money import Money
from tests.budget.conftest import NOW, Caller
from tests.budget.making import at, create, money, status_of, update

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_daily_budget_is_not_shortened_by_the_offset_of_its_zone(
    caller: Caller, clock: ManualClock
) -> None:
    """BerriAI/litellm#34896, #38938, #40978: reset late by the offset, 100 dollars were 75."""
    for zone in ("America/New_York", "Asia/Kolkata", "Pacific/Apia"):
        rule = model.PeriodRule(time_zone=zone)
        made = await create(caller, cadence=model.BUDGET_CADENCE_DAILY, period_rule=rule)
        lengths = [
            (status.period.end_time.seconds - status.period.start_time.seconds) / 3600
            for day in range(3)
            if (status := await status_of(caller, made.budget_id, _later(day)))
        ]
        assert lengths == [24, 24, 24], zone
    assert clock.now() == NOW


def _later(days: int) -> Timestamp:
    return at((NOW + timedelta(days=days)).isoformat())


async def test_the_day_of_a_week_is_the_owners_choice(caller: Caller) -> None:
    """BerriAI/litellm#10288, #24675: weekly budgets were reset on a fixed weekday, at odd hours."""
    rule = model.PeriodRule(first_weekday=4)  # Thursday
    made = await create(caller, cadence=model.BUDGET_CADENCE_WEEKLY, period_rule=rule)

    status = await status_of(caller, made.budget_id)

    assert status.period.start_time == at("2026-03-12")
    assert status.reset_time == at("2026-03-19")


async def test_every_budget_is_reset_whether_anybody_spends_or_not(
    caller: Caller, clock: ManualClock
) -> None:
    """BerriAI/litellm#33161, #5651: budgets of end users were never reset."""
    scopes = (model.BudgetScope(user_id="ada"), model.BudgetScope(tags={"team": "ml"}))
    made = [
        await create(caller, cadence=model.BUDGET_CADENCE_DAILY, scope=scope) for scope in scopes
    ]
    clock.advance(timedelta(days=2))

    periods = [(await status_of(caller, each.budget_id)).period for each in made]

    assert [each.start_time for each in periods] == [at("2026-03-19")] * 2


def test_a_clock_change_neither_repeats_nor_drops_usage_of_a_day() -> None:
    """killbill/killbill#1934, #445: DST moved usage, and looped.

    getlago/lago#61, #146, getlago/lago-api#879: customers east of Greenwich were billed twice.
    """
    rule = PeriodRule(Cadence.DAILY, "America/New_York")
    hours = [datetime(2026, 10, 31, 4, tzinfo=UTC) + timedelta(hours=h) for h in range(72)]

    counted = [rule.period_at(hour) for hour in hours]

    assert [counted.count(day) for day in dict.fromkeys(counted)] == [24, 25, 23]


def test_a_budget_from_the_thirty_first_is_not_a_day_early() -> None:
    """killbill/killbill#2133: subscriptions of the 31st were invoiced a day early."""
    rule = PeriodRule(Cadence.MONTHLY, anchor_at=datetime(2026, 1, 31, tzinfo=UTC))

    starts = []
    instant = datetime(2026, 1, 31, tzinfo=UTC)
    for _ in range(5):
        period = rule.period_at(instant)
        assert period is not None
        starts.append(period.start.day)
        instant = period.end

    assert starts == [31, 28, 31, 30, 31]


async def test_a_change_in_the_period_makes_no_second_period(caller: Caller) -> None:
    """openmeterio/openmeter#1408, #4252: a change equal to the reset counted a grant twice."""
    made = await create(caller, rollover=model.RolloverPolicy(enabled=True))
    await update(caller, made, etag="", amount=money("150"))
    await update(caller, made, etag="", amount=money("200"), effective=at("2026-04-01"))

    request = ledger.ListBudgetPeriodsRequest(budget_id=made.budget_id)
    periods = (await caller.ledger.ListBudgetPeriods(request)).periods

    assert [each.totals.limit.amount for each in periods] == ["150"]


async def test_a_mistyped_limit_is_repaired_by_a_change_not_in_the_database(
    caller: Caller,
) -> None:
    """BerriAI/litellm#22726: a mistyped price poisoned a counter that only SQL could repair."""
    made = await create(caller, amount=money("0.01"))
    await caller.record("5")

    await update(caller, made, amount=money("1000"))

    assert (await status_of(caller, made.budget_id)).totals.limit.amount == "1000"


async def test_a_budget_may_be_in_any_currency(caller: Caller) -> None:
    """BerriAI/litellm#13399: budgets were in dollars only."""
    made = await create(caller, amount=MoneyMessage(currency_code="JPY", amount="50000"))

    status = await status_of(caller, made.budget_id)

    assert status.totals.remaining.currency_code == "JPY"


@pytest.mark.parametrize("budgets", [1_000])
def test_a_thousand_budgets_are_looked_up_thousands_of_times_a_second(budgets: int) -> None:
    index = BudgetIndex(1, [_numbered(number) for number in range(budgets)])
    spends = [
        SpendAttributes(user_id=f"u{number % budgets}", resource_type="llm")
        for number in range(2_000)
    ]
    index.covering(spends[0], NOW)

    began = time.process_time()
    found = sum(len(index.covering(spend, NOW)) for spend in spends)
    seconds = time.process_time() - began

    assert found == 2_000
    assert len(spends) / seconds > 3_000


def _numbered(number: int) -> Budget:
    terms = BudgetTerms(
        display_name=f"budget {number}",
        scope=Scope(user_id=f"u{number}"),
        rule=PeriodRule(Cadence.MONTHLY),
        amount=Money("USD", Decimal(100)),
    )
    version = BudgetVersion(1, terms, START, "ada", START)
    return Budget("acme", f"b{number}", (version,), "ada", START, started_at=START)
