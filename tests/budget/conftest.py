"""A migrated budget service over a real usage service, and what its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from finops.budget.v1 import budget_service_pb2_grpc, ledger_service_pb2_grpc
from finops.usage.v1 import (
    directory_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from services.budget import bootstrap
from services.budget.bootstrap import BudgetService, Foundation
from services.budget.convert.usage_reader import StubUsageReader
from services.budget.settings import BudgetSettings
from services.kernel.cache import Cache
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database, PoolLimits
from services.kernel.ids import new_id
from services.kernel.workers import Workers
from services.usage import bootstrap as usage_bootstrap
from services.usage.service.rolling_up import RollUp
from services.usage.settings import UsageSettings
from tests.support.database import ServiceDatabase, migrated
from tests.support.server import (
    JWT_SECRET,
    SERVICE_SECRET,
    LocalServer,
    service_token_of,
    serving,
)

NOW = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
async def budget_service(owner_url: str) -> ServiceDatabase:
    """The budget service's migrated database."""
    return await migrated(owner_url, "budget")


@pytest.fixture(scope="session")
async def budget_database(budget_service: ServiceDatabase) -> AsyncIterator[Database]:
    """The budget service's connections."""
    database = budget_service.connect(PoolLimits(connections=20))
    yield database
    await database.close()


@dataclass(frozen=True, slots=True)
class RunningUsage:
    """A usage service that answers, and its roll-up, which a test lets run."""

    server: LocalServer
    roll_up: RollUp


@pytest.fixture(scope="session")
async def usage_server(owner_url: str) -> AsyncIterator[RunningUsage]:
    """A real usage service in this process."""
    service = await migrated(owner_url, "usage")
    database = service.connect(PoolLimits(connections=10))
    settings = UsageSettings(
        jwt_secret=SecretStr(JWT_SECRET), service_token_secret=SecretStr(SERVICE_SECRET)
    )
    built = usage_bootstrap.build(
        database, Cache.connect(None, service="usage"), settings, clock=SystemClock()
    )
    async with serving(*built.servicers, database=database) as server:
        yield RunningUsage(server, RollUp(database))
    await database.close()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands in the middle of March 2026."""
    return ManualClock(NOW)


@pytest.fixture
async def built(
    budget_database: Database, usage_server: RunningUsage, clock: ManualClock
) -> BudgetService:
    """The budget service over the test's clock, its workers not running."""
    settings = BudgetSettings(
        jwt_secret=SecretStr(JWT_SECRET), service_token_secret=SecretStr(SERVICE_SECRET)
    )
    usage = usage_server.server.channel_with(service_token_of("budget", tenant=""))
    return bootstrap.build(budget_database, usage, settings, clock=clock)


@pytest.fixture
async def working(built: BudgetService) -> AsyncIterator[None]:
    """Lets the service's workers run."""
    workers = Workers(built.workers)
    workers.start()
    yield
    await workers.stop(5)


@pytest.fixture
async def server(budget_database: Database, built: BudgetService) -> AsyncIterator[LocalServer]:
    """The budget service behind a real port."""
    async with serving(*built.servicers, database=budget_database) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Caller:
    """Stubs of one tenant's administrator, for budgets and for usage."""

    tenant_id: str
    budgets: budget_service_pb2_grpc.BudgetServiceAsyncStub
    ledger: ledger_service_pb2_grpc.LedgerServiceAsyncStub
    usage: usage_service_pb2_grpc.UsageServiceAsyncStub
    directory: directory_service_pb2_grpc.DirectoryServiceAsyncStub

    async def record(self, cost: str, at: datetime = NOW, **attributes: Any) -> str:
        """Records an event that cost so much, and returns its id."""
        stamp = Timestamp()
        stamp.FromDatetime(at)
        event = usage_model_pb2.UsageEvent(
            event_id=attributes.pop("event_id", "") or new_id(),
            source="tests",
            start_time=stamp,
            resource_type=attributes.pop("resource_type", "llm"),
            quantity="1",
            unit="call",
            cost=usage_model_pb2.UsageCost(
                currency_code=attributes.pop("currency_code", "USD"), billed=cost
            ),
            **attributes,
        )
        answer = await self.usage.RecordUsage(usage_service_pb2.RecordUsageRequest(events=[event]))
        assert list(answer.statuses) == [usage_model_pb2.RECORD_STATUS_ACCEPTED], answer
        return event.event_id


@pytest.fixture
async def caller(tenant: str, server: LocalServer, usage_server: RunningUsage) -> Caller:
    """The administrator of a tenant that no other test uses."""
    channel = server.channel("org_admin", tenant=tenant)
    usage = usage_server.server.channel("org_admin", tenant=tenant)
    stubs: Any = (
        budget_service_pb2_grpc.BudgetServiceStub(channel),
        ledger_service_pb2_grpc.LedgerServiceStub(channel),
        usage_service_pb2_grpc.UsageServiceStub(usage),
        directory_service_pb2_grpc.DirectoryServiceStub(usage),
    )
    return Caller(tenant, *stubs)


@pytest.fixture
def base(budget_database: Database, usage_server: RunningUsage, clock: ManualClock) -> Foundation:
    """Another replica's parts, which a test calls by themselves."""
    settings: dict[str, Any] = {"jwt_secret": JWT_SECRET, "service_token_secret": SERVICE_SECRET}
    channel = usage_server.server.channel_with(service_token_of("budget", tenant=""))
    return bootstrap.foundation_of(
        budget_database,
        StubUsageReader(channel),
        bootstrap.alert_base(budget_database, clock=clock),
        BudgetSettings(**settings),
        clock=clock,
    )
