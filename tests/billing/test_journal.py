"""The feed and the time line agree, in the transaction that makes a fact true."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from services.billing.domain.journal import BillingFact, FactKind
from services.billing.service.journal import BillingFeed, Journal
from services.billing.store import journal as rows
from services.kernel.database import Database
from services.kernel.feed import START
from services.kernel.money import Money

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
