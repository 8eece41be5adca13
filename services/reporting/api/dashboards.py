"""GetDashboard, a part of ReportingService."""

from __future__ import annotations

from typing import Any

import grpc
from finops.reporting.v1 import reporting_messages_pb2 as messages

from services.kernel.caller import current_caller
from services.reporting.api.tenant import as_tenant
from services.reporting.convert import dashboards as convert
from services.reporting.service.dashboards import Dashboards

Context = grpc.aio.ServicerContext[Any, Any]


class DashboardMethods:
    """Serves the dashboard."""

    def __init__(self, *, dashboards: Dashboards) -> None:
        """Takes the use case."""
        self._dashboards = dashboards

    async def GetDashboard(
        self, request: messages.GetDashboardRequest, _: Context
    ) -> messages.GetDashboardResponse:
        """Returns everything an executive looks at in one call."""
        question = convert.to_question(request, as_tenant(request.tenant_id), current_caller().may)
        found = await self._dashboards.get_dashboard(question, refresh=request.refresh)
        return convert.from_dashboard(found)
