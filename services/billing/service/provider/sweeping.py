"""Finds work at the provider that no job stands for any more, and what has become due."""

from __future__ import annotations

from datetime import timedelta

from services.billing.service.provider.queue import queue_collect, queue_push
from services.billing.store import operations
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.jobs import Job

SENDING = ("locked", "pushing")
IDLE = timedelta(minutes=2)


class Sweeping:
    """Queues what waits; a job that is there already is not doubled."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        """Takes the database and the clock."""
        self._database = database
        self._clock = clock

    async def run(self, _: Job) -> None:
        """Queues pushes that were cut off and charges that are due, over all tenants."""
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            for tenant_id, invoice_id, state in await operations.overdue_invoices(tx, now, IDLE):
                queue = queue_push if state in SENDING else queue_collect
                await queue(tx, invoice_id, tenant_id=tenant_id)
