"""DownloadExport: files for whoever holds their signed link, whatever they are of."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.reporting.domain.links import LinkParts, Links
from services.reporting.domain.stored_file import StoredFile
from services.reporting.errors import FileGone, LinkRefused
from services.reporting.store import files


class Downloads:
    """The use case of fetching a file by its link."""

    def __init__(self, database: Database, links: Links, *, clock: Clock) -> None:
        """links: those that were given out."""
        self._database = database
        self._links = links
        self._clock = clock

    async def download_export(self, link: LinkParts) -> tuple[StoredFile, AsyncIterator[bytes]]:
        """Returns the file and its bytes. Raises LinkRefused, FileGone."""
        tenant_id = self._links.tenant_of(
            link.signature, link.file_id, link.expires, now=self._clock.now()
        )
        if tenant_id is None:
            raise LinkRefused(file_id=link.file_id)
        async with self._database.read(tenant_id) as tx:
            stored = await files.find(tx, tenant_id, link.file_id)
        if stored is None:
            raise FileGone(file_id=link.file_id)
        return stored, files.read(self._database, tenant_id, link.file_id)
