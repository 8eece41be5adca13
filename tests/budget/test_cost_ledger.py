"""What usage costs arrives in budgets by the feed: once, in its own period, never beside a hold."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import grpc
import pytest
from finops.budget.v1 import ledger_model_pb2, ledger_service_pb2, spend_messages_pb2

from services.budget.domain.cost_block import CostBlock, CostDimension
from services.budget.domain.scope import SpendAttributes
from services.budget.domain.spend_errors import DirectoryNotRead
from services.budget.service.budget_index import BudgetIndexes
from services.budget.service.cost_ledger import CostLedger
from services.budget.service.directories import Directories
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates
from services.kernel.feed_page import FeedItem, FeedPosition
from tests.budget.conftest import NOW, Caller
from tests.budget.test_spend import authorize, make_budget, settle
from tests.support.server import refused
from tests.support.waiting import eventually


async def spent(caller: Caller) -> tuple[str, str]:
    """Returns (spent, held) of the only budget."""
    trial = await authorize(caller, "0", validate_only=True)
    (check,) = trial.decision.checks
    return check.spent.amount, check.held.amount


async def become(caller: Caller, expected: tuple[str, str]) -> None:
    async def is_so() -> bool:
        return await spent(caller) == expected

    with suppress(TimeoutError):
        await eventually(is_so, seconds=10)
    assert await spent(caller) == expected


@pytest.mark.usefixtures("working")
async def test_usage_counts_once_in_the_period_of_its_own_time(caller: Caller) -> None:
    """authgear/authgear-server#2168, killbill/killbill#876: usage at a cycle's edge was missed."""
    await caller.record("7")
    budget_id = await make_budget(caller, "100")
    before = await spent(caller)

    await caller.record("3")
    await caller.record("50", NOW - timedelta(days=60))
    await become(caller, ("10", "0"))

    assert before == ("7", "0")
    entries = await caller.ledger.ListLedgerEntries(
        ledger_service_pb2.ListLedgerEntriesRequest(budget_id=budget_id)
    )
    assert [entry.spent_change.amount for entry in entries.entries] == ["3"]


@pytest.mark.usefixtures("working")
async def test_usage_that_names_its_authorization_replaces_the_settlement(caller: Caller) -> None:
    await make_budget(caller, "100")
    held = await authorize(caller, "30")
    await settle(caller, held.authorization_id, "12")
    assert await spent(caller) == ("12", "0")

    await caller.record("12.5", tags={"finops_authorization_id": held.authorization_id})

    await become(caller, ("12.5", "0"))


@pytest.mark.usefixtures("working")
async def test_usage_that_names_its_authorization_settles_the_hold_by_itself(
    caller: Caller,
) -> None:
    await make_budget(caller, "100")
    held = await authorize(caller, "30")

    await caller.record("12.5", tags={"finops_authorization_id": held.authorization_id})
    await become(caller, ("12.5", "0"))
    late = await settle(caller, held.authorization_id, "13")

    assert late.settled.amount == "12.5"
    assert await spent(caller) == ("12.5", "0")


@pytest.mark.usefixtures("working")
async def test_a_hold_that_runs_out_is_given_back_and_a_late_settlement_still_counts(
    caller: Caller, clock: ManualClock
) -> None:
    await make_budget(caller, "100")
    held = await authorize(caller, "90")

    clock.advance(timedelta(minutes=16))
    other = await authorize(caller, "60")
    settled = await settle(caller, held.authorization_id, "95")

    assert settled.settled_late
    assert settled.excess.amount == "5"
    assert await spent(caller) == ("95", "60")
    assert other.authorization_id


async def reconciled(caller: Caller, *, repair: bool) -> ledger_model_pb2.BudgetReconciliation:
    """Starts a comparison and returns it once it is done."""
    started = await caller.ledger.ReconcileBudgets(
        ledger_service_pb2.ReconcileBudgetsRequest(repair=repair)
    )
    request = ledger_service_pb2.GetBudgetReconciliationRequest(
        reconciliation_id=started.budget_reconciliation.reconciliation_id
    )

    async def done() -> ledger_model_pb2.BudgetReconciliation | None:
        found = (await caller.ledger.GetBudgetReconciliation(request)).budget_reconciliation
        return found if found.HasField("end_time") else None

    found = await eventually(done)
    assert found is not None
    return found


