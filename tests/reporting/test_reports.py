"""Reports over real usage, budgets and recommendations."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from finops.reporting.v1 import report_messages_pb2 as messages
from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1 import reporting_service_pb2_grpc

from services.kernel.database import Database
from services.kernel.workers import Workers
from services.reporting.api.reports import ReportMethods
from services.reporting.bootstrap import ReportingService
from tests.reporting.conftest import Caller
from tests.support.server import LocalServer, serving
from tests.support.waiting import eventually


class Servicer(ReportMethods, reporting_service_pb2_grpc.ReportingServiceServicer):
    """The report methods behind their service."""


@dataclass(frozen=True, slots=True)
class Asking:
    stub: Any

    async def made(self, **report: Any) -> model.Report:
        """Creates a report and waits for its end."""
        request = messages.CreateReportRequest(report=model.Report(**report))
        created = await self.stub.CreateReport(request)
        return await self.ended(created.report.report_id)

    async def ended(self, report_id: str) -> model.Report:
        async def look() -> model.Report | None:
            answer = await self.stub.GetReport(messages.GetReportRequest(report_id=report_id))
            return answer.report if answer.report.HasField("end_time") else None

        found = await eventually(look)
        assert found is not None
        return found

    async def content(self, report_id: str, format_: str) -> tuple[str, bytes]:
        request = messages.GetReportContentRequest(report_id=report_id, format=format_)
        parts = [part async for part in self.stub.GetReportContent(request)]
        return parts[0].content_type, b"".join(part.data for part in parts)


@pytest.fixture
async def asking(
    built: ReportingService, reporting_database: Database, tenant: str
) -> AsyncIterator[Asking]:
    """A caller of the report methods, whose jobs are done."""
    add = reporting_service_pb2_grpc.add_ReportingServiceServicer_to_server
    servicer = Servicer(built.reporting.methods._reports)
    workers = Workers(built.reporting.workers)
    workers.start()
    async with serving(
        lambda server: add(servicer, server), database=reporting_database
    ) as server:
        channel = server.channel("org_admin", tenant=tenant)
        yield Asking(reporting_service_pb2_grpc.ReportingServiceStub(channel))
    await workers.stop(5)


async def test_an_executive_report_is_made_in_every_format(caller: Caller, asking: Asking) -> None:
    await caller.record_days(["100", "20.000000000000000001", "7"] * 20, department="research")

    made = await asking.made(
        kind=model.REPORT_KIND_EXECUTIVE,
        formats=[
            model.REPORT_FORMAT_HTML,
            model.REPORT_FORMAT_PDF,
            model.REPORT_FORMAT_XLSX,
            model.REPORT_FORMAT_CSV,
        ],
    )

    assert made.state == model.JOB_STATE_SUCCEEDED, made.error
    assert made.progress.done_units == made.progress.total_units == 11
    kind, page = await asking.content(made.report_id, "html")
    assert kind == "text/html; charset=utf-8"
    assert b"research" in page
    kind, document = await asking.content(made.report_id, "pdf")
    assert kind == "application/pdf"
    assert document.startswith(b"%PDF")
    _, tables = await asking.content(made.report_id, "csv")
    with zipfile.ZipFile(io.BytesIO(tables)) as archive:
        assert "figures.csv" in archive.namelist()
