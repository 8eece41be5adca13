"""ReportScheduleService: reports by the calendar."""

from __future__ import annotations

from typing import Any

import grpc
from finops.reporting.v1 import schedule_service_pb2 as messages
from finops.reporting.v1 import schedule_service_pb2_grpc

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import schedules as convert
from services.reporting.convert.reports import from_report
from services.reporting.service.schedules import Schedules

Context = grpc.aio.ServicerContext[Any, Any]


class ReportScheduleServicer(schedule_service_pb2_grpc.ReportScheduleServiceServicer):
    """Serves ReportScheduleService."""

    def __init__(self, schedules: Schedules) -> None:
        """Takes the use cases."""
        self._schedules = schedules

    async def CreateReportSchedule(
        self, request: messages.CreateReportScheduleRequest, _: Context
    ) -> messages.CreateReportScheduleResponse:
        """Creates a schedule."""
        given = convert.to_schedule(request.schedule, as_tenant(request.tenant_id))
        made = await self._schedules.create_report_schedule(given)
        return messages.CreateReportScheduleResponse(schedule=convert.from_schedule(made))

    async def GetReportSchedule(
        self, request: messages.GetReportScheduleRequest, _: Context
    ) -> messages.GetReportScheduleResponse:
        """Gets a schedule."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._schedules.get_report_schedule(tenant_id, request.schedule_id)
        return messages.GetReportScheduleResponse(schedule=convert.from_schedule(found))

    async def ListReportSchedules(
        self, request: messages.ListReportSchedulesRequest, _: Context
    ) -> messages.ListReportSchedulesResponse:
        """Lists schedules."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._schedules.list_report_schedules(page))

    async def UpdateReportSchedule(
        self, request: messages.UpdateReportScheduleRequest, _: Context
    ) -> messages.UpdateReportScheduleResponse:
        """Changes a schedule."""
        tenant_id, given = as_tenant(request.tenant_id), request.schedule
        change, fields = convert.to_change(request, tenant_id)
        changed = await self._schedules.update_report_schedule(
            tenant_id, given.schedule_id, change, fields=fields, etag=given.etag
        )
        return messages.UpdateReportScheduleResponse(schedule=convert.from_schedule(changed))

    async def DeleteReportSchedule(
        self, request: messages.DeleteReportScheduleRequest, _: Context
    ) -> messages.DeleteReportScheduleResponse:
        """Deletes a schedule."""
        tenant_id = as_tenant(request.tenant_id)
        await self._schedules.delete_report_schedule(tenant_id, request.schedule_id, request.etag)
        return messages.DeleteReportScheduleResponse()

    async def RunReportSchedule(
        self, request: messages.RunReportScheduleRequest, _: Context
    ) -> messages.RunReportScheduleResponse:
        """Makes the report of a schedule now."""
        tenant_id = as_tenant(request.tenant_id)
        made = await self._schedules.run_report_schedule(tenant_id, request.schedule_id)
        return messages.RunReportScheduleResponse(report=from_report(made))
