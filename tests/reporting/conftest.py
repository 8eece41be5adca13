"""A migrated reporting service over real usage and budget services, and what its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from finops.budget.v1 import budget_service_pb2_grpc
from finops.reporting.v1 import reporting_service_pb2_grpc
from finops.usage.v1 import (
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from services.budget import bootstrap as budget_bootstrap
from services.budget.settings import BudgetSettings
from services.kernel.cache import Cache
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database, PoolLimits
from services.kernel.ids import new_id
from services.reporting import bootstrap
from services.reporting.bootstrap import ReportingService
from services.reporting.settings import ReportingSettings
from services.usage import bootstrap as usage_bootstrap
from services.usage.settings import UsageSettings
from tests.support.database import migrated
from tests.support.server import (
    JWT_SECRET,
    SERVICE_SECRET,
    LocalServer,
    service_token_of,
    serving,
)

NOW = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)
TODAY = datetime(2026, 6, 15, tzinfo=UTC)
SECRETS: dict[str, Any] = {
    "jwt_secret": SecretStr(JWT_SECRET),
    "service_token_secret": SecretStr(SERVICE_SECRET),
}


@pytest.fixture(scope="session")
async def reporting_database(owner_url: str) -> AsyncIterator[Database]:
    """The reporting service's connections."""
    service = await migrated(owner_url, "reporting")
    database = service.connect(PoolLimits(connections=10))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def usage_server(owner_url: str) -> AsyncIterator[LocalServer]:
    """A real usage service in this process."""
    service = await migrated(owner_url, "usage")
    database = service.connect(PoolLimits(connections=10))
    built = usage_bootstrap.build(
        database,
        Cache.connect(None, service="usage"),
        UsageSettings(**SECRETS),
        clock=SystemClock(),
    )
    async with serving(*built.servicers, database=database) as server:
        yield server
    await database.close()


@pytest.fixture(scope="session")
async def budget_server(owner_url: str, usage_server: LocalServer) -> AsyncIterator[LocalServer]:
    """A real budget service over it, whose clock stands where reporting's does."""
    service = await migrated(owner_url, "budget")
    database = service.connect(PoolLimits(connections=10))
    usage = usage_server.channel_with(service_token_of("budget", tenant=""))
    built = budget_bootstrap.build(
        database, usage, BudgetSettings(**SECRETS), clock=ManualClock(NOW)
    )
    async with serving(*built.servicers, database=database) as server:
        yield server
    await database.close()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands in the middle of June 2026."""
    return ManualClock(NOW)


@pytest.fixture
async def built(
    reporting_database: Database,
    usage_server: LocalServer,
    budget_server: LocalServer,
    clock: ManualClock,
) -> ReportingService:
    """The reporting service over the test's clock, its workers not running."""
    return bootstrap.build(
        reporting_database,
        usage_server.channel_with(service_token_of("reporting", tenant="")),
        budget_server.channel_with(service_token_of("reporting", tenant="")),
        ReportingSettings(**SECRETS),
        clock=clock,
    )


@pytest.fixture
async def server(
    reporting_database: Database, built: ReportingService
) -> AsyncIterator[LocalServer]:
    """The reporting service behind a real port."""
    async with serving(*built.servicers, database=reporting_database) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Caller:
    """Stubs of one tenant's administrator."""

    tenant_id: str
    forecasts: reporting_service_pb2_grpc.ForecastServiceAsyncStub
    usage: usage_service_pb2_grpc.UsageServiceAsyncStub
    budgets: budget_service_pb2_grpc.BudgetServiceAsyncStub

    async def record_days(
        self, costs: list[str], *, until: datetime = TODAY, **attributes: Any
    ) -> None:
        """Records one event a day, the last one on the day before `until`."""
        events = []
        for place, cost in enumerate(costs):
            stamp = Timestamp()
            stamp.FromDatetime(until - timedelta(days=len(costs) - place) + timedelta(hours=12))
            events.append(
                usage_model_pb2.UsageEvent(
                    event_id=new_id(),
                    source="tests",
                    start_time=stamp,
                    resource_type=attributes.get("resource_type", "llm"),
                    quantity=attributes.get("quantity", "2"),
                    unit=attributes.get("unit", "call"),
                    department=attributes.get("department", ""),
                    cost=usage_model_pb2.UsageCost(currency_code="USD", billed=cost),
                )
            )
        request = usage_service_pb2.RecordUsageRequest(events=events)
        answer = await self.usage.RecordUsage(request)
        assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}, answer


@pytest.fixture
async def caller(
    tenant: str, server: LocalServer, usage_server: LocalServer, budget_server: LocalServer
) -> Caller:
    """The administrator of a tenant that no other test uses."""
    stubs: Any = (
        reporting_service_pb2_grpc.ForecastServiceStub(server.channel("org_admin", tenant=tenant)),
        usage_service_pb2_grpc.UsageServiceStub(usage_server.channel("org_admin", tenant=tenant)),
        budget_service_pb2_grpc.BudgetServiceStub(
            budget_server.channel("org_admin", tenant=tenant)
        ),
    )
    return Caller(tenant, *stubs)
