"""ComplianceService: audit, reports for auditors, and what persons ask about themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import (
    compliance_service_pb2,  # noqa: F401 - loads the contract that the servicer serves
    compliance_service_pb2_grpc,
)
from google.api.httpbody_pb2 import HttpBody

from services.reporting.api.tenant import as_tenant
from services.reporting.convert import compliance as convert
from services.reporting.convert import files, subjects
from services.reporting.domain.links import Links
from services.reporting.service.compliance import Compliance
from services.reporting.service.subjects import Subjects

Context = grpc.aio.ServicerContext[Any, Any]


class ComplianceServicer(compliance_service_pb2_grpc.ComplianceServiceServicer):
    """Serves ComplianceService."""

    def __init__(self, *, compliance: Compliance, subjects: Subjects, links: Links) -> None:
        """links: sign the paths of what was collected."""
        self._links = links
        self._compliance = compliance
        self._subjects = subjects

    async def ListAuditEntries(
        self, request: messages.ListAuditEntriesRequest, _: Context
    ) -> messages.ListAuditEntriesResponse:
        """Lists entries of all services."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._compliance.list_audit_entries(page))

    async def VerifyAuditChain(
        self, request: messages.VerifyAuditChainRequest, _: Context
    ) -> messages.VerifyAuditChainResponse:
        """Verifies the chains."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._compliance.verify_audit_chain(tenant_id, list(request.services))
        return convert.from_chains(found)

    async def GetComplianceReport(
        self, request: messages.GetComplianceReportRequest, _: Context
    ) -> messages.GetComplianceReportResponse:
        """Gets a report."""
        made = await self._compliance.get_compliance_report(
            as_tenant(request.tenant_id), request.kind, convert.to_instants(request)
        )
        return messages.GetComplianceReportResponse(report=convert.from_report(made))

    async def ExportSubjectData(
        self, request: messages.ExportSubjectDataRequest, _: Context
    ) -> messages.ExportSubjectDataResponse:
        """Starts a collection."""
        known = await self._subjects.export_subject_data(
            as_tenant(request.tenant_id), request.subject_id, request.reason
        )
        return messages.ExportSubjectDataResponse(
            subject_case=subjects.from_case(known, self._links)
        )

    async def GetSubjectData(
        self, request: messages.GetSubjectDataRequest, _: Context
    ) -> AsyncIterator[HttpBody]:
        """Streams what was collected."""
        stored, content = await self._subjects.get_subject_data(
            as_tenant(request.tenant_id), request.subject_case_id
        )
        async for part in files.from_content(stored, content):
            yield part

    async def EraseSubject(
        self, request: messages.EraseSubjectRequest, _: Context
    ) -> messages.EraseSubjectResponse:
        """Starts an erasure."""
        tenant_id = as_tenant(request.tenant_id)
        known = await self._subjects.erase_subject(
            tenant_id, request.subject_id, request.reason, dry_run=request.dry_run
        )
        return messages.EraseSubjectResponse(subject_case=subjects.from_case(known, self._links))

    async def GetSubjectCase(
        self, request: messages.GetSubjectCaseRequest, _: Context
    ) -> messages.GetSubjectCaseResponse:
        """Gets a case."""
        tenant_id = as_tenant(request.tenant_id)
        known = await self._subjects.get_subject_case(tenant_id, request.subject_case_id)
        return messages.GetSubjectCaseResponse(subject_case=subjects.from_case(known, self._links))

    async def ListSubjectCases(
        self, request: messages.ListSubjectCasesRequest, _: Context
    ) -> messages.ListSubjectCasesResponse:
        """Lists cases."""
        page = subjects.to_page(request, as_tenant(request.tenant_id))
        return subjects.from_page(await self._subjects.list_subject_cases(page), self._links)
