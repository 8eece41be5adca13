"""Periods over a real database: they turn at their instants, once, and carry what is left."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2 as messages
from finops.budget.v1 import budget_status_model_pb2 as status_model
from finops.budget.v1 import ledger_service_pb2 as ledger
from finops.common.v1.money_pb2 import Money

from services.budget.bootstrap import alert_base
from services.budget.service.periods import Periods
from services.budget.service.turning import PeriodTurns
from services.budget.store import budgets
from services.budget.store.changes import BudgetFeed
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.transaction import Transaction
from tests.budget.conftest import NOW, Caller
from tests.budget.making import at, create, money, status_of, update
from tests.support.server import all_of, refused
from tests.support.waiting import eventually

DAILY = model.BUDGET_CADENCE_DAILY


@pytest.fixture
def turns(budget_database: Database, clock: ManualClock) -> PeriodTurns:
    """The worker that ends periods, driven by the test."""
    periods = Periods(
        BudgetFeed(budget_database),
        alert_base(budget_database, clock=clock).evaluator,
        clock=clock,
    )
    return PeriodTurns(budget_database, periods, clock=clock)


async def spend(
    database: Database, caller: Caller, budget: model.Budget, amount: str, day: datetime
) -> None:
    """Moves what a period has spent, as the ledger does, carrying over what it leaves."""

    async def work(tx: Transaction) -> None:
        found = await budgets.find_budget(tx, caller.tenant_id, budget.budget_id)
        assert found is not None
        periods = Periods(
            BudgetFeed(database),
            alert_base(database, clock=ManualClock(NOW)).evaluator,
            clock=ManualClock(NOW),
        )
        await tx.driver.execute(
            """
            UPDATE budget.budget_period SET spent = spent + $3
            WHERE tenant_id = $1 AND budget_id = $2 AND period_start <= $4 AND period_end > $4
            """,
            caller.tenant_id,
            budget.budget_id,
            Decimal(amount),
            day,
        )
        row = await periods.open(tx, found, day)
        assert row is not None
        await periods.carry(tx, found, row)

    await database.run(None, work)


async def periods_of(caller: Caller, budget: model.Budget) -> list[status_model.BudgetPeriodResult]:
    """Returns a budget's periods, oldest first."""
    request = ledger.ListBudgetPeriodsRequest(
        budget_id=budget.budget_id, order_by="start_time", page_size=1000
    )
    return list((await caller.ledger.ListBudgetPeriods(request)).periods)


async def resets_of(caller: Caller, budget: model.Budget) -> int:
    """Returns how often the feed tells that a period of the budget began."""
    request = messages.WatchBudgetsRequest(budget_ids=[budget.budget_id])
    found = 0
    async for answer in caller.budgets.WatchBudgets(request):
        if not answer.HasField("change"):
            break
        found += answer.change.kind == status_model.BUDGET_CHANGE_KIND_PERIOD_RESET
        if answer.change.kind == status_model.BUDGET_CHANGE_KIND_UPDATED:
            break
    return found


async def test_a_period_is_reset_at_its_instant_and_never_twice(
    caller: Caller, turns: PeriodTurns, clock: ManualClock
) -> None:
    made = await create(caller, cadence=DAILY)
    clock.advance(datetime(2026, 3, 17, 23, 59, 59, tzinfo=UTC) - NOW)
    await turns.turn_due()
    before = len(await periods_of(caller, made))

    clock.advance(timedelta(seconds=1))
    await asyncio.gather(*(turns.turn_due() for _ in range(8)))
    await turns.turn_due()

    after = await periods_of(caller, made)
    assert before == 1
    assert [each.closed for each in after] == [True, False]
    assert after[1].period.start_time == at("2026-03-18")
    await update(caller, made, etag="", description="marks the end of the feed")
    assert await resets_of(caller, made) == 1


