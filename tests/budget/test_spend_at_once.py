"""Batches decided on remembered figures: in one statement, and only while the figures stand."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.budget.bootstrap import Foundation
from services.budget.service.spend_request import Release
from services.budget.service.spending import Spending
from services.kernel.clock import ManualClock
from services.kernel.ids import new_id
from tests.budget.conftest import Caller
from tests.budget.test_cost_ledger import spent
from tests.budget.test_spend import make_budget
from tests.budget.test_spend_faults import ask


@pytest.fixture
def locked_runs(base: Foundation, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Notes each batch that was decided on locked figures."""
    run, runs = base.database.run, list[Any]()

    async def noted(tenant_id: str | None, work: Any) -> Any:
        runs.append(work)
        return await run(tenant_id, work)

    monkeypatch.setattr(base.database, "run", noted)
    return runs


def another_replica(base: Foundation) -> Spending:
    return Spending(base.database, base.indexes, base.movements, rates=base.rates, clock=base.clock)


async def test_a_batch_goes_on_from_the_figures_of_the_one_before(
    caller: Caller, base: Foundation, locked_runs: list[Any]
) -> None:
    await make_budget(caller, "100")

    held = [await base.spending.authorize_spend(ask(caller, "0.01", new_id())) for _ in range(5)]

    assert len(locked_runs) == 1
    assert [each.decision.checks[0].held for each in held] == [
        Decimal(count) / 100 for count in range(5)
    ]
    assert await spent(caller) == ("0", "0.05")


async def test_figures_that_another_replica_moved_are_not_decided_on(
    caller: Caller, base: Foundation, locked_runs: list[Any]
) -> None:
    await make_budget(caller, "100")
    await base.spending.authorize_spend(ask(caller, "1"))
    await another_replica(base).authorize_spend(ask(caller, "60"))
    locked_runs.clear()

    held = await base.spending.authorize_spend(ask(caller, "2"))

    assert len(locked_runs) == 1
    assert held.decision.checks[0].held == Decimal(61)
    assert await spent(caller) == ("0", "63")


async def test_a_new_budget_covers_the_next_call(caller: Caller, base: Foundation) -> None:
    await make_budget(caller, "100")
    await base.spending.authorize_spend(ask(caller, "1"))
    await make_budget(caller, "50")

    held = await base.spending.authorize_spend(ask(caller, "2"))

    assert {check.limit for check in held.decision.checks} == {Decimal(50), Decimal(100)}


async def test_a_repeated_request_id_is_found_in_the_statement_too(
    caller: Caller, base: Foundation
) -> None:
    await make_budget(caller, "100")
    request_id = new_id()
    first = await base.spending.authorize_spend(ask(caller, "1", request_id))
    await base.spending.authorize_spend(ask(caller, "1", new_id()))

    again = await base.spending.authorize_spend(ask(caller, "1", request_id))

    assert again.authorization_id == first.authorization_id
    assert await spent(caller) == ("0", "2")


async def test_two_replicas_at_once_never_admit_more_than_the_limit(
    caller: Caller, base: Foundation
) -> None:
    await make_budget(caller, "10")
    replicas = [base.spending, another_replica(base)]

    answers = await asyncio.gather(
        *(
            replicas[number % 2].authorize_spend(ask(caller, "0.3", new_id()))
            for number in range(60)
        ),
        return_exceptions=True,
    )

    admitted = [each for each in answers if not isinstance(each, BaseException)]
    assert len(admitted) == 33
    assert await spent(caller) == ("0", "9.9")


async def test_a_hold_that_ran_out_is_given_back_before_the_next_decision(
    caller: Caller, base: Foundation, clock: ManualClock
) -> None:
    await make_budget(caller, "100")
    for _ in range(3):
        await base.spending.authorize_spend(ask(caller, "30"))
    clock.advance(timedelta(minutes=16))

    held = await base.spending.authorize_spend(ask(caller, "100"))
    await base.spending.release_spend(Release(caller.tenant_id, held.authorization_id))

    assert await spent(caller) == ("0", "0")
