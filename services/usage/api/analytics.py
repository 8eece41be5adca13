"""The part of UsageService that analyzes usage."""

from __future__ import annotations

from typing import Any

import grpc
from finops.usage.v1 import analytics_model_pb2 as messages

from services.usage.api.tenant import as_tenant
from services.usage.convert import analytics as convert
from services.usage.service.analyzing import Analyses

Context = grpc.aio.ServicerContext[Any, Any]


class AnalyticsMethods:
    """The RPC about analyses. `_analyses` is set by the servicer that has it."""

    _analyses: Analyses

    async def AnalyzeUsage(
        self, request: messages.AnalyzeUsageRequest, _: Context
    ) -> messages.AnalyzeUsageResponse:
        """Analyzes usage."""
        question = convert.to_question(request, as_tenant(request.tenant_id))
        return convert.from_analysis(await self._analyses.analyze_usage(question))
