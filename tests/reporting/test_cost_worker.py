"""Watched hours whose feed expired go on with what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.kernel.database import Database
from services.kernel.feed import FeedPositionExpired
from services.kernel.feed_page import START, FeedItem, FeedPage, FeedPosition
from services.kernel.ids import new_id
from services.kernel.workers import Workers
from services.reporting import worker
from services.reporting.bootstrap import ReportingService
from services.reporting.domain.anomaly.anomaly import Scope
from services.reporting.domain.anomaly.cost_fact import CostFact
from tests.reporting.conftest import NOW
from tests.support.waiting import eventually

LOST = FeedPosition(1, 1)
KEPT = FeedPosition(7, 1)


async def test_watching_goes_on_after_costs_that_are_no_longer_kept(
    built: ReportingService,
    reporting_database: Database,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"lost-{new_id()}"
    monkeypatch.setattr(worker, "COST_CONSUMER", name)
    async with reporting_database.system_transaction() as tx:
        await tx.driver.execute(
            "INSERT INTO feed_cursor (name, position) VALUES ($1, $2)", name, str(LOST)
        )
    fact = CostFact(Scope("research", "chat", "llm", "USD"), NOW, Decimal("3.5"), 1)

    async def pages(after: FeedPosition) -> AsyncGenerator[FeedPage[CostFact], None]:
        if after == LOST:
            raise FeedPositionExpired(position=after)
        if after == START:
            yield FeedPage([FeedItem(KEPT, tenant, fact)], KEPT)
        await asyncio.Event().wait()

    async def watched() -> list[Any]:
        async with reporting_database.system_transaction() as tx:
            rows = await tx.driver.fetch(
                "SELECT cost FROM reporting.watched_hour WHERE tenant_id = $1", tenant
            )
        return [row["cost"] for row in rows]

    with capture_logs() as said:
        workers = Workers([worker.cost_worker(reporting_database, built.detection, pages)])
        workers.start()
        try:
            costs = await eventually(watched)
        finally:
            await workers.stop(5)

    assert costs == [Decimal("3.5")]
    told = [each for each in said if each["event"] == "cost is missing from watched hours"]
    assert [(each["log_level"], each["lost_after"]) for each in told] == [("error", str(LOST))]
