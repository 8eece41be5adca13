"""The kinds of records that all services keep, as each of them says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from services.reporting.domain.retention import RecordCollection
from services.reporting.errors import UnknownCollection
from services.reporting.service.compliance_peers import RecordsPeer


class Collections:
    """The kinds of records of all services."""

    def __init__(self, peers: Sequence[RecordsPeer]) -> None:
        """peers: the records of each service, this one's among them."""
        self._peers = peers

    async def all(self, tenant_id: str) -> dict[str, RecordCollection]:
        """Returns all of them by name. Raises PeerUnavailable."""
        found = await asyncio.gather(*(peer.collections(tenant_id) for peer in self._peers))
        return {each.collection: each for part in found for each in part}

    async def required(self, tenant_id: str, names: Collection[str]) -> list[RecordCollection]:
        """Returns those named. Raises UnknownCollection."""
        known = await self.all(tenant_id)
        for name in names:
            if name not in known:
                raise UnknownCollection(collection=name, collections=", ".join(sorted(known)))
        return [known[name] for name in names]
