"""AnomalyService: what is unusual, and what people say about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.reporting.v1 import reporting_messages_pb2 as messages
from finops.reporting.v1 import reporting_service_pb2_grpc

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import anomalies as convert
from services.reporting.service.anomalies import Anomalies

Context = grpc.aio.ServicerContext[Any, Any]


class AnomalyServicer(reporting_service_pb2_grpc.AnomalyServiceServicer):
    """Serves AnomalyService."""

    def __init__(self, *, anomalies: Anomalies) -> None:
        """Takes the use cases."""
        self._anomalies = anomalies

    async def ListAnomalies(
        self, request: messages.ListAnomaliesRequest, _: Context
    ) -> messages.ListAnomaliesResponse:
        """Lists anomalies."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        found = await self._anomalies.list_anomalies(page, request.start, request.end)
        return convert.from_page(found)

    async def GetAnomaly(
        self, request: messages.GetAnomalyRequest, _: Context
    ) -> messages.GetAnomalyResponse:
        """Gets an anomaly."""
        tenant_id = as_tenant(request.tenant_id)
        found, similar = await self._anomalies.get_anomaly(tenant_id, request.anomaly_id)
        return messages.GetAnomalyResponse(anomaly=convert.from_anomaly(found, similar))

    async def GiveFeedback(
        self, request: messages.GiveFeedbackRequest, _: Context
    ) -> messages.GiveFeedbackResponse:
        """Takes a judgement."""
        key = (as_tenant(request.tenant_id), request.anomaly_id)
        feedback = convert.to_feedback(request)
        found = await self._anomalies.give_feedback(*key, feedback, request.note)
        return messages.GiveFeedbackResponse(anomaly=convert.from_anomaly(found))

    async def WatchAnomalies(
        self, request: messages.WatchAnomaliesRequest, _: Context
    ) -> AsyncIterator[messages.WatchAnomaliesResponse]:
        """Streams changes."""
        tenant_id = as_tenant(request.tenant_id)
        async for page in self._anomalies.watch_anomalies(tenant_id, request.after_sequence):
            for message in convert.from_changes(page):
                yield message
