"""Tells every service the legal holds in force, for the removals that services do by themselves.

A service removes past a collection's own time without asking anybody, by the holds that it was told
last. So it is told before a hold is stored, after each change, and every night before it removes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from services.kernel.database import Database, Transaction
from services.kernel.jobs import Job, enqueue
from services.reporting.domain.retention import LegalHold, RecordCollection, in_force
from services.reporting.errors import RecordsRefused
from services.reporting.service.compliance_peers import RecordsPeer, Removal
from services.reporting.service.retention_collections import Collections
from services.reporting.store import retention as rows

JOB: Final = "hold-sharing"
DUE_JOB: Final = "hold-sharing-due"
HELD_MAX: Final = 100  # filters that one call may name
EVERYTHING_HELD: Final = ("",)
LONG_AGO: Final = datetime.fromtimestamp(0, UTC)  # nothing ended before, so nothing is counted


class HoldSharing:
    """Shares holds with the services that remove by themselves."""

    def __init__(
        self, database: Database, collections: Collections, peers: Sequence[RecordsPeer]
    ) -> None:
        """peers: the records of each service, this one's among them."""
        self._database = database
        self._collections = collections
        self._peers = {peer.service: peer for peer in peers}

    async def share(self, tenant_id: str, coming: Sequence[LegalHold] = ()) -> None:
        """Tells every service the holds in force, and those coming.

        Raises PeerUnavailable, PeerTimeout, RecordsRefused.
        """
        known = await self._collections.all(tenant_id)
        trimmed = [each for each in known.values() if each.retention_days]
        services = {each.service for each in trimmed}
        while True:
            holds = await self._in_force(tenant_id)
            told = [
                self._tell(
                    tenant_id,
                    [each for each in trimmed if each.service == service],
                    [*holds, *coming],
                )
                for service in sorted(services)
            ]
            await asyncio.gather(*told)
            # Whoever told others meanwhile may have been overtaken by what was read before.
            if await self._in_force(tenant_id) == holds:
                return

    async def run(self, job: Job) -> None:
        """Shares a tenant's holds; a service that is away is told by a later attempt."""
        await self.share(str(job.tenant_id))

    async def run_due(self, _: Job) -> None:
        """Queues the sharing of every tenant that has or had a hold."""
        async with self._database.system_transaction() as tx:
            for tenant_id in await rows.tenants_with_holds(tx):
                await queue_sharing(tx, tenant_id)

    async def _in_force(self, tenant_id: str) -> Sequence[LegalHold]:
        async with self._database.read(tenant_id) as tx:
            return await rows.holds(tx, tenant_id)

    async def _tell(
        self, tenant_id: str, collections: Sequence[RecordCollection], holds: Sequence[LegalHold]
    ) -> None:
        for each in collections:
            covering = in_force(holds, each.collection)
            removal = Removal(
                tenant_id=tenant_id,
                collection=each.collection,
                before_at=LONG_AGO,
                held_filters=_filters(covering),
                dry_run=True,
                request_id="",
            )
            peer = self._peers[each.service]
            try:
                await peer.remove(removal)
            except RecordsRefused:
                # A filter asks for a field that these records lack: more stays, and not less.
                wider = _filters([replace(hold, filter="") for hold in covering])
                await peer.remove(replace(removal, held_filters=wider))


async def queue_sharing(tx: Transaction, tenant_id: str) -> None:
    """Queues the sharing, also where one runs, which may have read the holds before."""
    await enqueue(tx, JOB, tenant_id=tenant_id)


def _filters(holds: Sequence[LegalHold]) -> Sequence[str]:
    filters = [hold.held_filter() for hold in holds]
    return filters if len(filters) <= HELD_MAX else EVERYTHING_HELD
