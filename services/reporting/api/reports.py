"""The reports of ReportingService: queued, made, shown, fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.reporting.v1 import report_messages_pb2 as messages
from google.api.httpbody_pb2 import HttpBody

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import files
from services.reporting.convert import reports as convert
from services.reporting.service.reports import Reports

Context = grpc.aio.ServicerContext[Any, Any]


class ReportMethods:
    """Serves the report methods of ReportingService."""

    def __init__(self, reports: Reports) -> None:
        """Takes the use cases."""
        self._reports = reports

    async def CreateReport(
        self, request: messages.CreateReportRequest, _: Context
    ) -> messages.CreateReportResponse:
        """Queues a report."""
        wish = convert.to_wish(request.report)
        made = await self._reports.create_report(
            as_tenant(request.tenant_id), wish, request.report.start, request.report.end
        )
        return messages.CreateReportResponse(report=convert.from_report(made))

    async def GetReport(
        self, request: messages.GetReportRequest, _: Context
    ) -> messages.GetReportResponse:
        """Gets a report with its figures."""
        made = await self._reports.get_report(as_tenant(request.tenant_id), request.report_id)
        return messages.GetReportResponse(report=convert.from_made(made))

    async def ListReports(
        self, request: messages.ListReportsRequest, _: Context
    ) -> messages.ListReportsResponse:
        """Lists reports."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._reports.list_reports(page))

    async def DeleteReport(
        self, request: messages.DeleteReportRequest, _: Context
    ) -> messages.DeleteReportResponse:
        """Deletes a report."""
        await self._reports.delete_report(as_tenant(request.tenant_id), request.report_id)
        return messages.DeleteReportResponse()

    async def GetReportContent(
        self, request: messages.GetReportContentRequest, _: Context
    ) -> AsyncIterator[HttpBody]:
        """Streams one format of a report."""
        wanted = convert.to_format(request.format)
        stored, content = await self._reports.get_report_content(
            as_tenant(request.tenant_id), request.report_id, wanted
        )
        async for message in files.from_content(stored, content):
            yield message
