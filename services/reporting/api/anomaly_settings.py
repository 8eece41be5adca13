"""AnomalySettingsService: how anomalies are looked for, and what is behind them."""

from __future__ import annotations

from typing import Any

import grpc
from finops.reporting.v1 import anomaly_service_pb2 as messages
from finops.reporting.v1 import anomaly_service_pb2_grpc

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import anomaly_settings as convert
from services.reporting.service.anomaly_events import AnomalyEvents
from services.reporting.service.anomaly_settings import AnomalyRules

Context = grpc.aio.ServicerContext[Any, Any]


class AnomalySettingsServicer(anomaly_service_pb2_grpc.AnomalySettingsServiceServicer):
    """Serves AnomalySettingsService."""

    def __init__(self, *, rules: AnomalyRules, events: AnomalyEvents) -> None:
        """Takes the use cases."""
        self._rules = rules
        self._events = events

    async def GetAnomalySettings(
        self, request: messages.GetAnomalySettingsRequest, _: Context
    ) -> messages.GetAnomalySettingsResponse:
        """Gets the settings."""
        found = await self._rules.get_anomaly_settings(as_tenant(request.tenant_id))
        return messages.GetAnomalySettingsResponse(settings=convert.from_settings(*found))

    async def UpdateAnomalySettings(
        self, request: messages.UpdateAnomalySettingsRequest, _: Context
    ) -> messages.UpdateAnomalySettingsResponse:
        """Changes the settings."""
        tenant_id, given = as_tenant(request.tenant_id), request.settings
        change, code = convert.to_change(request), given.impact_min.currency_code
        changed = await self._rules.update_anomaly_settings(
            tenant_id, change, impact_currency=code, etag=given.etag
        )
        return messages.UpdateAnomalySettingsResponse(settings=convert.from_settings(*changed))

    async def CreateMaintenanceWindow(
        self, request: messages.CreateMaintenanceWindowRequest, _: Context
    ) -> messages.CreateMaintenanceWindowResponse:
        """Adds a window."""
        tenant_id, given = as_tenant(request.tenant_id), request.window
        made = await self._rules.create_maintenance_window(
            tenant_id, given.display_name, convert.to_period(given), given.filter
        )
        return messages.CreateMaintenanceWindowResponse(window=convert.from_window(made))

    async def ListMaintenanceWindows(
        self, request: messages.ListMaintenanceWindowsRequest, _: Context
    ) -> messages.ListMaintenanceWindowsResponse:
        """Lists windows."""
        page = convert.to_windows_page(request, as_tenant(request.tenant_id))
        return convert.from_windows_page(await self._rules.list_maintenance_windows(page))

    async def DeleteMaintenanceWindow(
        self, request: messages.DeleteMaintenanceWindowRequest, _: Context
    ) -> messages.DeleteMaintenanceWindowResponse:
        """Deletes a window."""
        tenant_id = as_tenant(request.tenant_id)
        await self._rules.delete_maintenance_window(tenant_id, request.window_id)
        return messages.DeleteMaintenanceWindowResponse()

    async def ListAnomalyEvents(
        self, request: messages.ListAnomalyEventsRequest, _: Context
    ) -> messages.ListAnomalyEventsResponse:
        """Lists the events behind an anomaly."""
        page = convert.to_events_page(request, as_tenant(request.tenant_id))
        return convert.from_events_page(
            await self._events.list_anomaly_events(page, request.anomaly_id)
        )
