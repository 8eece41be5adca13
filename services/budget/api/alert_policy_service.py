"""AlertPolicyService: who is told next, and when nobody is."""

from __future__ import annotations

from typing import Any

import grpc
from finops.budget.v1 import alert_policy_service_pb2 as messages
from finops.budget.v1 import alert_policy_service_pb2_grpc

from services.budget.api.tenant import as_tenant
from services.budget.convert import alert_policies as convert
from services.budget.service.alert_policies import EscalationPolicies, SuppressionRules

Context = grpc.aio.ServicerContext[Any, Any]


class AlertPolicyServicer(alert_policy_service_pb2_grpc.AlertPolicyServiceServicer):
    """Serves AlertPolicyService."""

    def __init__(self, *, policies: EscalationPolicies, rules: SuppressionRules) -> None:
        """Takes the use cases."""
        self._policies = policies
        self._rules = rules

    async def CreateEscalationPolicy(
        self, request: messages.CreateEscalationPolicyRequest, _: Context
    ) -> messages.CreateEscalationPolicyResponse:
        """Creates an escalation policy."""
        draft = convert.to_policy(request.policy)
        made = await self._policies.create_escalation_policy(as_tenant(request.tenant_id), draft)
        return messages.CreateEscalationPolicyResponse(escalation_policy=convert.from_policy(made))

    async def GetEscalationPolicy(
        self, request: messages.GetEscalationPolicyRequest, _: Context
    ) -> messages.GetEscalationPolicyResponse:
        """Gets an escalation policy."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._policies.get_escalation_policy(tenant_id, request.policy_id)
        return messages.GetEscalationPolicyResponse(escalation_policy=convert.from_policy(found))

    async def ListEscalationPolicies(
        self, request: messages.ListEscalationPoliciesRequest, _: Context
    ) -> messages.ListEscalationPoliciesResponse:
        """Lists escalation policies."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListEscalationPolicies")
        return convert.from_policies(await self._policies.list_escalation_policies(page))

    async def UpdateEscalationPolicy(
        self, request: messages.UpdateEscalationPolicyRequest, _: Context
    ) -> messages.UpdateEscalationPolicyResponse:
        """Changes an escalation policy."""
        tenant_id = as_tenant(request.tenant_id)
        policy = request.policy
        changed = await self._policies.update_escalation_policy(
            tenant_id, policy.policy_id, policy.etag, convert.to_policy_change(request)
        )
        return messages.UpdateEscalationPolicyResponse(
            escalation_policy=convert.from_policy(changed)
        )

    async def DeleteEscalationPolicy(
        self, request: messages.DeleteEscalationPolicyRequest, _: Context
    ) -> messages.DeleteEscalationPolicyResponse:
        """Deletes an escalation policy."""
        tenant_id = as_tenant(request.tenant_id)
        await self._policies.delete_escalation_policy(tenant_id, request.policy_id, request.etag)
        return messages.DeleteEscalationPolicyResponse()

    async def CreateSuppressionRule(
        self, request: messages.CreateSuppressionRuleRequest, _: Context
    ) -> messages.CreateSuppressionRuleResponse:
        """Creates a suppression rule."""
        draft = convert.to_rule(request.rule)
        made = await self._rules.create_suppression_rule(as_tenant(request.tenant_id), draft)
        return messages.CreateSuppressionRuleResponse(suppression_rule=convert.from_rule(made))

    async def GetSuppressionRule(
        self, request: messages.GetSuppressionRuleRequest, _: Context
    ) -> messages.GetSuppressionRuleResponse:
        """Gets a suppression rule."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._rules.get_suppression_rule(tenant_id, request.rule_id)
        return messages.GetSuppressionRuleResponse(suppression_rule=convert.from_rule(found))

    async def ListSuppressionRules(
        self, request: messages.ListSuppressionRulesRequest, _: Context
    ) -> messages.ListSuppressionRulesResponse:
        """Lists suppression rules."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListSuppressionRules")
        return convert.from_rules(await self._rules.list_suppression_rules(page))

    async def UpdateSuppressionRule(
        self, request: messages.UpdateSuppressionRuleRequest, _: Context
    ) -> messages.UpdateSuppressionRuleResponse:
        """Changes a suppression rule."""
        tenant_id = as_tenant(request.tenant_id)
        rule = request.rule
        changed = await self._rules.update_suppression_rule(
            tenant_id, rule.rule_id, rule.etag, convert.to_rule_change(request)
        )
        return messages.UpdateSuppressionRuleResponse(suppression_rule=convert.from_rule(changed))

    async def DeleteSuppressionRule(
        self, request: messages.DeleteSuppressionRuleRequest, _: Context
    ) -> messages.DeleteSuppressionRuleResponse:
        """Deletes a suppression rule."""
        tenant_id = as_tenant(request.tenant_id)
        await self._rules.delete_suppression_rule(tenant_id, request.rule_id, request.etag)
        return messages.DeleteSuppressionRuleResponse()
