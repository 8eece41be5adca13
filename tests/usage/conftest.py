"""A migrated usage service, and what its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from services.kernel.cache import Cache
from services.kernel.clock import ManualClock
from services.kernel.database import Database, PoolLimits
from services.usage import bootstrap
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed
from services.usage.settings import UsageSettings
from tests.support.database import ServiceDatabase, migrated
from tests.support.server import JWT_SECRET, SERVICE_SECRET, LocalServer, serving
from tests.usage.asking import NOON, Stubs, stubs


@pytest.fixture(scope="session")
async def usage_service(owner_url: str) -> ServiceDatabase:
    """The usage service's migrated database."""
    return await migrated(owner_url, "usage")


@pytest.fixture(scope="session")
async def usage_database(usage_service: ServiceDatabase) -> AsyncIterator[Database]:
    """The usage service's connections."""
    database = usage_service.connect(PoolLimits(connections=20))
    yield database
    await database.close()


@pytest.fixture
def contexts(usage_database: Database) -> TenantContexts:
    """Contexts that know nothing yet."""
    return TenantContexts(usage_database)


@pytest.fixture
def recorder(usage_database: Database, contexts: TenantContexts) -> Recorder:
    """Records usage into the test's database."""
    return Recorder(usage_database, contexts, CostFeed(usage_database))


@pytest.fixture(scope="module")
async def usage_server(usage_database: Database) -> AsyncIterator[LocalServer]:
    """The whole usage service behind a real port, at noon."""
    settings = UsageSettings(
        jwt_secret=SecretStr(JWT_SECRET), service_token_secret=SecretStr(SERVICE_SECRET)
    )
    cache = Cache.connect(None, service="usage")
    built = bootstrap.build(usage_database, cache, settings, clock=ManualClock(NOON))
    async with serving(*built.servicers, database=usage_database) as running:
        yield running


@pytest.fixture
async def own(usage_server: LocalServer, tenant: str) -> Stubs:
    """The administrator of a tenant that no other test uses."""
    return stubs(usage_server, tenant)
