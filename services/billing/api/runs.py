"""What RunService does with billing runs."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import run_service_pb2 as messages

from services.billing.api.tenant import as_tenant
from services.billing.convert import runs as convert
from services.billing.convert.invoices import to_page
from services.billing.service.running import BillingRuns

Context = grpc.aio.ServicerContext[Any, Any]
_SERVICE = "finops.billing.v1.RunService"


class BillingRunMethods:
    """The methods of RunService that follow billing runs."""

    _runs: BillingRuns

    async def GetBillingRun(
        self, request: messages.GetBillingRunRequest, _: Context
    ) -> messages.GetBillingRunResponse:
        """Returns a run."""
        tenant_id = as_tenant(request.tenant_id)
        run = await self._runs.get_billing_run(tenant_id, request.run_id)
        return messages.GetBillingRunResponse(run=convert.from_run(run))

    async def ListBillingRuns(
        self, request: messages.ListBillingRunsRequest, _: Context
    ) -> messages.ListBillingRunsResponse:
        """Lists runs."""
        tenant_id = as_tenant(request.tenant_id)
        page = to_page(request, tenant_id, "ListBillingRuns", service=_SERVICE)
        return convert.from_runs(await self._runs.list_billing_runs(page))

    async def ListBillingRunItems(
        self, request: messages.ListBillingRunItemsRequest, _: Context
    ) -> messages.ListBillingRunItemsResponse:
        """Lists what a run did for each account."""
        tenant_id = as_tenant(request.tenant_id)
        method = f"ListBillingRunItems/{request.run_id}"
        page = to_page(request, tenant_id, method, service=_SERVICE)
        return convert.from_items(await self._runs.list_billing_run_items(page, request.run_id))

    async def ResumeBillingRun(
        self, request: messages.ResumeBillingRunRequest, _: Context
    ) -> messages.ResumeBillingRunResponse:
        """Goes on with a stopped run."""
        run = await self._runs.resume_billing_run(request.run_id, retry_failed=request.retry_failed)
        return messages.ResumeBillingRunResponse(run=convert.from_run(run))

    async def CancelBillingRun(
        self, request: messages.CancelBillingRunRequest, _: Context
    ) -> messages.CancelBillingRunResponse:
        """Stops a run."""
        run = await self._runs.cancel_billing_run(request.run_id)
        return messages.CancelBillingRunResponse(run=convert.from_run(run))
