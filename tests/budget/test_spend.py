"""Spend over a real connection: authorized, settled, released, explained."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import (
    budget_service_pb2,
    budget_service_pb2_grpc,
    spend_messages_pb2,
    spend_model_pb2,
)
from finops.common.v1.money_pb2 import Money

from services.budget import bootstrap
from services.budget.settings import BudgetSettings
from services.kernel.clock import ManualClock
from services.kernel.ids import new_id
from tests.budget.conftest import Caller, RunningUsage
from tests.support.database import ServiceDatabase
from tests.support.server import (
    JWT_SECRET,
    SERVICE_SECRET,
    LocalServer,
    bearer,
    refused,
    service_token_of,
    serving,
    token_of,
)


async def make_budget(
    caller: Caller, amount: str = "100", currency_code: str = "USD", **changed: Any
) -> str:
    """Makes a hard monthly budget over the whole tenant, and returns its id."""
    fields: dict[str, Any] = {
        "display_name": "Research",
        "scope": model.BudgetScope(),
        "cadence": model.BUDGET_CADENCE_MONTHLY,
        "amount": Money(currency_code=currency_code, amount=amount),
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
    """BerriAI/litellm#34732: checked before and counted after, concurrent calls pass the limit."""
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
    """BerriAI/litellm#26672, #23714, #11083: calls kept passing once the budget was spent."""
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


async def test_four_budgets_in_a_chain_admit_what_the_tightest_does(caller: Caller) -> None:
    scopes = [
        model.BudgetScope(),
        model.BudgetScope(resource_type="llm"),
        model.BudgetScope(resource_type="llm", project="apollo"),
        model.BudgetScope(user_id="ada"),
    ]
    for scope, amount in zip(scopes, ("1000", "100", "60", "80"), strict=True):
        await make_budget(caller, amount, scope=scope)
    draw = random.Random(2)
    subject = {"project": "apollo", "user_id": "ada"}

    async def client() -> Decimal:
        amounts = [Decimal(draw.randrange(1, 5_000_000)).scaleb(-6) for _ in range(6)]
        held = [await admitted_or_none(caller, amount, subject=subject) for amount in amounts]
        return sum(
            (amount for amount, one in zip(amounts, held, strict=True) if one is not None),
            Decimal(0),
        )

    admitted = sum(await asyncio.gather(*(client() for _ in range(16))), Decimal(0))

    trial = await authorize(caller, "0", subject=subject, validate_only=True)
    assert len(trial.decision.checks) == 4
    assert {Decimal(check.held.amount) for check in trial.decision.checks} == {admitted}
    assert 55 < admitted <= 60


async def test_a_repeated_request_has_one_effect_and_another_body_is_refused(
    caller: Caller,
) -> None:
    await make_budget(caller)
    request_id, settle_id = new_id(), new_id()

    first, second = await asyncio.gather(
        authorize(caller, "10", request_id=request_id),
        authorize(caller, "10", request_id=request_id),
    )
    other_body = await refused(authorize(caller, "11", request_id=request_id))
    once = await settle(caller, first.authorization_id, "4", request_id=settle_id)
    twice = await settle(caller, first.authorization_id, "4", request_id=settle_id)
    other_cost = await refused(settle(caller, first.authorization_id, "5", request_id=settle_id))
    again = await refused(settle(caller, first.authorization_id, "4"))

    assert first.authorization_id == second.authorization_id
    assert once == twice
    assert other_body.reason == other_cost.reason == "SPEND_REQUEST_ID_REUSED"
    assert other_body.code is grpc.StatusCode.ALREADY_EXISTS
    assert again.reason == "AUTHORIZATION_SETTLED"
    trial = await authorize(caller, "0", validate_only=True)
    assert trial.decision.checks[0].spent.amount == "4"
    assert trial.decision.checks[0].held.amount == "0"


async def test_what_is_not_held_is_neither_settled_nor_released(caller: Caller) -> None:
    await make_budget(caller, "10")
    held = await authorize(caller, "5")
    await release(caller, held.authorization_id, reason="cancelled")
    denied = await refused(authorize(caller, "11"))

    settled = await refused(settle(caller, held.authorization_id, "5"))
    released = await refused(release(caller, denied.metadata["authorization_id"]))
    unknown = await refused(release(caller, "nothing"))

    assert settled.reason == released.reason == "AUTHORIZATION_NOT_HELD"
    assert released.metadata["state"] == "DENIED"
    assert unknown.reason == "AUTHORIZATION_NOT_FOUND"
    assert unknown.code is grpc.StatusCode.NOT_FOUND


