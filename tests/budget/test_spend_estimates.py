"""How much is held when nobody gives the amount: by prices, by history, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import spend_model_pb2
from finops.usage.v1 import pricing_model_pb2, pricing_service_pb2, pricing_service_pb2_grpc

from tests.budget.conftest import Caller, RunningUsage
from tests.budget.test_spend import authorize, make_budget, settle
from tests.support.server import refused


async def set_prices(usage_server: RunningUsage, caller: Caller) -> None:
    """Prices the house's models: 3 USD a million tokens in, 15 out."""
    channel = usage_server.server.channel("org_admin", tenant=caller.tenant_id)
    pricing: Any = pricing_service_pb2_grpc.PricingServiceStub(channel)
    await pricing.CreatePriceBook(
        pricing_service_pb2.CreatePriceBookRequest(
            price_book=pricing_model_pb2.PriceBook(price_book_id="own")
        )
    )
    for meter, price in (("input_token", "3"), ("output_token", "15")):
        await pricing.CreatePrice(
            pricing_service_pb2.CreatePriceRequest(
                price=pricing_model_pb2.Price(
                    price_book_id="own",
                    resource_type="llm",
                    resource_id="house-*",
                    meter=meter,
                    currency_code="USD",
                    model=pricing_model_pb2.PRICING_MODEL_PER_UNIT,
                    per_quantity="1000000",
                    tiers=[pricing_model_pb2.PriceTier(unit_price=price)],
                )
            )
        )


async def test_a_burst_is_admitted_by_what_such_work_costs_not_by_its_worst_case(
    caller: Caller, usage_server: RunningUsage
) -> None:
    """BerriAI/litellm#38647, #27509 and discussion 50438: worst cases filled the counter.

    As that stress test of a peer: 20 calls at once whose worst case is 50 times their cost, and a
    budget that has room for their cost and for nothing more.
    """
    await set_prices(usage_server, caller)
    await make_budget(caller, "60")
    for _ in range(10):  # of earlier work
        held = await authorize(caller, "2", subject={"resource_id": "house-large"})
        await settle(caller, held.authorization_id, "2")
    work: dict[str, Any] = {
        "subject": {"resource_id": "house-large"},
        "usage_max": {"input_token": "10000000", "output_token": "4666666.66"},
    }

    burst = await asyncio.gather(*(authorize(caller, **work) for _ in range(20)))
    beyond = await refused(authorize(caller, **work))

    estimate = burst[0].decision.estimate
    assert estimate.method == spend_model_pb2.ESTIMATE_METHOD_HISTORY
    assert (estimate.amount.amount, estimate.worst_case.amount) == ("2", "99.9999999")
    assert (estimate.quantile_ratio, estimate.sample_count) == ("0.9", 10)
    assert estimate.excess_probability_ratio == "0"
    assert estimate.explanation == "90% of 10 calls of llm house-large cost at most 2 USD."
    assert beyond.reason == "SPEND_LIMIT_REACHED"
    for held in burst:
        await settle(caller, held.authorization_id, "2")
    trial = await authorize(caller, "0", validate_only=True)
    assert trial.decision.checks[0].spent.amount == "60"


async def test_work_of_which_only_bounds_are_known_holds_them_until_there_is_history(
    caller: Caller, usage_server: RunningUsage
) -> None:
    """BerriAI/litellm#35524: a model nobody had called before reserved nothing, or was refused."""
    await set_prices(usage_server, caller)
    await make_budget(caller, "100")
    work: dict[str, Any] = {
        "subject": {"resource_id": "house-new"},
        "usage_max": {"output_token": "4000000"},
    }

    first = await authorize(caller, **work)
    second = await refused(authorize(caller, **work))

    estimate = first.decision.estimate
    assert estimate.method == spend_model_pb2.ESTIMATE_METHOD_PRICE_BOOK
    assert (first.held.amount, estimate.worst_case.amount) == ("60", "60")
    assert "bounds" in estimate.explanation
    assert second.reason == "SPEND_LIMIT_REACHED"


async def test_work_without_a_known_price_meets_each_budgets_policy(caller: Caller) -> None:
    """BerriAI/litellm#35524: work whose cost nobody could estimate reserved nothing."""
    lenient = await make_budget(caller, unpriced_policy=model.UNPRICED_POLICY_ALLOW_AND_FLAG)
    allowed = await authorize(caller)
    await make_budget(caller, scope=model.BudgetScope(resource_type="llm"))
    refusal = await refused(authorize(caller))

    assert allowed.decision.outcome == spend_model_pb2.SPEND_OUTCOME_ALLOWED_UNPRICED
    assert allowed.decision.checks[0].budget_id == lenient
    assert allowed.held.amount == "0"
    assert refusal.reason == "SPEND_UNPRICED"
    assert "RetryInfo" not in refusal.details
    settled = await settle(caller, allowed.authorization_id, "3")
    assert settled.excess.amount == "3"


async def test_expected_quantities_are_priced_by_the_price_book(
    caller: Caller, usage_server: RunningUsage
) -> None:
    await set_prices(usage_server, caller)
    await make_budget(caller)

    held = await authorize(
        caller,
        subject={"resource_id": "house-large"},
        usage={"input_token": "1200", "output_token": "500"},
        usage_max={"input_token": "1200", "output_token": "4000"},
    )

    estimate = held.decision.estimate
    assert estimate.method == spend_model_pb2.ESTIMATE_METHOD_PRICE_BOOK
    assert (held.held.amount, estimate.worst_case.amount) == ("0.0111", "0.0636")
