"""GetChart and ListCharts, a part of ReportingService."""

from __future__ import annotations

from typing import Any

import grpc
from finops.reporting.v1 import report_messages_pb2 as messages
from google.api.httpbody_pb2 import HttpBody

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import charts as convert
from services.reporting.service.charting import Charting

Context = grpc.aio.ServicerContext[Any, Any]


class ChartMethods:
    """Serves charts."""

    def __init__(self, *, charting: Charting) -> None:
        """Takes the use case."""
        self._charting = charting

    async def GetChart(self, request: messages.GetChartRequest, _: Context) -> HttpBody:
        """Returns a chart as specification, SVG or PNG."""
        question = convert.to_question(request, as_tenant(request.tenant_id))
        look, form = convert.to_look(request), convert.to_form(request)
        return convert.from_content(*await self._charting.get_chart(question, form, look))

    async def ListCharts(
        self, request: messages.ListChartsRequest, _: Context
    ) -> messages.ListChartsResponse:
        """Lists the charts there are."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(self._charting.list_charts(page))
