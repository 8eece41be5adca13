"""Charts between contract and domain."""

from __future__ import annotations

from finops.reporting.v1 import report_messages_pb2 as messages
from finops.reporting.v1 import report_model_pb2 as model
from google.api.httpbody_pb2 import HttpBody

from services.kernel.errors import FieldViolations
from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest
from services.reporting.domain.chart.catalog import ChartKind
from services.reporting.domain.chart.question import HEIGHT_MIN, WIDTH_MIN, ChartQuestion
from services.reporting.service.charts import VEGA_LITE, WIDTH, Look

LIST = "/finops.reporting.v1.ReportingService/ListCharts"


def to_question(request: messages.GetChartRequest, tenant_id: str) -> ChartQuestion:
    """Converts a request."""
    return ChartQuestion(
        tenant_id=tenant_id,
        chart=request.chart,
        start=request.start,
        end=request.end,
        group_by=tuple(request.group_by),
        granularity=request.granularity,
        filter=request.filter,
        budget_id=request.budget_id,
        currency_code=request.currency,
    )


def to_look(request: messages.GetChartRequest) -> Look:
    """Converts how a chart is to look. Raises FieldViolations for one too small to be read."""
    least = (("width", request.width, WIDTH_MIN), ("height", request.height, HEIGHT_MIN))
    wrong = [
        (name, f"must be 0 or at least {bound} pixels")
        for name, given, bound in least
        if 0 < given < bound
    ]
    if wrong:
        raise FieldViolations(wrong)
    return Look(theme=request.theme or "light", width=request.width or WIDTH, height=request.height)


def to_form(request: messages.GetChartRequest) -> str:
    """Converts the form that is asked for."""
    return request.format or VEGA_LITE


def from_content(media_type: str, content: bytes) -> HttpBody:
    """Converts a chart."""
    return HttpBody(content_type=media_type, data=content)


def to_page(request: messages.ListChartsRequest, tenant_id: str) -> PageRequest:
    """Converts a request for a page."""
    return page_request(request, tenant_id=tenant_id, method=LIST)


def from_page(page: Page[ChartKind]) -> messages.ListChartsResponse:
    """Converts a page."""
    return messages.ListChartsResponse(
        charts=[
            model.Chart(chart=kind.name, title=kind.title, parameters=kind.parameters)
            for kind in page.items
        ],
        next_page_token=page.next_page_token,
    )
