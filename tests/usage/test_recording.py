"""Recording: every event counts exactly once, whatever is sent again, shuffled or wrong."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from services.kernel.database import Database
from services.usage.domain.event import Attributes, Costs, Outcome, UsageEvent
from services.usage.domain.recording import Verdict
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALL = Attributes(resource_type="api_call", unit="request", currency_code="USD", user_id="ada")


def billed(amount: str) -> Costs:
    cost = Decimal(amount)
    return Costs(cost, cost, cost, cost)


def event(number: int, *, amount: str = "0.25", quantity: str = "1") -> UsageEvent:
    start = NOON + timedelta(minutes=number)
    return UsageEvent(
        "test", f"event-{number}", start, start, CALL, Decimal(quantity), (), billed(amount)
    )


async def counted(database: Database, tenant: str) -> tuple[int, Decimal, int, Decimal]:
    """Returns events and billed cost in raw storage, and in the change feed."""
    async with database.read(tenant) as tx:
        row = await tx.driver.fetchrow(
            "SELECT (SELECT count(*) FROM usage.event) AS raw,"
            " (SELECT COALESCE(sum(billed_cost), 0) FROM usage.event) AS raw_cost,"
            " (SELECT COALESCE(sum(events), 0) FROM usage.cost_change) AS fed,"
            " (SELECT COALESCE(sum(billed_cost), 0) FROM usage.cost_change) AS fed_cost"
        )
    assert row is not None
    return row["raw"], row["raw_cost"], row["fed"], row["fed_cost"]


async def test_accepted_events_are_counted_in_storage_and_feed(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    receipt = await recorder.record(tenant, [event(n) for n in range(300)])

    assert receipt.verdicts == [Verdict.ACCEPTED] * 300
    assert receipt.problems == []
    assert await counted(usage_database, tenant) == (300, Decimal(75), 300, Decimal(75))


async def test_sending_again_changes_nothing(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    """langfuse/langfuse#15917, #16292: a retry billed twice, or its refusal stopped metering."""
    await recorder.record(tenant, [event(1), event(2)])

    receipt = await recorder.record(tenant, [event(2), event(3), event(1)])

    assert receipt.verdicts == [Verdict.DUPLICATE, Verdict.ACCEPTED, Verdict.DUPLICATE]
    assert await counted(usage_database, tenant) == (3, Decimal("0.75"), 3, Decimal("0.75"))


async def test_same_id_with_another_payload_is_a_conflict_and_changes_nothing(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    """getlago/lago-api#4163, #4260, #4586, #6209: an id alone is no identity."""
    await recorder.record(tenant, [event(1)])

    receipt = await recorder.record(tenant, [event(1, amount="9"), event(2)])

    assert receipt.verdicts == [Verdict.CONFLICT, Verdict.ACCEPTED]
    assert [problem.position for problem in receipt.problems] == [0]
    assert await counted(usage_database, tenant) == (2, Decimal("0.5"), 2, Decimal("0.5"))


async def test_an_event_twice_in_one_batch_is_stored_once(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    receipt = await recorder.record(tenant, [event(1), event(1), event(1, quantity="2")])

    assert sorted(receipt.verdicts) == [Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT]
    assert (await counted(usage_database, tenant))[0] == 1


async def test_concurrent_shuffled_batches_of_the_same_events_count_once(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    """getlago/lago-api#4725, #4744, #5416, #5359: duplicates were billed."""
    batches = []
    for seed in range(8):
        batch = [event(n) for n in range(500)]
        random.Random(seed).shuffle(batch)
        batches.append(batch)

    receipts = await asyncio.gather(*(recorder.record(tenant, batch) for batch in batches))

    accepted = sum(receipt.verdicts.count(Verdict.ACCEPTED) for receipt in receipts)
    duplicates = sum(receipt.verdicts.count(Verdict.DUPLICATE) for receipt in receipts)
    assert (accepted, duplicates) == (500, 3500)
    assert await counted(usage_database, tenant) == (500, Decimal(125), 500, Decimal(125))


async def test_the_same_id_of_two_tenants_is_two_events(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    """getlago/lago-api#5327: the key of a duplicate left out part of the identity."""
    other = f"{tenant}-other"

    first = await recorder.record(tenant, [event(1)])
    second = await recorder.record(other, [event(1)])

    assert first.verdicts == second.verdicts == [Verdict.ACCEPTED]
    assert (await counted(usage_database, other))[0] == 1


async def test_an_event_without_a_price_is_stored_counted_and_shown_as_unpriced(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    unpriced = event(1)._replace(cost=None, attributes=CALL._replace(currency_code=""))

    receipt = await recorder.record(tenant, [unpriced])

    assert receipt.verdicts == [Verdict.ACCEPTED]
    async with usage_database.read(tenant) as tx:
        row = await tx.driver.fetchrow(
            "SELECT c.unpriced_events, c.billed_cost, d.currency_code"
            " FROM usage.cost_change c JOIN usage.dimension d USING (tenant_id, dimension_id)"
        )
    assert row is not None
    assert tuple(row) == (1, Decimal(0), "USD")


async def test_details_of_an_event_are_kept(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    failed = event(1)._replace(
        end_at=NOON + timedelta(hours=1),
        outcome=Outcome.FAILED,
        error_code="RATE_LIMITED",
        retries=3,
        latency_ms=0,
        capacity=Decimal("8.5"),
        utilization=0.25,
        components=(("input_token", Decimal(3)),),
    )

    await recorder.record(tenant, [failed])

    async with usage_database.read(tenant) as tx:
        row = await tx.driver.fetchrow(
            "SELECT end_at, outcome, error_code, retries, latency_ms, capacity, utilization,"
            " components FROM usage.event"
        )
    assert row is not None
    assert tuple(row) == (
        NOON + timedelta(hours=1),
        2,
        "RATE_LIMITED",
        3,
        0,
        Decimal("8.5"),
        0.25,
        [["input_token", "3"]],
    )


async def test_a_restarted_service_recognises_what_it_stored_before(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    await recorder.record(tenant, [event(1)])
    restarted = Recorder(usage_database, TenantContexts(usage_database), CostFeed(usage_database))

    receipt = await restarted.record(tenant, [event(1)])

    assert receipt.verdicts == [Verdict.DUPLICATE]
