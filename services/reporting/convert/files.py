"""Files and their links between contract and domain."""

from __future__ import annotations

from collections.abc import AsyncIterator

from finops.reporting.v1 import schedule_service_pb2 as messages
from google.api.httpbody_pb2 import HttpBody

from services.reporting.domain.links import LinkParts
from services.reporting.domain.stored_file import StoredFile


def to_link(request: messages.DownloadExportRequest) -> LinkParts:
    """Returns the link that a file is asked for with."""
    return LinkParts(request.export_id, request.file_name, request.expires, request.signature)


async def from_content(
    stored: StoredFile, content: AsyncIterator[bytes]
) -> AsyncIterator[HttpBody]:
    """Converts a file, a chunk a message."""
    async for chunk in content:
        yield HttpBody(content_type=stored.media_type, data=chunk)
