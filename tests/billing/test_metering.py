"""Meters whose feed expired go on with what is kept, count it once, and have the rest found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from services.billing.convert.cost_changes import cost_changes
from services.billing.domain.metering import UsageChange
from services.billing.domain.reconciliation import Cause, Reconciliation, Scope
from services.billing.service.metering import Metering
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.reconciling import Reconciling
from services.billing.store import metering as meters
from services.billing.store import reconciliations
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope
from services.kernel.feed import FeedPositionExpired
from services.kernel.feed_consumer import FeedConsumer, Source
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition
from services.kernel.ids import new_id
from services.kernel.pagination import PageRequest, PageTokens
from tests.billing.conftest import NOW, Billing
from tests.billing.provider.seeding import work_of
from tests.billing.test_azure_month import BEGIN, Request, record
from tests.support.server import LocalServer, service_token_of
from tests.support.waiting import eventually

LOST = FeedPosition(1, 1)


@pytest.fixture
async def reconciling(billing_database: Database) -> AsyncIterator[Reconciling]:
    """What compares, with no provider that it would ask."""
    providers = Providers(billing_database, Envelope([]))
    yield work_of(billing_database, providers).reconciling
    await providers.close()


def forgetful(feed: Source[UsageChange]) -> Source[UsageChange]:
    """Returns a feed that no longer keeps what follows one position."""

    async def open_feed(after: FeedPosition) -> AsyncGenerator[FeedPage[UsageChange], None]:
        if after == LOST:
            raise FeedPositionExpired(position=after)
        async for page in feed(after):
            yield page

    return open_feed


@dataclass
class Applied:
    """Remembers the changes of a tenant, beside the cursor of all other tests."""

    tenant: str
    items: list[FeedItem[UsageChange]] = field(default_factory=list)

    async def add(self, _: Transaction, items: Sequence[FeedItem[UsageChange]]) -> None:
        self.items += [item for item in items if item.tenant_id == self.tenant]


async def listed(database: Database, tenant: str) -> list[Reconciliation]:
    async with database.read(tenant) as tx:
        asked = PageRequest(tenant, "reconciliations", 10)
        page = await reconciliations.list_reconciliations(tx, asked, PageTokens(b"tokens"))
    return list(page.items)


async def test_metering_goes_on_after_changes_that_are_no_longer_kept(
    *,
    billing: Billing,
    billing_database: Database,
    reconciling: Reconciling,
    usage_server: LocalServer,
) -> None:
    await record(usage_server, billing.tenant, [Request(BEGIN, 100, 10)])
    async with billing_database.system_transaction() as tx:
        await meters.lock_metering(tx, [billing.tenant])
    applied = Applied(billing.tenant)
    name = f"lost-{new_id()}"
    async with billing_database.system_transaction() as tx:
        await tx.driver.execute(
            "INSERT INTO feed_cursor (name, position) VALUES ($1, $2)", name, str(LOST)
        )
    channel = usage_server.channel_with(service_token_of("billing", tenant=""))
    source = forgetful(cost_changes(channel))
    metering = Metering(billing_database, source, reconciling.recover_usage)
    metering.consumer = FeedConsumer(billing_database, name=name, apply=applied.add)

    following = asyncio.create_task(metering.follow())

    async def has_come() -> bool:
        return len(applied.items) > 0

    try:
        await eventually(has_come)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
    positions = [item.position for item in applied.items]
    assert len(set(positions)) == len(positions)
    assert await metering.consumer.position() > LOST
    queued = await listed(billing_database, billing.tenant)
    assert [(each.scope, each.cause) for each in queued] == [(Scope.USAGE, Cause.RECOVERY)]


async def test_recount_looks_at_what_came_before_the_last_change_too(
    billing: Billing, billing_database: Database, reconciling: Reconciling
) -> None:
    async with billing_database.system_transaction() as tx:
        await meters.lock_metering(tx, [billing.tenant])
        await meters.set_as_of(tx, {billing.tenant: str(LOST)}, NOW)

        await reconciling.recover_usage(tx)

    (queued,) = await listed(billing_database, billing.tenant)
    assert (NOW - queued.window.start).days == 29
