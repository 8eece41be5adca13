"""A ledger that missed changes which are no longer kept is rebuilt from usage, and goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from functools import partial

import pytest
from finops.budget.v1 import ledger_service_pb2
from pydantic import SecretStr

from services.budget import bootstrap
from services.budget.convert.cost_feed import StubCostFeed
from services.budget.convert.usage_reader import StubUsageReader
from services.budget.domain.cost_block import CostBlock
from services.budget.service import rebuilding
from services.budget.service.cost_ledger import CostLedger
from services.budget.service.filling import COST_CONSUMER
from services.budget.service.rebuilding import Rebuilding
from services.budget.service.reconciling import Reconciler
from services.budget.settings import BudgetSettings
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.feed import FeedPositionExpired
from services.kernel.feed_consumer import FeedConsumer
from services.kernel.feed_page import FeedPage, FeedPosition
from services.kernel.job_worker import JobWorker
from services.kernel.workers import Loop, Workers
from tests.budget.conftest import NOW, Caller, RunningUsage
from tests.budget.test_cost_ledger import become
from tests.budget.test_spend import authorize, make_budget, settle
from tests.support.server import JWT_SECRET, service_token_of


class Forgetful(StubCostFeed):
    """The real feed, which no longer keeps what follows one position."""

    lost: FeedPosition | None = None

    async def pages(self, after: FeedPosition) -> AsyncGenerator[FeedPage[CostBlock], None]:
        if after == self.lost:
            raise FeedPositionExpired(position=after)
        async for page in super().pages(after):
            yield page


@pytest.fixture
def feed(usage_server: RunningUsage) -> Forgetful:
    """The feed of the real usage service."""
    return Forgetful(usage_server.server.channel_with(service_token_of("budget", tenant="")))


@pytest.fixture
async def following(
    budget_database: Database, usage_server: RunningUsage, feed: Forgetful, clock: ManualClock
) -> AsyncIterator[Workers]:
    """What follows the feed and rebuilds, not yet begun."""
    settings = BudgetSettings(jwt_secret=SecretStr(JWT_SECRET))
    channel = usage_server.server.channel_with(service_token_of("budget", tenant=""))
    usage = StubUsageReader(channel)
    alerts = bootstrap.alert_base(budget_database, clock=clock)
    base = bootstrap.foundation_of(budget_database, usage, alerts, settings, clock=clock)
    reconciler = Reconciler(
        budget_database,
        usage=usage,
        periods=base.periods,
        feed=base.feed,
        evaluator=base.evaluator,
        tokens=base.tokens,
        clock=clock,
    )
    costs = CostLedger(
        base.indexes, base.directories, base.movements, rates=base.rates, clock=clock
    )
    rebuilds = Rebuilding(budget_database, reconciler, feed.end, clock=clock)
    consumer = FeedConsumer(budget_database, name=COST_CONSUMER, apply=costs.apply)
    feed.lost = await consumer.position()
    jobs = JobWorker(budget_database, service="budget")
    jobs.handle(rebuilding.JOB, rebuilds.run, concurrency=2)
    resume = partial(rebuilds.resume, consumer)
    source = costs.source(feed.pages)
    workers = Workers([Loop("cost feed", lambda: consumer.run(source, recover=resume)), jobs])
    yield workers
    await workers.stop(5)


async def test_a_ledger_whose_feed_expired_is_rebuilt_from_usage_and_counts_on(
    caller: Caller, following: Workers
) -> None:
    budget_id = await make_budget(caller, "100")
    held = await authorize(caller, "5")
    await settle(caller, held.authorization_id, "4")
    await caller.record("9")
    await caller.record("30", NOW - timedelta(days=20))

    following.start()
    await become(caller, ("13", "0"))
    await caller.record("2")
    await become(caller, ("15", "0"))

    entries = await caller.ledger.ListLedgerEntries(
        ledger_service_pb2.ListLedgerEntriesRequest(budget_id=budget_id, filter="kind = REPAIR")
    )
    assert [entry.spent_change.amount for entry in entries.entries] == ["9"]


async def test_only_one_of_two_replicas_moves_a_lost_cursor(
    caller: Caller, budget_database: Database, feed: Forgetful
) -> None:
    await make_budget(caller, "100")

    async def apply(*_: object) -> None:
        raise AssertionError("nothing is applied here")

    consumer: FeedConsumer[CostBlock] = FeedConsumer(
        budget_database, name="lost-twice", apply=apply
    )
    async with budget_database.system_transaction() as tx:
        await tx.driver.execute(
            "INSERT INTO feed_cursor (name, position) VALUES ('lost-twice', $1)",
            str(FeedPosition(1, 1)),
        )
    made_up: list[object] = []

    async def instead(tx: object) -> None:
        made_up.append(tx)

    end = await feed.end()
    moved = [await consumer.skip(FeedPosition(1, 1), end, instead=instead) for _ in range(2)]

    assert moved == [True, False]
    assert len(made_up) == 1
    assert await consumer.position() == end
