"""What the tests of audit, privacy and retention share: services with records, and a caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from finops.records.v1 import records_service_pb2_grpc
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import compliance_model_pb2 as model
from finops.reporting.v1 import compliance_service_pb2_grpc
from pydantic import SecretStr

from services.kernel.audit_log import AuditLog
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.kernel.workers import Workers
from services.reporting.api.compliance_wiring import Complying, Peers, build_compliance
from services.reporting.domain.links import Links
from services.reporting.service.downloads import Downloads
from services.reporting.settings import ReportingSettings
from services.reporting.worker import compliance_workers
from tests.reporting.conftest import SECRETS
from tests.reporting.records_shelf import RecordsShelf
from tests.support.server import LocalServer, service_token_of, serving
from tests.support.waiting import eventually

KEYS = {**SECRETS, "encryption_keys": (SecretStr("ab" * 32),)}
ENDS = (
    model.SUBJECT_CASE_STATE_SUCCEEDED,
    model.SUBJECT_CASE_STATE_BLOCKED,
    model.SUBJECT_CASE_STATE_FAILED,
)


@dataclass(frozen=True, slots=True)
class Office:
    """The stubs of a compliance officer, and what stands behind them."""

    compliance: Any
    retention: Any
    server: LocalServer
    complying: Complying
    downloads: Downloads

    async def ended(self, subject_case_id: str) -> model.SubjectCase:
        """Waits for the end of a case and returns it."""
        request = messages.GetSubjectCaseRequest(subject_case_id=subject_case_id)

        async def look() -> model.SubjectCase | None:
            case: model.SubjectCase = (await self.compliance.GetSubjectCase(request)).subject_case
            return case if case.state in ENDS else None

        found = await eventually(look)
        assert found is not None
        return found

    async def erase(self, subject_id: str, **options: Any) -> model.SubjectCase:
        """Has a person erased and waits for the end."""
        request = messages.EraseSubjectRequest(
            subject_id=subject_id, **{"reason": "request 17", **options}
        )
        answer = await self.compliance.EraseSubject(request)
        return await self.ended(answer.subject_case.subject_case_id)


@dataclass(frozen=True, slots=True)
class _Named(Peers):
    named: Mapping[str, grpc.aio.Channel] = field(default_factory=dict)

    def connected(self) -> Mapping[str, grpc.aio.Channel]:
        return self.named


@asynccontextmanager
async def shelf_server(shelf: RecordsShelf, database: Database) -> AsyncIterator[LocalServer]:
    """Serves records; its changes need no audit log."""

    def register(server: grpc.aio.Server) -> None:
        records_service_pb2_grpc.add_RecordsServiceServicer_to_server(shelf, server)

    async with serving(register, database=database, requires_audit=False) as running:
        yield running


@asynccontextmanager
async def office_of(
    database: Database,
    usage: LocalServer,
    services: Mapping[str, LocalServer],
    *,
    tenant: str,
    clock: Clock,
    is_working: bool = True,
) -> AsyncIterator[Office]:
    """Serves compliance over the services named. is_working: whether its jobs are done."""
    credential = service_token_of("reporting", tenant="")
    settings = ReportingSettings(**KEYS)
    channels = {name: server.channel_with(credential) for name, server in services.items()}
    log = AuditLog(database, tokens=PageTokens(settings.page_token_secret))
    # Records and logs are the services' named; keys, zones and the like the real usage service's.
    peers = _Named(usage=usage.channel_with(credential), named=channels)
    complying = build_compliance(database, log, peers, settings, clock=clock, calm_seconds=0.01)
    jobs = compliance_workers(
        database,
        subjects=complying.subjects,
        work=complying.work,
        runs=complying.runs,
        sharing=complying.sharing,
    )
    workers = Workers(jobs if is_working else [])
    workers.start()
    async with serving(*complying.servicers, database=database) as server:
        channel = server.channel("org_admin", tenant=tenant)
        yield Office(
            compliance_service_pb2_grpc.ComplianceServiceStub(channel),
            compliance_service_pb2_grpc.RetentionServiceStub(channel),
            server,
            complying,
            Downloads(database, Links(settings.page_token_secret), clock=clock),
        )
    await workers.stop(5)
