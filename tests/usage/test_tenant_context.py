"""What is kept of each tenant is read once, however many ask for it at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.kernel.database import Database
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import prices
from services.usage.tables import GLOBAL_TENANT


async def test_first_questions_wait_for_one_reading_of_the_global_prices(
    usage_database: Database, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = prices.current_prices
    asked: list[str] = []

    async def counted(tx: Any, tenant_id: str) -> Any:
        asked.append(tenant_id)
        return await read(tx, tenant_id)

    monkeypatch.setattr(prices, "current_prices", counted)
    contexts = TenantContexts(usage_database)

    found = await asyncio.gather(*(contexts.get(name) for name in (tenant, f"{tenant}-2") * 2))

    assert asked.count(GLOBAL_TENANT) == 1
    assert {context.tenant_id for context in found} == {tenant, f"{tenant}-2"}
