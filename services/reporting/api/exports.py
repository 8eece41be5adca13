"""Exports at once, of ReportingService; and ExportService, for those that take longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.reporting.v1 import report_messages_pb2, schedule_service_pb2_grpc
from finops.reporting.v1 import schedule_service_pb2 as messages
from google.api.httpbody_pb2 import HttpBody

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import exports as convert
from services.reporting.convert import files
from services.reporting.domain.links import Links
from services.reporting.service.downloads import Downloads
from services.reporting.service.exports.exporting import Exports
from services.reporting.service.exports.jobs import ExportJobs

Context = grpc.aio.ServicerContext[Any, Any]


class ExportMethods:
    """Serves exports at once."""

    def __init__(self, *, exports: Exports) -> None:
        """Takes the use case."""
        self._exports = exports

    async def Export(
        self, request: report_messages_pb2.ExportRequest, _: Context
    ) -> AsyncIterator[HttpBody]:
        """Streams an export as it is read."""
        wish = convert.to_wish(request, as_tenant(request.tenant_id))
        async for content in self._exports.export(wish):
            yield convert.from_content(content, wish)


class ExportServicer(schedule_service_pb2_grpc.ExportServiceServicer):
    """Serves ExportService."""

    def __init__(self, *, jobs: ExportJobs, downloads: Downloads, links: Links) -> None:
        """links: sign the paths of finished files, which `downloads` serves."""
        self._jobs = jobs
        self._downloads = downloads
        self._links = links

    async def CreateExport(
        self, request: messages.CreateExportRequest, _: Context
    ) -> messages.CreateExportResponse:
        """Starts an export."""
        wish = convert.to_wish(request.export, as_tenant(request.tenant_id))
        made = await self._jobs.create_export(wish)
        return messages.CreateExportResponse(export=convert.from_export(made, self._links))

    async def GetExport(
        self, request: messages.GetExportRequest, _: Context
    ) -> messages.GetExportResponse:
        """Gets an export."""
        found = await self._jobs.get_export(as_tenant(request.tenant_id), request.export_id)
        return messages.GetExportResponse(export=convert.from_export(found, self._links))

    async def ListExports(
        self, request: messages.ListExportsRequest, _: Context
    ) -> messages.ListExportsResponse:
        """Lists exports."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._jobs.list_exports(page), self._links)

    async def DeleteExport(
        self, request: messages.DeleteExportRequest, _: Context
    ) -> messages.DeleteExportResponse:
        """Stops an export or deletes its file."""
        await self._jobs.delete_export(as_tenant(request.tenant_id), request.export_id)
        return messages.DeleteExportResponse()

    async def DownloadExport(
        self, request: messages.DownloadExportRequest, _: Context
    ) -> AsyncIterator[HttpBody]:
        """Streams a file to whoever holds its link."""
        stored, content = await self._downloads.download_export(files.to_link(request))
        async for message in files.from_content(stored, content):
            yield message
