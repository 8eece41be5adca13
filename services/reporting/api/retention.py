"""RetentionService: how long records stay, and which must."""

from __future__ import annotations

from typing import Any

import grpc
from finops.reporting.v1 import (
    compliance_service_pb2,  # noqa: F401 - loads the contract that the servicer serves
    compliance_service_pb2_grpc,
)
from finops.reporting.v1 import retention_messages_pb2 as messages

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import retention as convert
from services.reporting.service.retention import Retention
from services.reporting.service.retention_runs import RetentionRuns

Context = grpc.aio.ServicerContext[Any, Any]


class RetentionServicer(compliance_service_pb2_grpc.RetentionServiceServicer):
    """Serves RetentionService."""

    def __init__(self, *, retention: Retention, runs: RetentionRuns) -> None:
        """Takes the use cases."""
        self._retention = retention
        self._runs = runs

    async def ListRecordCollections(
        self, request: messages.ListRecordCollectionsRequest, _: Context
    ) -> messages.ListRecordCollectionsResponse:
        """Lists kinds of records."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListRecordCollections")
        return convert.from_collections(await self._retention.list_record_collections(page))

    async def CreateRetentionPolicy(
        self, request: messages.CreateRetentionPolicyRequest, _: Context
    ) -> messages.CreateRetentionPolicyResponse:
        """Creates a policy."""
        tenant_id, given = as_tenant(request.tenant_id), request.policy
        made = await self._retention.create_retention_policy(
            tenant_id,
            collection=given.collection,
            retention_days=given.retention_days,
            filter_=given.filter,
        )
        return messages.CreateRetentionPolicyResponse(policy=convert.from_policy(made))

    async def GetRetentionPolicy(
        self, request: messages.GetRetentionPolicyRequest, _: Context
    ) -> messages.GetRetentionPolicyResponse:
        """Gets a policy."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._retention.get_retention_policy(tenant_id, request.policy_id)
        return messages.GetRetentionPolicyResponse(policy=convert.from_policy(found))

    async def ListRetentionPolicies(
        self, request: messages.ListRetentionPoliciesRequest, _: Context
    ) -> messages.ListRetentionPoliciesResponse:
        """Lists policies."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListRetentionPolicies")
        return convert.from_policies(await self._retention.list_retention_policies(page))

    async def UpdateRetentionPolicy(
        self, request: messages.UpdateRetentionPolicyRequest, _: Context
    ) -> messages.UpdateRetentionPolicyResponse:
        """Changes a policy."""
        tenant_id, given = as_tenant(request.tenant_id), request.policy
        change = convert.to_change(request)
        changed = await self._retention.update_retention_policy(
            tenant_id, given.policy_id, change, etag=given.etag
        )
        return messages.UpdateRetentionPolicyResponse(policy=convert.from_policy(changed))

    async def DeleteRetentionPolicy(
        self, request: messages.DeleteRetentionPolicyRequest, _: Context
    ) -> messages.DeleteRetentionPolicyResponse:
        """Deletes a policy."""
        tenant_id = as_tenant(request.tenant_id)
        await self._retention.delete_retention_policy(tenant_id, request.policy_id, request.etag)
        return messages.DeleteRetentionPolicyResponse()

    async def ApplyRetention(
        self, request: messages.ApplyRetentionRequest, _: Context
    ) -> messages.ApplyRetentionResponse:
        """Starts a removal."""
        tenant_id = as_tenant(request.tenant_id)
        known = await self._runs.apply_retention(
            tenant_id, list(request.collections), dry_run=request.dry_run
        )
        return messages.ApplyRetentionResponse(run=convert.from_run(known))

    async def GetRetentionRun(
        self, request: messages.GetRetentionRunRequest, _: Context
    ) -> messages.GetRetentionRunResponse:
        """Gets a removal."""
        found = await self._runs.get_retention_run(as_tenant(request.tenant_id), request.run_id)
        return messages.GetRetentionRunResponse(run=convert.from_run(found))

    async def ListRetentionRuns(
        self, request: messages.ListRetentionRunsRequest, _: Context
    ) -> messages.ListRetentionRunsResponse:
        """Lists removals."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListRetentionRuns")
        return convert.from_runs(await self._runs.list_retention_runs(page))

    async def CreateLegalHold(
        self, request: messages.CreateLegalHoldRequest, _: Context
    ) -> messages.CreateLegalHoldResponse:
        """Creates a hold."""
        given = convert.to_hold(request.legal_hold, as_tenant(request.tenant_id))
        made = await self._retention.create_legal_hold(given)
        return messages.CreateLegalHoldResponse(legal_hold=convert.from_hold(made))

    async def ListLegalHolds(
        self, request: messages.ListLegalHoldsRequest, _: Context
    ) -> messages.ListLegalHoldsResponse:
        """Lists holds."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListLegalHolds")
        return convert.from_holds(await self._retention.list_legal_holds(page))

    async def ReleaseLegalHold(
        self, request: messages.ReleaseLegalHoldRequest, _: Context
    ) -> messages.ReleaseLegalHoldResponse:
        """Ends a hold."""
        tenant_id = as_tenant(request.tenant_id)
        ended = await self._retention.release_legal_hold(
            tenant_id, request.legal_hold_id, request.reason
        )
        return messages.ReleaseLegalHoldResponse(legal_hold=convert.from_hold(ended))
