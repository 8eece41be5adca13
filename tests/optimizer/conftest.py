"""A running optimizer over a real usage service, and what its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from finops.optimizer.v1 import (
    optimizer_service_pb2_grpc,
    resource_service_pb2_grpc,
    run_service_pb2_grpc,
)
from finops.usage.v1 import (
    pricing_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)

from services.kernel.cache import Cache
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database, PoolLimits
from services.kernel.ids import new_id
from services.kernel.workers import Workers
from services.optimizer import bootstrap
from services.optimizer.settings import OptimizerSettings
from services.usage import bootstrap as usage_bootstrap
from services.usage.settings import UsageSettings
from tests.optimizer.making import TOLD_TIMES
from tests.support.database import migrated
from tests.support.server import (
    JWT_SECRET,
    SERVICE_SECRET,
    LocalServer,
    service_token_of,
    serving,
)
from tests.support.waiting import eventually

NOW = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)
BATCH = 5_000
SECRETS: dict[str, Any] = {"jwt_secret": JWT_SECRET, "service_token_secret": SERVICE_SECRET}


@dataclass(frozen=True, slots=True)
class Stage:
    """A usage service and an optimizer that follows it, both running."""

    usage: LocalServer
    optimizer: LocalServer
    database: Database


@pytest.fixture(scope="session")
async def optimizer_database(owner_url: str) -> AsyncIterator[Database]:
    """The optimizer's migrated database."""
    service = await migrated(owner_url, "optimizer")
    database = service.connect(PoolLimits(connections=20))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def stage(owner_url: str, optimizer_database: Database) -> AsyncIterator[Stage]:
    """Both services in this process, their workers included."""
    usage_service = await migrated(owner_url, "usage")
    usage_database = usage_service.connect(PoolLimits(connections=10))
    usage_built = usage_bootstrap.build(
        usage_database,
        Cache.connect(None, service="usage"),
        UsageSettings(**SECRETS),
        clock=SystemClock(),
    )
    async with serving(*usage_built.servicers, database=usage_database) as usage:
        built = bootstrap.build(
            optimizer_database,
            usage.channel_with(service_token_of("optimizer", tenant="")),
            OptimizerSettings(**SECRETS),
            clock=ManualClock(NOW),
        )
        workers = Workers(built.workers)
        async with serving(*built.servicers, database=optimizer_database) as optimizer:
            workers.start()
            yield Stage(usage, optimizer, optimizer_database)
            await workers.stop(10)
    await usage_database.close()


@dataclass(frozen=True, slots=True)
class Desk:
    """One tenant's way into both services."""

    stage: Stage
    tenant: str

    def optimizer(self, *roles: str) -> Any:
        channel = self.stage.optimizer.channel(*(roles or ("org_admin",)), tenant=self.tenant)
        return optimizer_service_pb2_grpc.OptimizerServiceStub(channel)

    def runs(self, *roles: str) -> Any:
        channel = self.stage.optimizer.channel(*(roles or ("org_admin",)), tenant=self.tenant)
        return run_service_pb2_grpc.OptimizationRunServiceStub(channel)

    def resources(self, *roles: str) -> Any:
        channel = self.stage.optimizer.channel(*(roles or ("org_admin",)), tenant=self.tenant)
        return resource_service_pb2_grpc.ResourceServiceStub(channel)

    def pricing(self) -> Any:
        channel = self.stage.usage.channel("org_admin", tenant=self.tenant)
        return pricing_service_pb2_grpc.PricingServiceStub(channel)

    async def record(self, events: Sequence[usage_model_pb2.UsageEvent]) -> None:
        """Records usage and waits until the optimizer has all of it, event by event."""
        channel = self.stage.usage.channel("org_admin", tenant=self.tenant)
        stub: Any = usage_service_pb2_grpc.UsageServiceStub(channel)
        for start in range(0, len(events), BATCH):
            request = usage_service_pb2.RecordUsageRequest(events=events[start : start + BATCH])
            answer = await stub.RecordUsage(request, timeout=60)
            assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}
        told = TOLD_TIMES.setdefault(self.tenant, 0) + len(events)
        TOLD_TIMES[self.tenant] = told

        async def is_here() -> bool:
            async with self.stage.database.read(self.tenant) as tx:
                known = await tx.driver.fetchval(
                    "SELECT sum(events) FROM usage_day WHERE tenant_id = $1", self.tenant
                )
                unread = await tx.driver.fetchval("SELECT count(*) FROM changed_day")
            return bool(known == told and not unread)

        await eventually(is_here, seconds=60)


@pytest.fixture
async def desk(stage: Stage) -> Desk:
    """A tenant that no other test uses."""
    return Desk(stage, f"tenant-{new_id()}")
