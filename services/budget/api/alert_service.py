"""AlertService: alerts from the threshold that fires to the person that resolves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.budget.v1 import alert_service_pb2 as messages
from finops.budget.v1 import alert_service_pb2_grpc

from services.budget.api.tenant import as_tenant
from services.budget.convert import alerts as convert
from services.budget.convert.instants import to_instant
from services.budget.service.alerts import Alerts

Context = grpc.aio.ServicerContext[Any, Any]


class AlertServicer(alert_service_pb2_grpc.AlertServiceServicer):
    """Serves AlertService."""

    def __init__(self, *, alerts: Alerts) -> None:
        """Takes the use cases."""
        self._alerts = alerts

    async def ListAlerts(
        self, request: messages.ListAlertsRequest, _: Context
    ) -> messages.ListAlertsResponse:
        """Lists alerts."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._alerts.list_alerts(page))

    async def GetAlert(
        self, request: messages.GetAlertRequest, _: Context
    ) -> messages.GetAlertResponse:
        """Gets an alert with its history."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._alerts.get_alert(tenant_id, request.alert_id)
        return messages.GetAlertResponse(alert=convert.from_alert(*found))

    async def AcknowledgeAlert(
        self, request: messages.AcknowledgeAlertRequest, _: Context
    ) -> messages.AcknowledgeAlertResponse:
        """Puts an alert into the caller's hands."""
        tenant_id = as_tenant(request.tenant_id)
        alert = await self._alerts.acknowledge_alert(tenant_id, convert.to_step(request))
        return messages.AcknowledgeAlertResponse(alert=convert.from_alert(alert))

    async def ResolveAlert(
        self, request: messages.ResolveAlertRequest, _: Context
    ) -> messages.ResolveAlertResponse:
        """Closes an alert."""
        tenant_id = as_tenant(request.tenant_id)
        alert = await self._alerts.resolve_alert(tenant_id, convert.to_step(request))
        return messages.ResolveAlertResponse(alert=convert.from_alert(alert))

    async def SnoozeAlert(
        self, request: messages.SnoozeAlertRequest, _: Context
    ) -> messages.SnoozeAlertResponse:
        """Silences an alert."""
        tenant_id = as_tenant(request.tenant_id)
        until = to_instant(request.until_time)
        alert = await self._alerts.snooze_alert(tenant_id, convert.to_step(request), until)
        return messages.SnoozeAlertResponse(alert=convert.from_alert(alert))

    async def WatchAlerts(
        self, request: messages.WatchAlertsRequest, _: Context
    ) -> AsyncIterator[messages.WatchAlertsResponse]:
        """Streams changes of alerts."""
        tenant_id = as_tenant(request.tenant_id)
        after, text = request.after_sequence, request.filter
        async for page in self._alerts.watch_alerts(tenant_id, after=after, text=text):
            for message in convert.from_changes(page):
                yield message
