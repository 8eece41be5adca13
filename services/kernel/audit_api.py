"""AuditService, which every service serves over its own log."""

from __future__ import annotations

import json
from typing import Any, Final

import grpc
from finops.audit.v1 import audit_model_pb2, audit_service_pb2, audit_service_pb2_grpc
from google.protobuf.struct_pb2 import Struct

from services.kernel.audit import AuditEntry, AuditVerification, Problem
from services.kernel.audit_log import AuditLog
from services.kernel.caller import current_caller, require_tenant
from services.kernel.listing import page_request
from services.kernel.pagination import Page

LIST_METHOD: Final = "finops.audit.v1.AuditService/ListAuditEntries"
_FINDINGS: Final[dict[Problem, str]] = {
    "": "",
    "missing": "The entry is missing.",
    "unlinked": "The entry does not follow the one before it; one of them was moved or replaced.",
    "changed": "The entry was changed after it was written.",
    "truncated": "The entry and all after it are missing.",
    "beyond_head": "The chain goes on after its recorded end; the end was set back.",
}
_Context = grpc.aio.ServicerContext[Any, Any]


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """Serves AuditService."""

    def __init__(self, *, log: AuditLog) -> None:
        """Takes the service's log."""
        self._log = log

    async def ListAuditEntries(  # noqa: N802 - the contract's name
        self, request: audit_service_pb2.ListAuditEntriesRequest, _: _Context
    ) -> audit_service_pb2.ListAuditEntriesResponse:
        """Lists entries, newest first."""
        tenant_id = require_tenant(current_caller(), request.tenant_id)
        page = page_request(request, tenant_id=tenant_id, method=LIST_METHOD)
        return _from_page(await self._log.list_audit_entries(page))

    async def VerifyAuditChain(  # noqa: N802 - the contract's name
        self, request: audit_service_pb2.VerifyAuditChainRequest, _: _Context
    ) -> audit_service_pb2.VerifyAuditChainResponse:
        """Verifies a tenant's chain."""
        tenant_id = require_tenant(current_caller(), request.tenant_id)
        return _from_verification(await self._log.verify_audit_chain(tenant_id))


def _from_page(page: Page[AuditEntry]) -> audit_service_pb2.ListAuditEntriesResponse:
    return audit_service_pb2.ListAuditEntriesResponse(
        entries=[_from_entry(entry) for entry in page.items],
        next_page_token=page.next_page_token,
    )


def _from_entry(entry: AuditEntry) -> audit_model_pb2.AuditEntry:
    message = audit_model_pb2.AuditEntry(
        sequence=entry.sequence,
        actor=entry.actor,
        action=entry.action,
        resource=entry.resource,
        before=_from_state(entry.before),
        after=_from_state(entry.after),
        trace_id=entry.trace_id,
        entry_hash=entry.hash.hex(),
    )
    message.create_time.FromDatetime(entry.recorded_at)
    return message


def _from_state(text: str | None) -> Struct | None:
    """Returns a state as a structure; what is no object stands under `value`."""
    if text is None:
        return None
    state = json.loads(text)
    structure = Struct()
    structure.update(state if isinstance(state, dict) else {"value": state})
    return structure


def _from_verification(
    found: AuditVerification,
) -> audit_service_pb2.VerifyAuditChainResponse:
    return audit_service_pb2.VerifyAuditChainResponse(
        is_intact=found.first_broken_sequence is None,
        entries=found.entries,
        first_broken_sequence=found.first_broken_sequence or 0,
        finding=_FINDINGS[found.problem],
    )
