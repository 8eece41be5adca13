"""A migrated billing service beside a real usage service, and what its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from services.billing.bootstrap import BillingService, Peers, build
from services.billing.settings import BillingSettings
from services.kernel.cache import Cache
from services.kernel.client import PeerChannel
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database, PoolLimits, Transaction
from services.usage.bootstrap import build as build_usage
from services.usage.settings import UsageSettings
from tests.support.database import ServiceDatabase, migrated
from tests.support.server import (
    JWT_SECRET,
    SERVICE_SECRET,
    LocalServer,
    service_token_of,
    serving,
)

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
ENCRYPTION_KEY = "0123456789abcdef" * 4


def settings_of(**changed: Any) -> BillingSettings:
    """Returns the billing service's settings with the tests' secrets."""
    secrets = {
        "jwt_secret": JWT_SECRET,
        "service_token_secret": SERVICE_SECRET,
        "encryption_keys": ENCRYPTION_KEY,
    }
    return BillingSettings(**secrets | changed)


async def nothing_is_lost(_: Transaction) -> None:
    """Stands for the recount where the whole feed is kept."""
    raise AssertionError("changes of usage were lost")


@pytest.fixture(scope="session")
async def billing_service(owner_url: str) -> ServiceDatabase:
    """The billing service's migrated database."""
    return await migrated(owner_url, "billing")


@pytest.fixture(scope="session")
async def billing_database(billing_service: ServiceDatabase) -> AsyncIterator[Database]:
    """The billing service's connections."""
    database = billing_service.connect(PoolLimits(connections=20))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def usage_server(owner_url: str) -> AsyncIterator[LocalServer]:
    """A usage service that serves, with its workers standing still."""
    service = await migrated(owner_url, "usage")
    database = service.connect(PoolLimits(connections=10))
    settings = UsageSettings(
        jwt_secret=JWT_SECRET,  # type: ignore[arg-type] # pydantic reads the text
        service_token_secret=SERVICE_SECRET,  # type: ignore[arg-type]
    )
    built = build_usage(
        database, Cache.connect(None, service="usage"), settings, clock=SystemClock()
    )
    async with serving(*built.servicers, database=database) as server:
        yield server
    await database.close()


@pytest.fixture
async def usage_channel(usage_server: LocalServer, tenant: str) -> PeerChannel:
    """A channel on which the billing service calls usage for the test's tenant."""
    return usage_server.channel_with(service_token_of("billing", tenant=tenant))


@dataclass(frozen=True, slots=True)
class Billing:
    """A billing service that serves, what it is made of, its clock and one tenant."""

    server: LocalServer
    service: BillingService
    clock: ManualClock
    tenant: str

    def channel(self, *roles: str, subject: str = "ada") -> grpc.aio.Channel:
        """Returns a channel of a caller of the tenant, default an org admin."""
        return self.server.channel(*(roles or ("org_admin",)), tenant=self.tenant, subject=subject)

    def seller(self) -> grpc.aio.Channel:
        """Returns a channel of a platform admin who names tenants in requests."""
        return self.server.channel("platform_admin", tenant="platform", subject="selma")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at NOW until a test moves it."""
    return ManualClock(NOW)


@pytest.fixture
async def billing(
    billing_database: Database, usage_channel: PeerChannel, clock: ManualClock, tenant: str
) -> AsyncIterator[Billing]:
    """The billing service as its bootstrap wires it, without its workers."""
    peers = Peers(usage=usage_channel, budget=usage_channel)
    built = build(billing_database, peers, settings_of(), clock=clock)
    async with serving(
        *built.servicers, database=billing_database, envelope=built.envelope
    ) as server:
        yield Billing(server, built, clock, tenant)
