"""Wires audit, privacy and retention: a part of the bootstrap, which is one readable list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.reporting.v1 import compliance_service_pb2_grpc

from services.kernel.audit_log import AuditLog
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.pagination import PageTokens
from services.kernel.server import Register
from services.reporting.api.compliance import ComplianceServicer
from services.reporting.api.retention import RetentionServicer
from services.reporting.convert.compliance_peers import StubAuditPeer, StubKeyReader
from services.reporting.convert.peers import StubUsageReader
from services.reporting.convert.subject_peers import StubPersonReader, StubRecordsPeer
from services.reporting.domain.links import Links
from services.reporting.service.compliance import Compliance
from services.reporting.service.compliance_peers import OwnAudit
from services.reporting.service.retention import Retention
from services.reporting.service.retention_collections import Collections
from services.reporting.service.retention_holds import HoldSharing
from services.reporting.service.retention_runs import RetentionRuns
from services.reporting.service.subjects import Subjects
from services.reporting.service.subjects_work import CALM_SECONDS, SubjectWork
from services.reporting.settings import ReportingSettings

OWN = "reporting"


@dataclass(frozen=True, slots=True)
class Peers:
    """The services whose records and logs are asked for; None where one is not connected.

    own: this service itself, whose records persons ask for as well.
    """

    usage: grpc.aio.Channel
    budget: grpc.aio.Channel | None = None
    billing: grpc.aio.Channel | None = None
    optimizer: grpc.aio.Channel | None = None
    own: grpc.aio.Channel | None = None

    def connected(self) -> Mapping[str, grpc.aio.Channel]:
        """Returns them in the order in which persons are erased: whom others copy from first."""
        services = {
            "usage": self.usage,
            "budget": self.budget,
            "billing": self.billing,
            "optimizer": self.optimizer,
            OWN: self.own,
        }
        return {name: channel for name, channel in services.items() if channel is not None}


@dataclass(frozen=True, slots=True)
class Complying:
    """Audit, privacy and retention. work, runs, sharing: do what is queued."""

    servicers: Sequence[Register]
    subjects: Subjects
    work: SubjectWork
    runs: RetentionRuns
    sharing: HoldSharing


def build_compliance(
    database: Database,
    log: AuditLog,
    peers: Peers,
    settings: ReportingSettings,
    *,
    clock: Clock,
    calm_seconds: float = CALM_SECONDS,
) -> Complying:
    """Makes the use cases and the servicers. calm_seconds: as SubjectWork takes it."""
    tokens, services = PageTokens(settings.page_token_secret), peers.connected()
    records = [StubRecordsPeer(name, channel) for name, channel in services.items()]
    audits = [StubAuditPeer(name, channel) for name, channel in services.items() if name != OWN]
    compliance = Compliance(
        [*audits, OwnAudit(OWN, log)],
        StubKeyReader(peers.usage),
        StubUsageReader(peers.usage),
        tokens=tokens,
        clock=clock,
    )
    envelope = Envelope(settings.encryption_keys)
    kept = timedelta(days=settings.subject_export_retention_days)
    subjects = Subjects(
        database,
        envelope,
        list(services),
        StubPersonReader(peers.usage),
        tokens=tokens,
        kept=kept,
        clock=clock,
    )
    work = SubjectWork(database, envelope, records, clock=clock, calm_seconds=calm_seconds)
    collections = Collections(records)
    sharing = HoldSharing(database, collections, records)
    retention = Retention(database, collections, subjects, sharing, tokens=tokens, clock=clock)
    runs = RetentionRuns(database, collections, records, tokens=tokens, clock=clock)
    links = Links(settings.page_token_secret)
    serving = ComplianceServicer(compliance=compliance, subjects=subjects, links=links)
    keeping = RetentionServicer(retention=retention, runs=runs)
    return Complying(
        servicers=[
            partial(compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server, serving),
            partial(compliance_service_pb2_grpc.add_RetentionServiceServicer_to_server, keeping),
        ],
        subjects=subjects,
        work=work,
        runs=runs,
        sharing=sharing,
    )
