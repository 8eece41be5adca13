"""Statuses and backtests over real usage of a real usage service."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import grpc
from finops.budget.v1 import backtest_messages_pb2
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2 as messages
from finops.budget.v1 import budget_status_model_pb2 as status_model
from finops.usage.v1 import (
    department_messages_pb2,
    directory_model_pb2,
    directory_service_pb2,
    usage_model_pb2,
    usage_service_pb2,
)

from services.budget.convert.usage_filter import scope_filter
from services.budget.domain.directory import Directory
from services.budget.domain.scope import Scope
from services.kernel.database import Database
from tests.budget.conftest import NOW, Caller
from tests.budget.making import at, budget_of, create, money, status_of
from tests.support.server import refused

DAY = timedelta(days=1)


async def replay(
    caller: Caller, budget: model.Budget | None = None, **changed: str
) -> backtest_messages_pb2.BacktestBudgetResponse:
    fields = {"start": "2026-03-01", "end": "2026-04-01"} | changed
    request = backtest_messages_pb2.BacktestBudgetRequest(budget=budget, **fields)
    return await caller.budgets.BacktestBudget(request)


async def test_what_was_spent_before_a_budget_was_made_is_counted_in(caller: Caller) -> None:
    await caller.record("12.5", NOW - 3 * DAY)
    await caller.record("2.000000000000000001", NOW - DAY)
    await caller.record("99", NOW - 30 * DAY)

    made = await create(caller)

    totals = (await status_of(caller, made.budget_id)).totals
    assert totals.spent.amount == "14.500000000000000001"
    assert totals.remaining.amount == "85.499999999999999999"
    assert totals.utilization_ratio == "0.145"


async def test_a_budget_from_the_past_gets_all_its_periods_and_rolls_over(
    caller: Caller,
) -> None:
    await caller.record("30", NOW - 30 * DAY)

    made = await create(
        caller,
        start_time=at("2026-02-01"),
        rollover=model.RolloverPolicy(enabled=True),
    )

    status = await status_of(caller, made.budget_id)
    february = await status_of(caller, made.budget_id, at("2026-02-14"))
    assert february.totals.spent.amount == "30"
    assert status.totals.rolled_over.amount == "70"
    assert status.totals.limit.amount == "170"


async def test_only_cost_in_scope_counts_with_the_departments_below(caller: Caller) -> None:
    await directory_of(caller)
    await caller.record("1", user_id="ada")
    await caller.record("2", user_id="ada", resource_type="vm")
    await caller.record("4", department="eng")
    await caller.record("8", department="ops")
    await caller.record("16", user_id="grace", tags={"env": 'a"b*'})

    spent = {
        name: (await status_of(caller, (await create(caller, scope=scope)).budget_id)).totals.spent
        for name, scope in {
            "tree": model.BudgetScope(department_id="eng"),
            "alone": model.BudgetScope(department_id="eng", exclude_subdepartments=True),
            "kind": model.BudgetScope(department_id="eng", resource_type="vm"),
            "line": model.BudgetScope(manager_id="grace"),
            "tag": model.BudgetScope(tags={"env": 'a"b*'}),
            "other": model.BudgetScope(tags={"env": 'a"bc'}),
        }.items()
    }

    assert {name: each.amount for name, each in spent.items()} == {
        "tree": "7",
        "alone": "4",
        "kind": "2",
        "line": "19",
        "tag": "16",
        "other": "0",
    }


async def directory_of(caller: Caller) -> None:
    """Ada of machine learning, below engineering, reports to Grace."""
    for department, parent in (("eng", ""), ("ml", "eng"), ("ops", "")):
        await caller.directory.CreateDepartment(
            department_messages_pb2.CreateDepartmentRequest(
                department=directory_model_pb2.Department(
                    department_id=department, parent_id=parent
                )
            )
        )
    for user, department, manager in (("grace", "", ""), ("ada", "ml", "grace")):
        await caller.directory.CreateUser(
            directory_service_pb2.CreateUserRequest(
                user=directory_model_pb2.User(
                    user_id=user, department_id=department, manager_id=manager
                )
            )
        )


def test_a_condition_is_asked_of_usage_word_for_word() -> None:
    directory = Directory(parents={"eng": ""}, managers={"ada": ""})

    assert scope_filter(Scope(), directory) == ""
    assert scope_filter(Scope(department_id="eng"), directory) == 'department:"eng"'
    assert scope_filter(Scope(department_id="gone"), directory) == 'department = "gone"'
    assert (
        scope_filter(Scope(manager_id="ada", user_id="b*b", tags=(("a.b", "c"),)), directory)
        == 'user:"ada" AND user = "b\\*b" AND tags."a.b" = "c"'
    )


async def test_a_status_has_forecast_variance_and_burn_rate(caller: Caller) -> None:
    for day in range(1, 29):
        await caller.record("4", NOW - day * DAY + timedelta(hours=2))
    made = await create(caller, start_time=at("2026-02-01"))

    status = await status_of(caller, made.budget_id)

    assert status.totals.spent.amount == "64"
    assert status.burn_rate.week.amount == "4"
    assert status.forecast.spend.expected.currency_code == "USD"
    assert 110 < float(status.forecast.spend.expected.amount) < 130
    assert float(status.forecast.breach_probability_ratio) > 0.9
    assert [each.kind for each in status.scenarios] == [
        status_model.SCENARIO_KIND_BEST,
        status_model.SCENARIO_KIND_LIKELY,
        status_model.SCENARIO_KIND_WORST,
    ]
    # February began to spend on the 17th, so that the same point saw nothing.
    assert status.previous_variance.reference.amount == "0"
    assert float(status.plan_variance.difference.amount) > 10
    assert status.reset_time == at("2026-04-01")
    assert [each.fired for each in status.thresholds] == [True, False, False, False]
    assert status.thresholds[0].alert_id != ""
    assert status.thresholds[1].expected_time.seconds > at("2026-03-17").seconds


async def test_statuses_of_many_budgets_come_with_the_fullest_first(caller: Caller) -> None:
    await caller.record("50", user_id="ada")
    for name, amount in (("large", "1000"), ("small", "60"), ("middle", "100")):
        await create(caller, display_name=name, amount=money(amount))

    answer = await caller.budgets.ListBudgetStatuses(messages.ListBudgetStatusesRequest())
    full = await caller.budgets.ListBudgetStatuses(
        messages.ListBudgetStatusesRequest(
            filter="utilization_ratio > 0.4", order_by="runway_time", page_size=1
        )
    )

    assert [each.display_name for each in answer.statuses] == ["small", "middle", "large"]
    assert [each.display_name for each in full.statuses] == ["small"]
    assert full.next_page_token != ""


async def test_a_backtest_says_what_a_planned_budget_would_have_done(caller: Caller) -> None:
    ids = [await caller.record("30", NOW - (4 - n) * DAY, event_id=f"e{n}") for n in range(4)]
    planned = budget_of(enforcement=model.BUDGET_ENFORCEMENT_HARD)

    found = await replay(caller, planned)

    assert found.event_count == 4
    assert found.spent.amount == "120"
    assert [each.usage_event_id for each in found.alerts] == [ids[1], ids[2], ids[2]]
    assert [each.usage_event_id for each in found.blocks] == [ids[3]]
    assert found.blocks[0].remaining.amount == "10"
    assert found.blocked_cost.amount == "30"
    assert [each.totals.spent.amount for each in found.periods] == ["90"]
    listed = await caller.budgets.ListBudgets(messages.ListBudgetsRequest())
    assert list(listed.budgets) == []


async def test_a_backtest_takes_a_stored_budget_with_changes(caller: Caller) -> None:
    await caller.record("30")
    made = await create(caller)

    as_it_is = await replay(caller, budget_id=made.budget_id)
    smaller = await replay(caller, model.Budget(amount=money("20")), budget_id=made.budget_id)

    assert len(as_it_is.alerts) == 0
    assert len(smaller.alerts) == 4
    assert (await status_of(caller, made.budget_id)).totals.limit.amount == "100"


async def test_a_backtest_takes_voided_events_as_undone(caller: Caller) -> None:
    await caller.record("30", event_id="undone")
    await caller.record("10")
    await caller.usage.AmendUsage(
        usage_service_pb2.AmendUsageRequest(
            source="tests", event_id="undone", amend_reason="a mistake"
        )
    )

    found = await replay(caller, budget_of())

    assert found.spent.amount == "10"


async def test_a_backtest_needs_to_know_the_limit(caller: Caller) -> None:
    missing = await refused(replay(caller, model.Budget(display_name="x")))
    backwards = await refused(replay(caller, budget_of(), start="2026-03-05", end="2026-03-01"))
    unclear = await refused(replay(caller, budget_of(), start="yesterday"))
    beyond = await refused(replay(caller, budget_of(), end="9999-12-31"))
    nobody = await refused(replay(caller, budget_id="nowhere"))

    assert missing.fields == ["budget.cadence", "budget.amount"]
    assert backwards.reason == "INVALID_PERIOD"
    assert (unclear.fields, beyond.fields) == (["start"], ["end"])
    assert nobody.code is grpc.StatusCode.NOT_FOUND


async def test_a_currency_without_a_rate_is_said_and_nothing_is_stored(caller: Caller) -> None:
    event = usage_model_pb2.UsageCost(currency_code="CREDITS", billed="5")
    await caller.record(event.billed, currency_code=event.currency_code)

    refusal = await refused(create(caller))

    assert refusal.reason == "USAGE_REFUSED"
    listed = await caller.budgets.ListBudgets(messages.ListBudgetsRequest())
    assert list(listed.budgets) == []


async def test_a_difference_that_a_reconciliation_left_is_shown(
    caller: Caller, budget_database: Database
) -> None:
    made = await create(caller)
    await reconciled(budget_database, caller, made, "r1", "2.5")
    shown = await status_of(caller, made.budget_id)
    await reconciled(budget_database, caller, made, "r2", None)

    gone = await status_of(caller, made.budget_id)

    assert shown.drift.amount == "2.5"
    assert not gone.HasField("drift")


async def reconciled(
    database: Database, caller: Caller, budget: model.Budget, key: str, difference: str | None
) -> None:
    """Stores a reconciliation as the ledger does, with the difference that it left, if any."""
    async with database.transaction(caller.tenant_id) as tx:
        await tx.driver.execute(
            """
            INSERT INTO budget.reconciliation (tenant_id, reconciliation_id, state, started_by,
                is_repairing, budget_ids, end_at, author, created_at, updated_at, ended_at)
            VALUES ($1, $2, 3, 2, false, '{}', $3, 'ada', $3, $3, $3)
            """,
            caller.tenant_id,
            key,
            NOW,
        )
        if difference is not None:
            await tx.driver.execute(
                """
                INSERT INTO budget.budget_drift (tenant_id, reconciliation_id, budget_id,
                    period_start, period_end, currency_code, ledger_spent, usage_spent,
                    difference, cause, is_repaired)
                SELECT tenant_id, $3, budget_id, period_start, period_end, 'USD', $4, 0, $4, '',
                    false
                FROM budget.budget_period WHERE tenant_id = $1 AND budget_id = $2
                """,
                caller.tenant_id,
                budget.budget_id,
                key,
                Decimal(difference),
            )


async def test_usage_of_the_future_is_not_replayed(caller: Caller) -> None:
    refusal = await refused(replay(caller, budget_of(), start="2027-03-01", end="2027-04-01"))

    assert refusal.fields == ["start"]