async def test_a_budget_that_cannot_be_turned_holds_no_other_up(
    caller: Caller, turns: PeriodTurns, clock: ManualClock, budget_database: Database
) -> None:
    broken, made = await create(caller, cadence=DAILY), await create(caller, cadence=DAILY)
    async with budget_database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE budget.budget_version SET terms = jsonb_set(terms, '{rule,cadence}', '\"x\"')"
            " WHERE budget_id = $1",
            broken.budget_id,
        )
    clock.advance(timedelta(days=1))

    await turns.turn_due()

    assert [each.closed for each in await periods_of(caller, made)] == [True, False]
    async with budget_database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE budget.budget_version SET terms = jsonb_set(terms, '{rule,cadence}',"
            " '\"daily\"') WHERE budget_id = $1",
            broken.budget_id,
        )


async def test_a_reset_needs_no_worker(caller: Caller, clock: ManualClock) -> None:
    made = await create(caller, cadence=DAILY)
    clock.advance(timedelta(days=3))

    status = await status_of(caller, made.budget_id)

    assert status.period.start_time == at("2026-03-20")
    assert [each.closed for each in await periods_of(caller, made)] == [True] * 3 + [False]


async def test_a_budget_of_any_zone_gets_its_whole_day(
    caller: Caller, turns: PeriodTurns, clock: ManualClock
) -> None:
    rule = model.PeriodRule(time_zone="America/New_York")
    made = await create(caller, cadence=DAILY, period_rule=rule)

    status = await status_of(caller, made.budget_id)

    # Midnight in New York is four o'clock in summer time, not midnight UTC.
    assert status.period.start_time == at("2026-03-17T04:00")
    assert status.reset_time == at("2026-03-18T04:00")
    clock.advance(timedelta(hours=15))
    await turns.turn_due()
    assert len(await periods_of(caller, made)) == 1


async def test_what_is_left_rolls_over_up_to_the_cap(
    caller: Caller, budget_database: Database, clock: ManualClock
) -> None:
    made = await create(
        caller,
        cadence=DAILY,
        rollover=model.RolloverPolicy(enabled=True, cap_ratio="0.5"),
    )
    await spend(budget_database, caller, made, "20", NOW)

    clock.advance(timedelta(days=1))
    capped = await status_of(caller, made.budget_id)
    await spend(budget_database, caller, made, "60", NOW)
    late = await status_of(caller, made.budget_id)

    assert capped.totals.rolled_over.amount == "50"
    assert capped.totals.limit.amount == "150"
    # Usage of yesterday that arrives today leaves 20 instead of 80.
    assert late.totals.rolled_over.amount == "20"


async def test_overspend_is_taken_off_the_next_period_where_the_owner_wants_it(
    caller: Caller, budget_database: Database, clock: ManualClock
) -> None:
    carrying = model.RolloverPolicy(enabled=True, carry_overspend=True)
    made = await create(caller, cadence=DAILY, rollover=carrying)
    await spend(budget_database, caller, made, "130", NOW)

    clock.advance(timedelta(days=1))
    status = await status_of(caller, made.budget_id)

    assert status.totals.rolled_over.amount == "-30"
    assert status.totals.remaining.amount == "70"


async def test_late_usage_changes_a_closed_period_and_never_its_limit(
    caller: Caller, budget_database: Database, clock: ManualClock
) -> None:
    made = await create(caller, cadence=DAILY)
    clock.advance(timedelta(days=1))
    await status_of(caller, made.budget_id)
    await update(caller, made, amount=money("500"))

    await spend(budget_database, caller, made, "12.5", NOW)

    closed, running = await periods_of(caller, made)
    assert (closed.closed, closed.totals.spent.amount) == (True, "12.5")
    assert (closed.version, closed.totals.limit.amount) == (1, "100")
    assert (running.version, running.totals.limit.amount) == (2, "500")


