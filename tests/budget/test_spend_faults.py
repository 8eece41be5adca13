"""What goes wrong around a decision neither doubles money nor holds others up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.budget.bootstrap import Foundation
from services.budget.domain.scope import SpendAttributes
from services.budget.domain.spend import (
    AuthorizationState,
    CostEstimate,
    EstimateMethod,
    SpendAuthorization,
)
from services.budget.errors import UsageRefused
from services.budget.service.claiming import Claims, FoundEvent
from services.budget.service.spend_request import Ask
from services.budget.store import authorizations, counted
from services.kernel.client import PeerUnavailable
from services.kernel.clock import ManualClock
from services.kernel.database import Database, Transaction
from services.kernel.database_errors import CommitUnknown, DatabaseUnavailable
from services.kernel.ids import new_id
from services.kernel.money import Money
from tests.budget.conftest import NOW, Caller
from tests.budget.test_cost_ledger import spent
from tests.budget.test_spend import authorize, make_budget


async def test_what_cannot_be_decided_is_refused_and_holds_nothing(
    caller: Caller, budget_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BerriAI/litellm#33923: a failed reservation let the work pass."""
    await make_budget(caller, "100")
    await authorize(caller, "1")

    async def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(budget_database, "run", gone)
        patched.setattr(budget_database, "system_fetch", gone)
        with pytest.raises(PeerUnavailable):
            await authorize(caller, "5")

    assert await spent(caller) == ("0", "1")


async def test_calls_without_an_id_are_each_their_own(caller: Caller) -> None:
    """BerriAI/litellm#6633: an empty request id was a key, and only the first call was kept."""
    await make_budget(caller, "100")

    held = [await authorize(caller, "1", request_id="") for _ in range(3)]

    assert len({each.authorization_id for each in held}) == 3
    assert await spent(caller) == ("0", "3")


async def test_a_call_without_request_id_is_not_run_again_when_its_commit_is_unknown(
    caller: Caller, base: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_budget(caller, "100")
    run, batches = base.database.run, list[int]()

    async def committed_unseen(
        tenant_id: str | None, work: Callable[[Transaction], Awaitable[Any]]
    ) -> Any:
        answers = await run(tenant_id, work)
        batches.append(len(answers))
        if len(batches) == 1:
            raise CommitUnknown
        return answers

    monkeypatch.setattr(base.database, "run", committed_unseen)
    named, unnamed = await asyncio.gather(
        base.spending.authorize_spend(ask(caller, "10", new_id())),
        base.spending.authorize_spend(ask(caller, "20")),
        return_exceptions=True,
    )
    monkeypatch.undo()

    assert batches == [2, 1]
    assert isinstance(named, SpendAuthorization)
    assert isinstance(unnamed, CommitUnknown)
    assert await spent(caller) == ("0", "30")


def ask(caller: Caller, amount: str, request_id: str = "") -> Ask:
    estimate = CostEstimate(EstimateMethod.CALLER, Money("USD", Decimal(amount)), "Given.")
    subject = SpendAttributes(resource_type="llm")
    return Ask(caller.tenant_id, subject, estimate, timedelta(minutes=15), request_id=request_id)


async def test_a_claim_that_usage_refuses_waits_and_holds_no_other_up(
    caller: Caller, base: Foundation, clock: ManualClock
) -> None:
    await make_budget(caller, "100")
    await authorize(caller, "10", usage_event_id="refused", usage_source="tests")

    class Refusing:
        async def find(self, tenant_id: str, source: str, event_id: str) -> FoundEvent | None:
            raise UsageRefused(tenant=tenant_id, source=source, event=event_id)

    claims = Claims(base.database, Refusing(), base.indexes, base.movements, clock=clock)
    await claims.look_up()

    async with base.database.system_transaction() as tx:
        now = await authorizations.due_claims(tx, clock.now(), 1_000)
        later = await authorizations.due_claims(tx, clock.now() + timedelta(hours=1), 1_000)
    assert caller.tenant_id not in {each.tenant_id for each in now}
    assert caller.tenant_id in {each.tenant_id for each in later}


async def test_what_was_counted_last_stays_counted_however_long_nothing_comes(
    tenant: str, budget_database: Database
) -> None:
    last = datetime(2100, 1, 1, tzinfo=UTC)

    async with budget_database.system_transaction() as tx:
        await counted.add(tx, [(tenant, last)])
        await counted.trim(tx, last + timedelta(days=1))
        is_counted = await counted.is_counted(tx, tenant, last)
        is_older_counted = await counted.is_counted(tx, tenant, NOW)
        await tx.driver.execute(
            "DELETE FROM budget.counted_transaction WHERE recorded_at = $1", last
        )

    assert is_counted
    assert is_older_counted


async def test_a_decision_leaves_the_holds_of_other_tenants_alone(
    caller: Caller, base: Foundation, clock: ManualClock
) -> None:
    await make_budget(caller, "100")
    held = await authorize(caller, "10")
    clock.advance(timedelta(minutes=16))

    other = replace(ask(caller, "1"), tenant_id=f"tenant-{new_id()}")
    await base.spending.authorize_spend(other)
    left = await base.spending.explain_authorization(caller.tenant_id, held.authorization_id)
    await base.spending.authorize_spend(ask(caller, "1"))
    back = await base.spending.explain_authorization(caller.tenant_id, held.authorization_id)

    assert left.state is AuthorizationState.HELD
    assert back.state is AuthorizationState.EXPIRED
