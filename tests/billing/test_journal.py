"""The feed and the time line agree, in the transaction that makes a fact true."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from finops.billing.v1 import billing_model_pb2, run_messages_pb2

from services.billing.domain.journal import BillingFact, FactKind
from services.billing.service.journal import BillingFeed, Journal
from services.billing.store import journal as rows
from services.kernel.database import Database
from services.kernel.feed_page import START
from services.kernel.money import Money
from tests.billing.buying import Desk, desk_of, open_account, sell, subscribe
from tests.billing.conftest import Billing

AT = datetime(2026, 3, 1, tzinfo=UTC)


async def test_a_fact_is_in_the_feed_as_it_was_recorded(
    billing_database: Database, tenant: str
) -> None:
    feed = BillingFeed(billing_database)
    fact = BillingFact(
        kind=FactKind.INVOICE,
        resource_id="inv-1",
        account_id="acc-1",
        from_state="locked",
        to_state="open",
        amount=Money("EUR", Decimal("12.50")),
        occurred_at=AT,
    )

    async with billing_database.transaction(tenant) as tx:
        await Journal(feed).record(tx, fact)

    async with billing_database.read(tenant) as tx:
        page = await feed.read(tx, after=START)
    assert [rows.decode(item.fact) for item in page.items] == [fact]


async def test_a_watcher_sees_each_change_once_and_resumes_behind_the_last(
    billing: Billing,
) -> None:
    desk = desk_of(billing)
    account = await open_account(desk)
    await subscribe(desk, await sell(desk))

    first = await changes(desk, "", 1)
    rest = await changes(desk, first[0].sequence, 1)

    kinds = [each.event.kind for each in (*first, *rest)]
    assert kinds == [
        billing_model_pb2.BILLING_EVENT_KIND_ACCOUNT,
        billing_model_pb2.BILLING_EVENT_KIND_SUBSCRIPTION,
    ]
    assert {each.event.tenant_id for each in (*first, *rest)} == {billing.tenant}
    assert {each.event.account_id for each in (*first, *rest)} == {account.account_id}
    assert rest[0].event.to_state == "active"


async def changes(
    desk: Desk, after: str, count: int
) -> list[run_messages_pb2.WatchBillingResponse]:
    """Watches until so many changes came; heartbeats do not count."""
    found: list[run_messages_pb2.WatchBillingResponse] = []
    request = run_messages_pb2.WatchBillingRequest(after_sequence=after)
    stream: Any = desk.billing.WatchBilling(request)
    async with aclosing(stream) as answers:
        async for answer in answers:
            if answer.HasField("event"):
                found.append(answer)
            if len(found) == count:
                break
    return found
