"""Merges cost deltas into roll-ups in the background, tenant by tenant."""

from __future__ import annotations

import asyncio
import time

import structlog
from opentelemetry import metrics

from services.kernel.database import Database
from services.kernel.errors import Error
from services.usage.store import rollups

INTERVAL_SECONDS = 5.0  # longer merges fewer rows in all, shorter keeps the tail of queries short
# While much comes in, a pass shall take a tenth of the time at most, but wait for no longer than
# two intervals: rows that many deltas change are then written half as often.
REST_RATIO = 9.0
INTERVALS_MAX = 2
log = structlog.get_logger(__name__)
_meter = metrics.get_meter("finops.usage")
_merged = _meter.create_counter(
    "finops_usage_rollup_changes_total", description="Cost deltas merged into roll-ups."
)
_seconds = _meter.create_histogram(
    "finops_usage_rollup_seconds", unit="s", description="One pass over all tenants."
)


class RollUp:
    """Keeps the roll-ups close behind the change feed.

    Any number may run: a tenant is claimed by locking its mark, and its deltas, roll-ups and mark
    change in one transaction, so a kill at any point loses and doubles nothing.
    """

    def __init__(self, database: Database, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Takes the service's database; it works as the worker role."""
        self._database = database
        self._interval = interval_seconds
        self._stopped = asyncio.Event()

    async def run_once(self) -> int:
        """Merges what is pending of every tenant; returns the number of deltas."""
        started = time.perf_counter()
        async with self._database.system_transaction() as tx:
            tenants = await rollups.pending_tenants(tx)
        total = 0
        for tenant_id in tenants:
            while not self._stopped.is_set():
                async with self._database.system_transaction() as tx:
                    merged = await rollups.roll_up(tx, tenant_id)
                total += merged
                if merged < rollups.CHANGES_A_RUN:
                    break
        _merged.add(total)
        _seconds.record(time.perf_counter() - started)
        return total

    async def run(self) -> None:
        """Merges until it is stopped. A failure is logged and tried again."""
        while not self._stopped.is_set():
            started = time.perf_counter()
            try:
                await self.run_once()
            except Error as error:
                log.warning("roll-up failed", reason=error.reason, message=error.message)
            rest = REST_RATIO * (time.perf_counter() - started)
            wait = min(max(self._interval, rest), INTERVALS_MAX * self._interval)
            try:
                await asyncio.wait_for(self._stopped.wait(), wait)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Lets the merge at hand finish, and begins no other."""
        self._stopped.set()
