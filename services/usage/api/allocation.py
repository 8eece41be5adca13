"""AllocationService: rules that move shared cost."""

from __future__ import annotations

from typing import Any

import grpc
from finops.usage.v1 import allocation_service_pb2 as messages
from finops.usage.v1 import allocation_service_pb2_grpc

from services.usage.api.tenant import as_tenant
from services.usage.convert import allocation as convert
from services.usage.service.allocation import AllocationRules

Context = grpc.aio.ServicerContext[Any, Any]


class AllocationServicer(allocation_service_pb2_grpc.AllocationServiceServicer):
    """Serves AllocationService."""

    def __init__(self, *, rules: AllocationRules) -> None:
        """Takes the use cases."""
        self._rules = rules

    async def CreateAllocationRule(
        self, request: messages.CreateAllocationRuleRequest, _: Context
    ) -> messages.CreateAllocationRuleResponse:
        """Creates a rule."""
        tenant_id = as_tenant(request.tenant_id)
        rule = convert.to_rule(request.allocation_rule)
        rule = await self._rules.create_allocation_rule(tenant_id, rule)
        return messages.CreateAllocationRuleResponse(allocation_rule=convert.from_rule(rule))

    async def GetAllocationRule(
        self, request: messages.GetAllocationRuleRequest, _: Context
    ) -> messages.GetAllocationRuleResponse:
        """Gets a rule."""
        tenant_id = as_tenant(request.tenant_id)
        rule = await self._rules.get_allocation_rule(tenant_id, request.allocation_rule_id)
        return messages.GetAllocationRuleResponse(allocation_rule=convert.from_rule(rule))

    async def ListAllocationRules(
        self, request: messages.ListAllocationRulesRequest, _: Context
    ) -> messages.ListAllocationRulesResponse:
        """Lists rules."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_rules(await self._rules.list_allocation_rules(page))

    async def UpdateAllocationRule(
        self, request: messages.UpdateAllocationRuleRequest, _: Context
    ) -> messages.UpdateAllocationRuleResponse:
        """Makes a new version of a rule."""
        tenant_id = as_tenant(request.tenant_id)
        rule_id = request.allocation_rule.allocation_rule_id
        fields = convert.changed_fields(request)
        rule = await self._rules.update_allocation_rule(
            tenant_id,
            rule_id,
            convert.to_change(request, fields),
            has_start="effective_start_at" in fields,
        )
        return messages.UpdateAllocationRuleResponse(allocation_rule=convert.from_rule(rule))

    async def DeleteAllocationRule(
        self, request: messages.DeleteAllocationRuleRequest, _: Context
    ) -> messages.DeleteAllocationRuleResponse:
        """Ends a rule."""
        tenant_id = as_tenant(request.tenant_id)
        await self._rules.delete_allocation_rule(tenant_id, request.allocation_rule_id)
        return messages.DeleteAllocationRuleResponse()

    async def PreviewAllocation(
        self, request: messages.PreviewAllocationRequest, _: Context
    ) -> messages.PreviewAllocationResponse:
        """Shows what rules would move."""
        tenant_id = as_tenant(request.tenant_id)
        candidate = convert.to_candidate(request)
        previewed = await self._rules.preview_allocation(
            tenant_id, request.start, request.end, candidate=candidate
        )
        return convert.from_preview(previewed)