@pytest.mark.usefixtures("working")
async def test_a_reconciliation_reports_drift_and_repairs_it_with_an_audited_entry(
    caller: Caller, budget_database: Database
) -> None:
    """BerriAI/litellm#13280, #37144: two ledgers disagreed, and nothing compared them."""
    budget_id = await make_budget(caller, "100")
    held = await authorize(caller, "5")
    await settle(caller, held.authorization_id, "4")
    await caller.record("9")
    await become(caller, ("13", "0"))
    async with budget_database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE budget.budget_period SET spent = spent + 1.5 WHERE budget_id = $1", budget_id
        )

    reported = await reconciled(caller, repair=False)
    repaired = await reconciled(caller, repair=True)
    again = await reconciled(caller, repair=True)

    assert (reported.drift_count, reported.repaired_count) == (1, 0)
    assert (repaired.drift_count, repaired.repaired_count) == (1, 1)
    assert again.drift_count == 0
    await become(caller, ("13", "0"))
    drifts = await caller.ledger.ListBudgetDrifts(
        ledger_service_pb2.ListBudgetDriftsRequest(reconciliation_id=repaired.reconciliation_id)
    )
    (drift,) = drifts.drifts
    assert (drift.ledger_spent.amount, drift.usage_spent.amount) == ("10.5", "9")
    assert drift.difference.amount == "1.5"
    entries = await caller.ledger.ListLedgerEntries(
        ledger_service_pb2.ListLedgerEntriesRequest(budget_id=budget_id, filter="kind = REPAIR")
    )
    assert [entry.entry_id for entry in entries.entries] == [drift.ledger_entry_id]
    listed = await caller.ledger.ListBudgetReconciliations(
        ledger_service_pb2.ListBudgetReconciliationsRequest(filter="drift_count > 0")
    )
    assert len(listed.reconciliations) == 2
    async with budget_database.read(caller.tenant_id) as tx:
        actions = await tx.driver.fetch(
            "SELECT action FROM audit_entry WHERE actor LIKE 'service%'"
        )
    assert [row["action"] for row in actions] == ["budget.repair"]


@pytest.mark.usefixtures("working")
async def test_usage_named_by_its_event_id_replaces_the_settlement_whichever_comes_first(
    caller: Caller, clock: ManualClock
) -> None:
    await make_budget(caller, "100")
    first = await authorize(caller, "30", usage_event_id="call-1", usage_source="tests")
    second = await authorize(caller, "30")
    await settle(caller, first.authorization_id, "12")

    await caller.record("12.5", event_id="call-1")
    await caller.record("20", event_id="call-2")
    await settle(caller, second.authorization_id, "21", usage_event_id="call-2")

    async def is_replaced() -> bool:
        clock.advance(timedelta(seconds=1))  # the look-ups wait longer and longer
        return await spent(caller) == ("32.5", "0")

    await eventually(is_replaced)


@pytest.mark.usefixtures("working")
async def test_two_authorizations_that_name_one_event_count_it_once(
    caller: Caller, clock: ManualClock
) -> None:
    await make_budget(caller, "100")
    for _ in range(2):
        held = await authorize(caller, "30", usage_event_id="call-1", usage_source="tests")
        await settle(caller, held.authorization_id, "12")
    twice = await spent(caller)

    await caller.record("12.5", event_id="call-1")

    async def is_counted_once() -> bool:
        clock.advance(timedelta(seconds=1))  # the look-ups wait longer and longer
        return await spent(caller) == ("12.5", "0")

    await eventually(is_counted_once)
    assert twice == ("24", "0")


@pytest.mark.usefixtures("working")
async def test_what_costs_more_than_its_hold_shows_as_excess_of_work_and_period(
    caller: Caller,
) -> None:
    """BerriAI/litellm discussion 50438: spend of calls beyond their size was lost."""
    budget_id = await make_budget(caller, "10")
    settled = await authorize(caller, "3")
    billed = await authorize(caller, "6")

    told = await settle(caller, settled.authorization_id, "4.25")
    await caller.record("8.000001", tags={"finops_authorization_id": billed.authorization_id})
    await become(caller, ("12.250001", "0"))

    found = await caller.budgets.ExplainAuthorization(
        spend_messages_pb2.ExplainAuthorizationRequest(authorization_id=billed.authorization_id)
    )
    periods = await caller.ledger.ListBudgetPeriods(
        ledger_service_pb2.ListBudgetPeriodsRequest(budget_id=budget_id)
    )
    assert told.excess.amount == "1.25"
    assert found.spend_authorization.excess.amount == "2.000001"
    assert [period.totals.excess.amount for period in periods.periods] == ["3.250001"]


async def test_a_reconciliation_that_does_not_exist_is_not_found(caller: Caller) -> None:
    request = ledger_service_pb2.GetBudgetReconciliationRequest(reconciliation_id="nothing")

    refusal = await refused(caller.ledger.GetBudgetReconciliation(request))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "BUDGET_RECONCILIATION_NOT_FOUND"


async def test_changes_wait_for_the_directory_that_says_whose_they_are(
    caller: Caller, budget_database: Database
) -> None:
    await make_budget(caller, "100")
    indexes = BudgetIndexes(budget_database)
    ledger = CostLedger(
        indexes,
        Directories(cast("Any", None)),  # never asked: nothing may be asked inside a transaction
        cast("Any", None),
        rates=ExchangeRates(),
        clock=SystemClock(),
    )
    dimension = CostDimension(SpendAttributes(resource_type="llm"), "USD")
    hour = int(NOW.timestamp())
    block = CostBlock(NOW, [1], [dimension], [hour], (["1"], [], [], []), [1])

    with pytest.raises(DirectoryNotRead) as refusal:
        async with budget_database.system_transaction() as tx:
            await ledger.apply(tx, [FeedItem(FeedPosition(1, 1), caller.tenant_id, block)])

    assert refusal.value.reason == "DIRECTORY_NOT_READ"
    assert refusal.value.metadata == {"tenant": caller.tenant_id}
