"""A caller of the report methods whose queued work is done, and what its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from finops.reporting.v1 import (
    report_messages_pb2 as messages,
)
from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1 import (
    reporting_service_pb2_grpc,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
)

from services.kernel.database import Database
from services.kernel.workers import Workers
from services.reporting.api.reports import ReportMethods
from services.reporting.bootstrap import ReportingService
from services.reporting.domain.links import LinkParts
from tests.support.server import serving
from tests.support.waiting import eventually


def request_of(link: LinkParts) -> schedule_service_pb2.DownloadExportRequest:
    """Returns what a link asks for."""
    return schedule_service_pb2.DownloadExportRequest(
        export_id=link.file_id,
        file_name=link.file_name,
        expires=link.expires,
        signature=link.signature,
    )


@dataclass(frozen=True, slots=True)
class Reporter:
    """Stubs of one tenant's administrator. files: of one without a token."""

    tenant_id: str
    reports: Any
    schedules: Any
    files: Any

    async def made(self, **report: Any) -> model.Report:
        """Creates a report and waits for its end."""
        request = messages.CreateReportRequest(report=model.Report(**report))
        created = await self.reports.CreateReport(request)
        return await self.ended(created.report.report_id)

    async def get(self, report_id: str) -> model.Report:
        """Gets a report."""
        request = messages.GetReportRequest(report_id=report_id)
        report: model.Report = (await self.reports.GetReport(request)).report
        return report

    async def ended(self, report_id: str) -> model.Report:
        """Waits for a report's end."""

        async def look() -> model.Report | None:
            report = await self.get(report_id)
            return report if report.HasField("end_time") else None

        found = await eventually(look)
        assert found is not None
        return found

    async def content(self, report_id: str, format_: str = "") -> tuple[str, bytes]:
        """Fetches one format: its media type and its bytes."""
        request = messages.GetReportContentRequest(report_id=report_id, format=format_)
        parts = [part async for part in self.reports.GetReportContent(request)]
        return parts[0].content_type, b"".join(part.data for part in parts)


@asynccontextmanager
async def reporter_of(
    built: ReportingService, database: Database, tenant: str, *, is_working: bool = True
) -> AsyncIterator[Reporter]:
    """Serves the report methods of a service. is_working: whether queued work is done."""
    add = reporting_service_pb2_grpc.add_ReportingServiceServicer_to_server
    # The report methods alone behind their service, whatever else it has.
    base: Any = reporting_service_pb2_grpc.ReportingServiceServicer
    servicer = type("Servicer", (ReportMethods, base), {})(built.reporting.reports)
    workers = Workers(built.reporting.workers if is_working else [])
    workers.start()
    try:
        async with serving(
            lambda server: add(servicer, server), *built.servicers, database=database
        ) as server:
            channel = server.channel("org_admin", tenant=tenant)
            yield Reporter(
                tenant,
                reporting_service_pb2_grpc.ReportingServiceStub(channel),
                schedule_service_pb2_grpc.ReportScheduleServiceStub(channel),
                schedule_service_pb2_grpc.ExportServiceStub(server.plain),
            )
    finally:
        await workers.stop(5)
