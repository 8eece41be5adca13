"""ForecastService: what will be, and how good that is known."""

from __future__ import annotations

from typing import Any

import grpc
from finops.reporting.v1 import reporting_messages_pb2 as messages
from finops.reporting.v1 import (
    reporting_service_pb2,  # noqa: F401 - holds the contract; the stubs load its messages alone
    reporting_service_pb2_grpc,
)

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import forecasts as convert
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.judging import Judgements

Context = grpc.aio.ServicerContext[Any, Any]


class ForecastServicer(reporting_service_pb2_grpc.ForecastServiceServicer):
    """Serves ForecastService."""

    def __init__(self, *, forecasts: Forecasts, judgements: Judgements) -> None:
        """Takes the use cases."""
        self._forecasts = forecasts
        self._judgements = judgements

    async def Forecast(
        self, request: messages.ForecastRequest, _: Context
    ) -> messages.ForecastResponse:
        """Forecasts cost or quantity."""
        wish = convert.to_wish(request, as_tenant(request.tenant_id))
        return convert.from_answer(await self._forecasts.forecast(wish))

    async def GetForecastAccuracy(
        self, request: messages.GetForecastAccuracyRequest, _: Context
    ) -> messages.GetForecastAccuracyResponse:
        """Compares past forecasts with what came."""
        question = convert.to_accuracy_question(request, as_tenant(request.tenant_id))
        found = await self._judgements.get_forecast_accuracy(question)
        return convert.from_accuracy(found)
