"""Serves dashboards, and asks for them as a person of a tenant does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from finops.reporting.v1 import dashboard_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages
from finops.reporting.v1 import reporting_service_pb2_grpc
from finops.usage.v1 import cost_model_pb2, usage_model_pb2, usage_service_pb2

from services.kernel.database import Database
from services.kernel.ids import new_id
from services.reporting import bootstrap
from services.reporting.api.dashboards import DashboardMethods
from services.reporting.convert.instants import from_instant, to_instant
from tests.reporting.conftest import Caller
from tests.support.server import LocalServer, serving


@asynccontextmanager
async def dashboards(
    service: bootstrap.ReportingService, database: Database
) -> AsyncIterator[LocalServer]:
    """Serves ReportingService with its dashboard alone."""
    bases = (DashboardMethods, reporting_service_pb2_grpc.ReportingServiceServicer)
    servicer: Any = type("Servicer", bases, {})
    register = partial(
        reporting_service_pb2_grpc.add_ReportingServiceServicer_to_server,
        servicer(dashboards=service.dashboards),
    )
    async with serving(register, database=database) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Viewer:
    """A tenant's dashboard, and who records its usage."""

    caller: Caller
    stub: reporting_service_pb2_grpc.ReportingServiceAsyncStub

    async def dashboard(self, **asked: Any) -> model.Dashboard:
        return (await self.stub.GetDashboard(messages.GetDashboardRequest(**asked))).dashboard

    async def costs(
        self, shown: model.Dashboard, **asked: Any
    ) -> cost_model_pb2.QueryCostsResponse:
        """Asks QueryCosts for the dashboard's period."""
        request = cost_model_pb2.QueryCostsRequest(
            start=to_instant(shown.period.start_time).isoformat(),
            end=to_instant(shown.period.end_time).isoformat(),
            page_size=1_000,
            **asked,
        )
        return await self.caller.usage.QueryCosts(request)

    async def record(self, events: Sequence[usage_model_pb2.UsageEvent]) -> None:
        answer = await self.caller.usage.RecordUsage(
            usage_service_pb2.RecordUsageRequest(events=events)
        )
        assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}, answer


def event(at: datetime, billed: str, **changed: Any) -> usage_model_pb2.UsageEvent:
    currency = changed.pop("currency", "USD")
    return usage_model_pb2.UsageEvent(
        **{
            "event_id": new_id(),
            "source": "tests",
            "start_time": from_instant(at),
            "resource_type": "llm",
            "quantity": "1",
            "unit": "call",
            "cost": usage_model_pb2.UsageCost(currency_code=currency, billed=billed),
            **changed,
        }
    )
