"""UsageService: recording and questions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.usage.v1 import cost_model_pb2, usage_service_pb2, usage_service_pb2_grpc

from services.usage.api.analytics import AnalyticsMethods
from services.usage.api.events import EventMethods
from services.usage.api.imports import ImportMethods
from services.usage.api.tenant import as_tenant
from services.usage.convert import costs as cost_convert
from services.usage.convert import usage as convert
from services.usage.service.amending import Amendments
from services.usage.service.analyzing import Analyses
from services.usage.service.archiving import Archive
from services.usage.service.costs import CostQueries
from services.usage.service.events import StoredEvents
from services.usage.service.importing import Imports
from services.usage.service.reconciling import Reconciler
from services.usage.service.recording import Recorder
from services.usage.service.watching import CostWatch

Context = grpc.aio.ServicerContext[Any, Any]


class UsageServicer(
    ImportMethods, EventMethods, AnalyticsMethods, usage_service_pb2_grpc.UsageServiceServicer
):
    """Serves UsageService."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        costs: CostQueries,
        imports: Imports,
        events: StoredEvents,
        amendments: Amendments,
        watch: CostWatch,
        reconciler: Reconciler,
        archive: Archive,
        analyses: Analyses,
    ) -> None:
        """Takes the use cases."""
        self._events = events
        self._amendments = amendments
        self._watch = watch
        self._reconciler = reconciler
        self._archive = archive
        self._analyses = analyses
        self._imports = imports
        self._recorder = recorder
        self._costs = costs

    async def RecordUsage(
        self, request: usage_service_pb2.RecordUsageRequest, _: Context
    ) -> usage_service_pb2.RecordUsageResponse:
        """Records a batch."""
        inbox = convert.to_inbox(request.events, request.tenant_id)
        receipts = await self._recorder.record_usage(inbox.by_tenant, as_tenant)
        return convert.to_record_response(*convert.from_receipts(inbox, receipts))

    async def StreamUsage(
        self, requests: AsyncIterator[usage_service_pb2.StreamUsageRequest], _: Context
    ) -> AsyncIterator[usage_service_pb2.StreamUsageResponse]:
        """Records batches in order and acknowledges each once it is stored."""
        async for request in requests:
            inbox = convert.to_inbox(request.events, request.tenant_id)
            receipts = await self._recorder.record_usage(inbox.by_tenant, as_tenant)
            answer = convert.from_receipts(inbox, receipts)
            yield convert.to_stream_response(request.sequence, *answer)

    async def QueryCosts(
        self, request: cost_model_pb2.QueryCostsRequest, _: Context
    ) -> cost_model_pb2.QueryCostsResponse:
        """Answers a cost question."""
        tenant_id = as_tenant(request.tenant_id)
        zone_and_now = await self._costs.frame(tenant_id)
        question = cost_convert.to_question(request, tenant_id, *zone_and_now)
        page = await self._costs.query_costs(question, cost_convert.to_page(request, tenant_id))
        return cost_convert.from_page(page, question)