async def test_a_throttled_budget_slows_down_and_refuses_nothing_for_good(
    caller: Caller, clock: ManualClock
) -> None:
    await make_budget(caller, "10", enforcement=model.BUDGET_ENFORCEMENT_THROTTLE)
    await authorize(caller, "9.5")

    first = await authorize(caller, "1")
    refusal = await refused(authorize(caller, "1"))
    clock.advance(timedelta(seconds=1))
    later = await authorize(caller, "1")

    over = spend_model_pb2.SPEND_OUTCOME_ALLOWED_OVER_SOFT_LIMIT
    assert first.decision.outcome == later.decision.outcome == over
    assert refusal.reason == "SPEND_THROTTLED"
    retry: Any = refusal.details["RetryInfo"]
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=1)


async def test_past_decisions_are_listed_newest_first_and_filtered(caller: Caller) -> None:
    budget_id = await make_budget(caller, "10")
    await authorize(caller, "1", subject={"user_id": "ada"})
    await refused(authorize(caller, "20", subject={"user_id": "bob"}))
    await authorize(caller, "2", subject={"user_id": "bob"})

    async def listed(text: str) -> list[str]:
        request = spend_messages_pb2.ListSpendAuthorizationsRequest(filter=text)
        answer = await caller.budgets.ListSpendAuthorizations(request)
        return [one.decision.asked.amount for one in answer.authorizations]

    assert await listed("") == ["2", "20", "1"]
    assert await listed("state = DENIED") == ["20"]
    assert await listed(f'user_id = "bob" AND budget_id = "{budget_id}"') == ["2", "20"]
    assert await listed('budget_id = "other"') == []


async def test_a_budget_in_another_currency_is_asked_at_the_days_rate(
    caller: Caller, clock: ManualClock
) -> None:
    clock.advance(datetime(2025, 1, 15, 12, tzinfo=UTC) - clock.now())
    await make_budget(caller, "100", "EUR")

    held = await authorize(caller, "10.3")

    (check,) = held.decision.checks
    assert check.asked.currency_code == "EUR"
    assert check.exchange_rate_date <= "2025-01-15"
    assert Decimal(check.asked.amount) == pytest.approx(
        Decimal("10.3") * Decimal(check.exchange_rate), abs=Decimal("1e-17")
    )
    await settle(caller, held.authorization_id, "10.3")
    trial = await authorize(caller, "0", validate_only=True)
    assert trial.decision.checks[0].spent.amount == check.asked.amount


async def test_two_replicas_never_spend_more_than_the_budget(
    caller: Caller,
    server: LocalServer,
    budget_service: ServiceDatabase,
    usage_server: RunningUsage,
    clock: ManualClock,
) -> None:
    await make_budget(caller)
    draw = random.Random(3)
    usage = usage_server.server.channel_with(service_token_of("budget", tenant=""))
    secrets: dict[str, Any] = {
        "jwt_secret": JWT_SECRET,
        "service_token_secret": SERVICE_SECRET,
    }
    settings = BudgetSettings(**secrets)
    database = budget_service.connect()
    built = bootstrap.build(database, usage, settings, clock=clock)

    async def client(replica: Caller) -> Decimal:
        admitted = Decimal(0)
        for _ in range(8):
            amount = Decimal(draw.randrange(1, 5_000_000)).scaleb(-6)
            if await admitted_or_none(replica, amount) is not None:
                admitted += amount
        return admitted

    async with serving(*built.servicers, database=database) as second:
        channel = second.channel("org_admin", tenant=caller.tenant_id)
        other = replace(caller, budgets=budget_service_pb2_grpc.BudgetServiceStub(channel))
        clients = [client(replica) for replica in (caller, other) for _ in range(16)]
        admitted = sum(await asyncio.gather(*clients), Decimal(0))
    await database.close()

    trial = await authorize(caller, "0", validate_only=True)
    assert Decimal(trial.decision.checks[0].held.amount) == admitted
    assert 95 < admitted <= 100
    assert server.target != second.target


async def test_the_idempotency_key_of_a_header_is_the_request_id(
    caller: Caller, server: LocalServer
) -> None:
    await make_budget(caller)
    call = server.plain.unary_unary(
        "/finops.budget.v1.BudgetService/AuthorizeSpend",
        request_serializer=spend_messages_pb2.AuthorizeSpendRequest.SerializeToString,
        response_deserializer=spend_messages_pb2.AuthorizeSpendResponse.FromString,
    )
    credential = bearer(token_of("org_admin", tenant=caller.tenant_id))
    metadata = [*credential, ("idempotency-key", "once")]

    answers = [await call(asking("10"), metadata=metadata) for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[0].spend_authorization.request_id == "once"
    trial = await authorize(caller, "0", validate_only=True)
    assert trial.decision.checks[0].held.amount == "10"
