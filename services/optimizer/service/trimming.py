"""Forgets statistics that are older than anybody asks for."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.kernel.database import Database
from services.optimizer.store.statistics import forget_before


async def trim_statistics(database: Database, now: datetime, *, days: int) -> None:
    """Deletes statistics of days before so many days ago."""
    async with database.system_transaction() as tx:
        await forget_before(tx, (now - timedelta(days=days)).date())
