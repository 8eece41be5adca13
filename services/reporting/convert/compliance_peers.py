"""Asks services for their audit logs and API keys through their stubs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from finops.audit.v1 import audit_model_pb2, audit_service_pb2, audit_service_pb2_grpc
from finops.usage.v1 import api_key_service_pb2, api_key_service_pb2_grpc
from google.protobuf.json_format import MessageToDict

from services.kernel.client import on_behalf_of
from services.reporting.convert.asking import asking
from services.reporting.convert.instants import to_instant
from services.reporting.domain.compliance import AccessSummary, AuditRecord, ChainResult
from services.reporting.errors import AuditQuestionRefused

ASK_SECONDS: Final = 30.0
VERIFY_SECONDS: Final = 600.0  # a long chain is read from its first entry
PAGE: Final = 1_000


class StubAuditPeer:
    """Another service's log; implements `service.compliance_peers.AuditPeer`."""

    def __init__(self, service: str, channel: grpc.aio.Channel) -> None:
        """channel: to that service, with this service's token on each call."""
        self.service = service
        self._stub = audit_service_pb2_grpc.AuditServiceStub(channel)

    async def entries(
        self, tenant_id: str, *, filter_: str, is_newest_first: bool, limit: int
    ) -> Sequence[AuditRecord]:
        """Reads one page."""
        request = audit_service_pb2.ListAuditEntriesRequest(
            tenant_id=tenant_id,
            page_size=limit,
            filter=filter_,
            order_by="sequence desc" if is_newest_first else "sequence",
        )
        with asking(tenant_id, AuditQuestionRefused):
            answer = await self._stub.ListAuditEntries(request, timeout=ASK_SECONDS)
        return [_record(self.service, entry) for entry in answer.entries]

    async def verify(self, tenant_id: str) -> ChainResult:
        """Has the service verify its chain, and reads the hash of its end."""
        request = audit_service_pb2.VerifyAuditChainRequest(tenant_id=tenant_id)
        with on_behalf_of(tenant_id):
            found = await self._stub.VerifyAuditChain(request, timeout=VERIFY_SECONDS)
        newest = await self.entries(tenant_id, filter_="", is_newest_first=True, limit=1)
        return ChainResult(
            service=self.service,
            is_reachable=True,
            is_intact=found.is_intact,
            entries=found.entries,
            first_broken_sequence=found.first_broken_sequence,
            finding=found.finding,
            head_hash=newest[0].entry_hash if newest else "",
        )


class StubKeyReader:
    """The usage service's API keys; implements `service.compliance_peers.KeyReader`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)

    async def keys(self, tenant_id: str) -> Sequence[AccessSummary]:
        """Reads all pages; keys that were revoked hold no role."""
        request = api_key_service_pb2.ListApiKeysRequest(tenant_id=tenant_id, page_size=PAGE)
        found = []
        with asking(tenant_id, AuditQuestionRefused):
            while True:
                answer = await self._stub.ListApiKeys(request, timeout=ASK_SECONDS)
                found += [
                    AccessSummary(actor=f"api_key:{key.key_id}", roles=tuple(sorted(key.roles)))
                    for key in answer.api_keys
                    if not key.HasField("revoke_time")
                ]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return found


def _record(service: str, entry: audit_model_pb2.AuditEntry) -> AuditRecord:
    return AuditRecord(
        service=service,
        sequence=entry.sequence,
        recorded_at=to_instant(entry.create_time),
        actor=entry.actor,
        action=entry.action,
        resource=entry.resource,
        before=_state(entry, "before"),
        after=_state(entry, "after"),
        trace_id=entry.trace_id,
        entry_hash=entry.entry_hash,
    )


def _state(entry: Any, field: str) -> dict[str, Any] | None:
    return MessageToDict(getattr(entry, field)) if entry.HasField(field) else None
