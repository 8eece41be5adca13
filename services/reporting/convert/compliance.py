"""Audit entries, chains and reports between contract and domain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from finops.audit.v1 import audit_model_pb2
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import compliance_model_pb2 as model
from google.protobuf.struct_pb2 import Struct

from services.kernel.audit import canonical_json
from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest
from services.reporting.convert.instants import from_instant, from_optional, from_period
from services.reporting.domain.compliance import (
    AccessSummary,
    AuditRecord,
    ChainResult,
    ChangeSummary,
    ComplianceReport,
    DutyException,
)
from services.reporting.service.compliance import Instants

LIST: Final = "finops.reporting.v1.ComplianceService/ListAuditEntries"


def to_page(request: messages.ListAuditEntriesRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked for; its edges in time are among its arguments."""
    page = page_request(request, tenant_id=tenant_id, method=LIST)
    return PageRequest(
        tenant_id=page.tenant_id,
        method=page.method,
        page_size=page.page_size,
        page_token=page.page_token,
        filter=page.filter,
        order_by=page.order_by,
        arguments={"start": request.start, "end": request.end},
    )


def to_instants(request: messages.GetComplianceReportRequest) -> Instants:
    """Returns the edges of a report's period."""
    return Instants(start=request.start, end=request.end)


def from_page(page: Page[AuditRecord]) -> messages.ListAuditEntriesResponse:
    """Converts a page."""
    return messages.ListAuditEntriesResponse(
        entries=[_entry(record) for record in page.items], next_page_token=page.next_page_token
    )


def from_chains(chains: Sequence[ChainResult]) -> messages.VerifyAuditChainResponse:
    """Converts what a verification found."""
    return messages.VerifyAuditChainResponse(
        is_intact=all(chain.is_intact for chain in chains), chains=[_chain(each) for each in chains]
    )


def from_report(report: ComplianceReport) -> model.ComplianceReport:
    """Converts a report and adds its evidence: the hash of the canonical JSON of all above it."""
    message = model.ComplianceReport(
        kind=report.kind,
        period=from_period(report.period),
        changes=[_change(each) for each in report.changes],
        exceptions=[_exception(each) for each in report.exceptions],
        chains=[_chain(each) for each in report.chains],
        access=[_access(each) for each in report.access],
    )
    message.evidence_hash = evidence_hash(message)
    message.create_time.CopyFrom(from_instant(report.created_at))
    return message


def evidence_hash(report: model.ComplianceReport) -> str:
    """Returns SHA-256, hexadecimal, over a report without its hash and time: by which to check."""
    content = model.ComplianceReport()
    content.CopyFrom(report)
    content.ClearField("evidence_hash")
    content.ClearField("create_time")
    text = canonical_json(content) or ""
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(record: AuditRecord) -> model.ServiceAuditEntry:
    entry = audit_model_pb2.AuditEntry(
        sequence=record.sequence,
        create_time=from_instant(record.recorded_at),
        actor=record.actor,
        action=record.action,
        resource=record.resource,
        trace_id=record.trace_id,
        entry_hash=record.entry_hash,
    )
    for name, state in (("before", record.before), ("after", record.after)):
        if state is not None:
            structure = Struct()
            structure.update(dict(state))
            getattr(entry, name).CopyFrom(structure)
    return model.ServiceAuditEntry(service=record.service, entry=entry)


def _chain(chain: ChainResult) -> model.AuditChainResult:
    return model.AuditChainResult(
        service=chain.service,
        is_reachable=chain.is_reachable,
        is_intact=chain.is_intact,
        entries=chain.entries,
        first_broken_sequence=chain.first_broken_sequence,
        finding=chain.finding,
        head_hash=chain.head_hash,
    )


def _change(change: ChangeSummary) -> model.ChangeSummary:
    return model.ChangeSummary(
        service=change.service,
        resource_kind=change.resource_kind,
        actor=change.actor,
        change_count=change.change_count,
        resources=change.resources,
        query=change.query,
    )


def _exception(exception: DutyException) -> model.DutyException:
    return model.DutyException(
        rule=exception.rule,
        actor=exception.actor,
        resources=exception.resources,
        entries=exception.entries,
        description=exception.description,
    )


def _access(access: AccessSummary) -> model.AccessSummary:
    return model.AccessSummary(
        actor=access.actor, roles=access.roles, last_use_time=from_optional(access.last_use_at)
    )
