"""Spend over a real connection: authorized, settled, released, explained."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import Any

import grpc
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2, spend_messages_pb2, spend_model_pb2
from finops.common.v1.money_pb2 import Money

from services.kernel.ids import new_id
from tests.budget.conftest import Caller
from tests.support.server import refused


async def make_budget(caller: Caller, amount: str = "100", **changed: Any) -> str:
    """Makes a hard monthly budget over the whole tenant, and returns its id."""
    fields: dict[str, Any] = {
        "display_name": "Research",
        "scope": model.BudgetScope(),
        "cadence": model.BUDGET_CADENCE_MONTHLY,
        "amount": Money(currency_code="USD", amount=amount),
        "enforcement": model.BUDGET_ENFORCEMENT_HARD,
    }
    request = budget_service_pb2.CreateBudgetRequest(budget=model.Budget(**(fields | changed)))
    return (await caller.budgets.CreateBudget(request)).budget.budget_id


def asking(amount: str | None = None, **changed: Any) -> spend_messages_pb2.AuthorizeSpendRequest:
    """Returns a request of a language model's work."""
    subject = changed.pop("subject", {})
    return spend_messages_pb2.AuthorizeSpendRequest(
        subject=spend_model_pb2.SpendSubject(**({"resource_type": "llm"} | subject)),
        amount=None if amount is None else Money(currency_code="USD", amount=amount),
        **changed,
    )


async def authorize(
    caller: Caller, amount: str | None = None, **changed: Any
) -> spend_model_pb2.SpendAuthorization:
    answer = await caller.budgets.AuthorizeSpend(asking(amount, **changed))
    return answer.spend_authorization


async def settle(
    caller: Caller, authorization_id: str, cost: str, **changed: Any
) -> spend_model_pb2.SpendAuthorization:
    request = spend_messages_pb2.SettleSpendRequest(
        authorization_id=authorization_id,
        cost=Money(currency_code="USD", amount=cost),
        **changed,
    )
    return (await caller.budgets.SettleSpend(request)).spend_authorization


async def release(
    caller: Caller, authorization_id: str, **changed: Any
) -> spend_model_pb2.SpendAuthorization:
    request = spend_messages_pb2.ReleaseSpendRequest(authorization_id=authorization_id, **changed)
    return (await caller.budgets.ReleaseSpend(request)).spend_authorization


async def admitted_or_none(
    caller: Caller, amount: Decimal, **changed: Any
) -> spend_model_pb2.SpendAuthorization | None:
    """Returns the authorization; None when a limit is in the way, and nothing else is."""
    try:
        return await authorize(caller, f"{amount:f}", request_id=new_id(), **changed)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return None


async def test_a_hold_becomes_the_real_cost(caller: Caller) -> None:
    budget_id = await make_budget(caller)

    held = await authorize(caller, "30")
    settled = await settle(caller, held.authorization_id, "12.5")
    after = await authorize(caller, "1", validate_only=True)

    assert held.state == spend_model_pb2.AUTHORIZATION_STATE_HELD
    (check,) = held.decision.checks
    assert (check.budget_id, check.limit.amount, check.remaining.amount) == (
        budget_id,
        "100",
        "100",
    )
    assert settled.state == spend_model_pb2.AUTHORIZATION_STATE_SETTLED
    assert settled.excess.amount == "0"
    (check,) = after.decision.checks
    assert (check.spent.amount, check.held.amount, check.remaining.amount) == ("12.5", "0", "87.5")


async def test_64_clients_never_spend_more_than_the_budget(caller: Caller) -> None:
    await make_budget(caller)
    draw = random.Random(1)
    admitted = [Decimal(0)]
    refusals = 0

    async def client(number: int) -> None:
        nonlocal refusals
        for _ in range(8):
            amount = Decimal(draw.randrange(1, 5_000_000)).scaleb(-6)
            held = await admitted_or_none(caller, amount)
            if held is None:
                refusals += 1
                continue
            if number % 3 == 0:
                await release(caller, held.authorization_id)
                continue
            await settle(caller, held.authorization_id, f"{amount:f}")
            admitted.append(amount)

    await asyncio.gather(*(client(number) for number in range(64)))

    trial = await authorize(caller, "0", validate_only=True)
    (check,) = trial.decision.checks
    assert Decimal(check.spent.amount) == sum(admitted) <= 100
    assert check.held.amount == "0"
    assert refusals > 0


async def test_a_refusal_names_each_budget_in_the_way_and_when_to_come_back(
    caller: Caller,
) -> None:
    budget_id = await make_budget(caller, "10")
    await make_budget(caller, "1000", display_name="Everything")

    refusal = await refused(authorize(caller, "11"))

    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "SPEND_LIMIT_REACHED"
    quota: Any = refusal.details["QuotaFailure"]
    (violation,) = quota.violations
    assert violation.subject == f"budget:{budget_id}"
    assert (
        "limit 10 USD, spent 0 USD, held 0 USD, remaining 10 USD, asked 11 USD, "
        "next reset 2026-04-01T00:00:00+00:00"
    ) in violation.description
    retry: Any = refusal.details["RetryInfo"]
    assert retry.retry_delay.ToTimedelta().days == 14
    explained = await caller.budgets.ExplainAuthorization(
        spend_messages_pb2.ExplainAuthorizationRequest(
            authorization_id=refusal.metadata["authorization_id"]
        )
    )
    checks = explained.spend_authorization.decision.checks
    assert [check.blocking for check in checks] == [True, False]
