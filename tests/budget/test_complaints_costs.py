"""What users of other budget tools complain about in costs and limits, and how it is here."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import grpc
import pytest
from finops.budget.v1 import ledger_model_pb2, ledger_service_pb2, spend_model_pb2
from finops.usage.v1 import usage_model_pb2, usage_service_pb2

from tests.budget.conftest import NOW, Caller
from tests.budget.making import at, create
from tests.budget.test_cost_ledger import become, spent
from tests.budget.test_spend import admitted_or_none, authorize, make_budget
from tests.support.server import refused
from tests.support.waiting import eventually


async def test_nobody_is_refused_where_no_budget_is_set(caller: Caller) -> None:
    """BerriAI/litellm#20615: BudgetExceeded with no budget set."""
    held = await authorize(caller, "1000000", subject={"user_id": "ada"})

    assert held.decision.outcome == spend_model_pb2.SPEND_OUTCOME_ALLOWED_UNCOVERED
    assert list(held.decision.checks) == []


async def test_first_requests_of_somebody_new_at_once_share_one_limit(caller: Caller) -> None:
    """BerriAI/litellm#40095: first requests of an unknown user passed the default budget by."""
    await make_budget(caller, "10")

    subject = {"user_id": "never-seen"}
    asked = (admitted_or_none(caller, Decimal(3), subject=subject) for _ in range(16))
    admitted = [each for each in await asyncio.gather(*asked) if each is not None]

    assert len(admitted) == 3
    assert await spent(caller) == ("0", "9")


@pytest.mark.usefixtures("working")
async def test_a_mistyped_price_is_corrected_in_usage_and_the_counter_follows(
    caller: Caller,
) -> None:
    """BerriAI/litellm#22726: a mistyped price poisoned a counter that only SQL could repair.

    BerriAI/litellm#31835, langfuse/langfuse#12184: a new price for what was is kept in sight.
    """
    budget_id = await make_budget(caller, "100")
    event_id = await caller.record("5000")
    await become(caller, ("5000", "0"))
    blocked = await refused(authorize(caller, "1"))

    await amended(caller, event_id, "5")
    await become(caller, ("5", "0"))

    assert blocked.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await authorize(caller, "90")).state == spend_model_pb2.AUTHORIZATION_STATE_HELD
    listing = ledger_service_pb2.ListLedgerEntriesRequest(
        budget_id=budget_id, filter="kind = CORRECTION"
    )
    (entry,) = (await caller.ledger.ListLedgerEntries(listing)).entries
    assert entry.kind == ledger_model_pb2.LEDGER_ENTRY_KIND_CORRECTION
    assert entry.spent_change.amount == "-4995"


async def amended(caller: Caller, event_id: str, cost: str) -> None:
    """Corrects what an event cost."""
    request = usage_service_pb2.AmendUsageRequest(
        source="tests", event_id=event_id, amend_reason="The price was mistyped."
    )
    request.replacement.CopyFrom(event_of(event_id, billed=cost))
    await caller.usage.AmendUsage(request)


def event_of(event_id: str, **costs: str) -> usage_model_pb2.UsageEvent:
    return usage_model_pb2.UsageEvent(
        event_id=event_id,
        source="tests",
        start_time=at(NOW.isoformat()),
        resource_type="llm",
        quantity="1",
        unit="call",
        cost=usage_model_pb2.UsageCost(currency_code="USD", **costs),
    )


@pytest.mark.usefixtures("working")
async def test_a_budget_counts_the_kind_of_cost_that_its_owner_chose(caller: Caller) -> None:
    """opencost/opencost#2162, #2172, #3894: list prices stood 27 to 45 % beside the bill."""
    kinds = ("", "effective", "list", "contracted")
    made = [await create(caller, cost_type=kind) for kind in kinds]

    costs = {"billed": "73", "effective": "71", "list": "100", "contracted": "80"}
    await recorded(caller, event_of("bill-line", **costs))

    async def counted() -> list[str]:
        found = []
        for budget in made:
            request = ledger_service_pb2.ListBudgetPeriodsRequest(budget_id=budget.budget_id)
            (period,) = (await caller.ledger.ListBudgetPeriods(request)).periods
            found.append(period.totals.spent.amount)
        return found

    async def is_counted() -> bool:
        return await counted() == ["73", "71", "100", "80"]

    await eventually(is_counted)


async def recorded(caller: Caller, *events: usage_model_pb2.UsageEvent) -> list[int]:
    """Records events and returns what became of each."""
    answer = await caller.usage.RecordUsage(usage_service_pb2.RecordUsageRequest(events=events))
    return list(answer.statuses)


@pytest.mark.usefixtures("working")
async def test_a_credit_counts_below_zero_and_gives_room_again(caller: Caller) -> None:
    """opencost/opencost#3393: cost below zero was clamped instead of explained."""
    await make_budget(caller, "100")
    await caller.record("95")
    await become(caller, ("95", "0"))
    full = await refused(authorize(caller, "10"))

    await recorded(caller, event_of("credit", billed="-120"))
    await become(caller, ("-25", "0"))

    assert full.reason == "SPEND_LIMIT_REACHED"
    assert (await authorize(caller, "125")).decision.checks[0].remaining.amount == "125"


@pytest.mark.usefixtures("working")
async def test_an_event_counts_once_in_a_budget_however_often_and_whenever_it_is_sent(
    caller: Caller,
) -> None:
    """openmeterio/openmeter#5118: a retried event was metered zero times; and others, twice.

    getlago/lago-api#4725, #4744: duplicates were billed; langfuse/langfuse#15917: and retried work.
    """
    await make_budget(caller, "100")
    event = event_of("call-1", billed="7")

    answers = await asyncio.gather(*(recorded(caller, event, event) for _ in range(8)))
    other = await recorded(caller, event_of("call-1", billed="9"), event_of("call-2", billed="1"))
    await become(caller, ("8", "0"))

    statuses = [status for answer in answers for status in answer]
    assert statuses.count(usage_model_pb2.RECORD_STATUS_ACCEPTED) == 1
    assert statuses.count(usage_model_pb2.RECORD_STATUS_DUPLICATE) == 15
    assert other == [
        usage_model_pb2.RECORD_STATUS_CONFLICT,
        usage_model_pb2.RECORD_STATUS_ACCEPTED,
    ]


async def test_usage_without_an_id_or_a_time_is_refused_and_not_put_anywhere(
    caller: Caller,
) -> None:
    """tuist/tuist#11903: usage without a time landed in the wrong invoice.

    diggerhq/opencomputer#276: usage without an id was billed twice.
    """
    timeless = event_of("call-1", billed="7")
    timeless.ClearField("start_time")

    statuses = await recorded(caller, timeless, event_of("", billed="7"))

    assert statuses == [usage_model_pb2.RECORD_STATUS_INVALID] * 2
