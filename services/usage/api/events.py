"""The part of UsageService that reads, corrects, follows and keeps events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.usage.v1 import cost_model_pb2
from finops.usage.v1 import usage_service_pb2 as messages

from services.usage.api.tenant import as_tenant
from services.usage.convert import changes as change_convert
from services.usage.convert import events as convert
from services.usage.convert.dates import to_date
from services.usage.service.amending import Amendments
from services.usage.service.archiving import Archive
from services.usage.service.events import StoredEvents
from services.usage.service.reconciling import Reconciler
from services.usage.service.watching import CostWatch

Context = grpc.aio.ServicerContext[Any, Any]


class EventMethods:
    """The RPCs about stored events. The servicer that has them sets the use cases."""

    _events: StoredEvents
    _amendments: Amendments
    _watch: CostWatch
    _reconciler: Reconciler
    _archive: Archive

    async def ListUsageEvents(
        self, request: messages.ListUsageEventsRequest, _: Context
    ) -> messages.ListUsageEventsResponse:
        """Lists events."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        found = await self._events.list_usage_events(page, start=request.start, end=request.end)
        return convert.from_events(found)

    async def GetUsageEvent(
        self, request: messages.GetUsageEventRequest, _: Context
    ) -> messages.GetUsageEventResponse:
        """Gets one event in full."""
        key = (as_tenant(request.tenant_id), request.source, request.event_id)
        return convert.from_detail(await self._events.get_usage_event(*key))

    async def AmendUsage(
        self, request: messages.AmendUsageRequest, _: Context
    ) -> messages.AmendUsageResponse:
        """Replaces or voids an event."""
        amendment = convert.to_amendment(request, as_tenant(request.tenant_id))
        amended = await self._amendments.amend_usage(amendment)
        return messages.AmendUsageResponse(event=convert.from_stored(amended))

    async def WatchCosts(
        self, request: cost_model_pb2.WatchCostsRequest, _: Context
    ) -> AsyncIterator[cost_model_pb2.WatchCostsResponse]:
        """Streams changes of cost."""
        tenant_id = as_tenant(request.tenant_id)
        limit = request.batch_size or change_convert.WATCH_BATCH
        pages = self._watch.watch_costs(tenant_id, after=request.after_sequence, limit=limit)
        async for page in pages:
            yield change_convert.from_page(page)

    async def ReconcileUsage(
        self, request: cost_model_pb2.ReconcileUsageRequest, _: Context
    ) -> cost_model_pb2.ReconcileUsageResponse:
        """Compares and mends."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._reconciler.reconcile_usage(
            tenant_id, start=request.start, end=request.end, repair=request.repair
        )
        return change_convert.from_reconciliation(found)

    async def ArchiveUsage(
        self, request: cost_model_pb2.ArchiveUsageRequest, _: Context
    ) -> cost_model_pb2.ArchiveUsageResponse:
        """Archives months."""
        before = to_date(request.before)
        months = await self._archive.archive_usage(before, is_dry_run=request.dry_run)
        return change_convert.from_archive(months)
