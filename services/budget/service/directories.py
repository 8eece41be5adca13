"""The directories of the tenants that were asked about last."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Final

import structlog

from services.budget.domain.directory import Directory
from services.budget.service.usage import UsageReader
from services.kernel.errors import DeadlineExceeded, Unavailable

FRESH_SECONDS: Final = 5.0  # a user who moves is seen in the new department after so long
TENANTS_MAX: Final = 2_000  # the least recently used goes first

log = structlog.get_logger(__name__)


class Directories:
    """Keeps directories, and goes on with what is known while the usage service is away."""

    def __init__(self, usage: UsageReader) -> None:
        """Takes who knows the directory."""
        self._usage = usage
        self._known: OrderedDict[str, tuple[float, Directory]] = OrderedDict()
        self._reading: dict[str, asyncio.Task[Directory]] = {}

    async def get(self, tenant_id: str) -> Directory:
        """Returns the tenant's directory, at most FRESH_SECONDS behind while usage answers.

        What was known once is given at once and read again meanwhile. Not for use inside a
        transaction: use `known` there. Raises PeerUnavailable, PeerTimeout, UsageRefused.
        """
        known = self._known.get(tenant_id)
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        reading = self._reading.get(tenant_id)
        if reading is None:
            reading = asyncio.create_task(self._read(tenant_id))
            self._reading[tenant_id] = reading
            reading.add_done_callback(lambda task: self._done(tenant_id, task))
        return known[1] if known is not None else await asyncio.shield(reading)

    def known(self, tenant_id: str) -> Directory | None:
        """Returns the directory as it was read last, None for a tenant not asked about before."""
        known = self._known.get(tenant_id)
        return None if known is None else known[1]

    def forget(self, tenant_id: str) -> None:
        """Reads again at the next question."""
        self._known.pop(tenant_id, None)

    async def _read(self, tenant_id: str) -> Directory:
        directory = await self._usage.directory(tenant_id)
        before = self.known(tenant_id)
        if before == directory and before is not None:
            directory = before  # with all that it remembers
        self._known[tenant_id] = (time.monotonic(), directory)
        self._known.move_to_end(tenant_id)
        while len(self._known) > TENANTS_MAX:
            self._known.popitem(last=False)
        return directory

    def _done(self, tenant_id: str, task: asyncio.Task[Directory]) -> None:
        self._reading.pop(tenant_id, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Unavailable | DeadlineExceeded):
            log.warning("directory not read", tenant=tenant_id, error=repr(error))
