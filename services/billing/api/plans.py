"""PricingPlanService: plans and their versions."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import pricing_plan_service_pb2 as messages
from finops.billing.v1 import pricing_plan_service_pb2_grpc

from services.billing.api.tenant import as_tenant
from services.billing.convert import plans as convert
from services.billing.convert.values import to_instant
from services.billing.service.plans import Plans

Context = grpc.aio.ServicerContext[Any, Any]


class PricingPlanServicer(pricing_plan_service_pb2_grpc.PricingPlanServiceServicer):
    """Serves PricingPlanService."""

    def __init__(self, *, plans: Plans) -> None:
        """Takes the use cases."""
        self._plans = plans

    async def CreatePricingPlan(
        self, request: messages.CreatePricingPlanRequest, _: Context
    ) -> messages.CreatePricingPlanResponse:
        """Creates a plan."""
        plan = await self._plans.create_pricing_plan(convert.to_plan(request.plan))
        return messages.CreatePricingPlanResponse(plan=convert.from_plan(plan))

    async def GetPricingPlan(
        self, request: messages.GetPricingPlanRequest, _: Context
    ) -> messages.GetPricingPlanResponse:
        """Gets a plan, its newest version or any."""
        tenant_id = as_tenant(request.tenant_id)
        plan = await self._plans.get_pricing_plan(tenant_id, request.plan_id, request.version)
        return messages.GetPricingPlanResponse(plan=convert.from_plan(plan))

    async def UpdatePricingPlan(
        self, request: messages.UpdatePricingPlanRequest, _: Context
    ) -> messages.UpdatePricingPlanResponse:
        """Adds a version."""
        has_time = request.HasField("effective_time")
        plan = await self._plans.update_pricing_plan(
            request.plan.plan_id,
            convert.to_plan_change(request),
            effective_at=to_instant(request.effective_time) if has_time else None,
            moves_subscriptions=request.migrate_subscriptions,
            etag=request.plan.etag,
        )
        return messages.UpdatePricingPlanResponse(plan=convert.from_plan(plan))

    async def DeletePricingPlan(
        self, request: messages.DeletePricingPlanRequest, _: Context
    ) -> messages.DeletePricingPlanResponse:
        """Retires a plan."""
        await self._plans.delete_pricing_plan(request.plan_id, etag=request.etag)
        return messages.DeletePricingPlanResponse()

    async def ListPricingPlanVersions(
        self, request: messages.ListPricingPlanVersionsRequest, _: Context
    ) -> messages.ListPricingPlanVersionsResponse:
        """Lists the versions of a plan."""
        tenant_id, plan_id = as_tenant(request.tenant_id), request.plan_id
        method = "PricingPlanService/ListPricingPlanVersions"
        page = convert.to_page(request, tenant_id, method, plan_id=plan_id)
        return convert.from_versions(await self._plans.list_pricing_plan_versions(page, plan_id))