async def test_an_increase_raises_the_limit_and_expires_by_itself(
    caller: Caller, turns: PeriodTurns, clock: ManualClock
) -> None:
    made = await create(caller)

    wish = status_model.BudgetIncrease(
        amount=money("40"), end_time=at("2026-03-18"), reason="launch"
    )
    request = ledger.CreateBudgetIncreaseRequest(budget_id=made.budget_id, increase=wish)
    granted = (await caller.ledger.CreateBudgetIncrease(request)).budget_increase
    raised = await status_of(caller, made.budget_id)
    clock.advance(timedelta(days=1))
    await turns.turn_due()

    lowered = await status_of(caller, made.budget_id)
    assert granted.state == status_model.BUDGET_INCREASE_STATE_ACTIVE
    assert raised.totals.limit.amount == "140"
    assert lowered.totals.limit.amount == "100"
    listing = ledger.ListBudgetIncreasesRequest(budget_id=made.budget_id, filter="state = EXPIRED")
    listed = (await caller.ledger.ListBudgetIncreases(listing)).increases
    assert [each.increase_id for each in listed] == [granted.increase_id]


async def test_an_increase_can_end_early_and_only_once(caller: Caller) -> None:
    made = await create(caller)
    wish = status_model.BudgetIncrease(
        amount=money("40"), end_time=at("2026-04-18"), reason="launch"
    )
    request = ledger.CreateBudgetIncreaseRequest(budget_id=made.budget_id, increase=wish)
    granted = (await caller.ledger.CreateBudgetIncrease(request)).budget_increase

    ending = ledger.DeleteBudgetIncreaseRequest(
        budget_id=made.budget_id, increase_id=granted.increase_id
    )
    await caller.ledger.DeleteBudgetIncrease(ending)
    again = await refused(caller.ledger.DeleteBudgetIncrease(ending))
    ending.increase_id = "nowhere"
    missing = await refused(caller.ledger.DeleteBudgetIncrease(ending))

    assert (await status_of(caller, made.budget_id)).totals.limit.amount == "100"
    assert again.reason == "INCREASE_OVER"
    assert missing.reason == "INCREASE_NOT_FOUND"


async def test_an_increase_ends_in_the_future_and_has_the_budgets_currency(
    caller: Caller,
) -> None:
    made = await create(caller)

    def wish(**changed: object) -> ledger.CreateBudgetIncreaseRequest:
        fields = {"amount": money("40"), "end_time": at("2026-04-18"), "reason": "launch"}
        return ledger.CreateBudgetIncreaseRequest(
            budget_id=made.budget_id,
            increase=status_model.BudgetIncrease(**(fields | changed)),  # type: ignore[arg-type]
        )

    past = await refused(caller.ledger.CreateBudgetIncrease(wish(end_time=at("2026-03-01"))))
    euro = Money(currency_code="EUR", amount="1")
    foreign = await refused(caller.ledger.CreateBudgetIncrease(wish(amount=euro)))

    assert past.reason == "INCREASE_NOT_IN_FUTURE"
    assert foreign.reason == "BUDGET_CURRENCY_FIXED"


async def test_a_watcher_sees_each_change_once_and_resumes_behind_it(caller: Caller) -> None:
    made = await create(caller)
    first = await caller_changes(caller, "", 2)
    await update(caller, made, description="changed")

    rest = await caller_changes(caller, first[-1].sequence, 1)

    kinds = [each.change.kind for each in (*first, *rest)]
    assert kinds[0] == status_model.BUDGET_CHANGE_KIND_CREATED
    assert kinds[1] == status_model.BUDGET_CHANGE_KIND_TOTALS
    assert kinds[2] == status_model.BUDGET_CHANGE_KIND_UPDATED
    assert {each.change.budget_id for each in (*first, *rest)} == {made.budget_id}


async def caller_changes(
    caller: Caller, after: str, most: int
) -> list[messages.WatchBudgetsResponse]:
    """Returns so many changes behind a position, heartbeats left out."""
    found: list[messages.WatchBudgetsResponse] = []

    async def enough() -> bool:
        request = messages.WatchBudgetsRequest(after_sequence=after)
        answers = await all_of(aiter(caller.budgets.WatchBudgets(request)), most=most)
        found[:] = [each for each in answers if each.HasField("change")]
        return len(found) == most

    await eventually(enough)
    return found
