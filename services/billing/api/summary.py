"""What BillingService says of billing as a whole: summary, history, settings, plans, feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.billing.v1 import billing_service_pb2 as messages
from finops.billing.v1 import run_messages_pb2

from services.billing.api.tenant import as_tenant
from services.billing.convert import accounts as account_convert
from services.billing.convert import journal as convert
from services.billing.convert import plans as plan_convert
from services.billing.service.plans import Plans
from services.billing.service.summary import Summaries

Context = grpc.aio.ServicerContext[Any, Any]


class SummaryMethods:
    """The methods of BillingService that look at all of it."""

    _plans: Plans
    _summaries: Summaries

    async def GetBillingSummary(
        self, request: messages.GetBillingSummaryRequest, _: Context
    ) -> messages.GetBillingSummaryResponse:
        """Says how a tenant stands."""
        tenant_id = as_tenant(request.tenant_id)
        summary = await self._summaries.get_billing_summary(
            tenant_id, request.account_id, request.currency
        )
        return messages.GetBillingSummaryResponse(summary=convert.from_summary(summary))

    async def ListBillingHistory(
        self, request: messages.ListBillingHistoryRequest, _: Context
    ) -> messages.ListBillingHistoryResponse:
        """Lists what happened."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_history_page(request, tenant_id)
        found = await self._summaries.list_billing_history(
            page, account_id=request.account_id, start=request.start, end=request.end
        )
        return convert.from_history(found)

    async def ConfigureAutomatedBilling(
        self, request: messages.ConfigureAutomatedBillingRequest, _: Context
    ) -> messages.ConfigureAutomatedBillingResponse:
        """Sets when and how an account is billed by itself."""
        tenant_id = as_tenant(request.tenant_id)
        wanted = account_convert.to_automated(request)
        stored = await self._summaries.configure_automated_billing(tenant_id, wanted)
        automated = account_convert.from_automated(*stored)
        return messages.ConfigureAutomatedBillingResponse(automated_billing=automated)

    async def GetAutomatedBilling(
        self, request: messages.GetAutomatedBillingRequest, _: Context
    ) -> messages.GetAutomatedBillingResponse:
        """Says when and how an account is billed by itself."""
        tenant_id = as_tenant(request.tenant_id)
        stored = await self._summaries.get_automated_billing(tenant_id, request.account_id)
        automated = account_convert.from_automated(*stored)
        return messages.GetAutomatedBillingResponse(automated_billing=automated)

    async def ListPricingPlans(
        self, request: messages.ListPricingPlansRequest, _: Context
    ) -> messages.ListPricingPlansResponse:
        """Lists plans."""
        tenant_id = as_tenant(request.tenant_id)
        page = plan_convert.to_page(request, tenant_id, "BillingService/ListPricingPlans")
        return plan_convert.from_plans(await self._plans.list_pricing_plans(page))

    async def WatchBilling(
        self, request: run_messages_pb2.WatchBillingRequest, _: Context
    ) -> AsyncIterator[run_messages_pb2.WatchBillingResponse]:
        """Streams what happens."""
        tenant_id = as_tenant(request.tenant_id)
        pages = self._summaries.watch_billing(tenant_id, after=request.after_sequence)
        async for page in pages:
            yield convert.from_billing_page(page)
