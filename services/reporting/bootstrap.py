"""Wires the reporting service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.reporting.v1 import (
    anomaly_service_pb2_grpc,
    compliance_service_pb2_grpc,
    reporting_service_pb2_grpc,
    schedule_service_pb2_grpc,
)

from services.kernel import server
from services.kernel.api_keys_remote import RemoteApiKeyDirectory
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.cache import Cache
from services.kernel.client import channel
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.pagination import PageTokens
from services.kernel.server import Register
from services.kernel.workers import Worker
from services.reporting.api.anomalies import AnomalyServicer
from services.reporting.api.anomaly_settings import AnomalySettingsServicer
from services.reporting.api.compliance import ComplianceServicer
from services.reporting.api.exports import ExportServicer
from services.reporting.api.forecasts import ForecastServicer
from services.reporting.api.reporting import ReportingServicer
from services.reporting.api.retention import RetentionServicer
from services.reporting.api.schedules import ReportScheduleServicer
from services.reporting.convert.anomaly_events_peer import StubUsageEvents
from services.reporting.convert.chart_peers import chart_peers
from services.reporting.convert.compliance_peers import StubAuditPeer, StubKeyReader
from services.reporting.convert.cost_feed import StubCostFeed
from services.reporting.convert.dashboard_feeds import dashboard_sources
from services.reporting.convert.dashboard_peers import StubCostGlance, dashboard_peers
from services.reporting.convert.export_lists import ExportPeers
from services.reporting.convert.export_peers import StubUsageEntries
from services.reporting.convert.notifications import BudgetNotifier
from services.reporting.convert.optimizer_peer import StubOptimizerReader
from services.reporting.convert.peers import StubBudgetReader, StubUsageReader
from services.reporting.convert.subject_peers import StubRecordsPeer
from services.reporting.domain.exports import Dataset
from services.reporting.domain.links import Links
from services.reporting.service.anomalies import Anomalies
from services.reporting.service.anomaly_events import AnomalyEvents
from services.reporting.service.anomaly_notices import AnomalyNotices
from services.reporting.service.anomaly_settings import AnomalyRules
from services.reporting.service.chart_drawing import Drawing
from services.reporting.service.charting import Charting
from services.reporting.service.charts import Charts
from services.reporting.service.compliance import Compliance
from services.reporting.service.compliance_peers import OwnAudit
from services.reporting.service.dashboard_costs import DashboardCosts
from services.reporting.service.dashboard_parts import DashboardParts
from services.reporting.service.dashboards import Dashboards
from services.reporting.service.detecting import Detection
from services.reporting.service.exports.anomaly_rows import AnomalyRows
from services.reporting.service.exports.exporting import Exports, ExportSources
from services.reporting.service.exports.jobs import ExportJobs
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.judging import Judgements
from services.reporting.service.reports import Reports
from services.reporting.service.reports_making import ReportMaking
from services.reporting.service.reports_sources import ReportPeers
from services.reporting.service.retention import Collections, Retention
from services.reporting.service.retention_runs import RetentionRuns
from services.reporting.service.schedules import Schedules
from services.reporting.service.schedules_mailing import ReportMailing
from services.reporting.service.subjects import Subjects
from services.reporting.service.subjects_work import CALM_SECONDS, SubjectWork
from services.reporting.settings import ReportingSettings
from services.reporting.store.anomalies import AnomalyFeed
from services.reporting.worker import (
    compliance_workers,
    dashboard_workers,
    export_workers,
    report_workers,
    workers,
)

SERVICE = "reporting"


@dataclass(frozen=True, slots=True)
class Reporting:
    """Reports and their schedules. making: makes what is queued; mailing: sends it."""

    peers: ReportPeers
    reports: Reports
    servicer: ReportScheduleServicer
    making: ReportMaking
    mailing: ReportMailing
    schedules: Schedules
    workers: Sequence[Worker]


@dataclass(frozen=True, slots=True)
class Exporting:
    """Exports, at once and as work. at_once: the use case behind ReportingService.Export."""

    at_once: Exports
    servicer: ExportServicer
    jobs: ExportJobs
    workers: Sequence[Worker]


@dataclass(frozen=True, slots=True)
class Complying:
    """Audit, privacy and retention. work, runs: do what is queued."""

    servicers: Sequence[Register]
    subjects: Subjects
    work: SubjectWork
    runs: RetentionRuns
    workers: Sequence[Worker]


@dataclass(frozen=True, slots=True)
class ReportingService:
    """What the service serves, and what runs beside it."""

    servicers: Sequence[Register]
    workers: Sequence[Worker]
    complying: Complying
    forecasts: Forecasts
    detection: Detection
    dashboards: Dashboards
    reporting: Reporting
    exporting: Exporting
    charting: Charting
    drawing: Drawing


def build(
    database: Database,
    usage: grpc.aio.Channel,
    budget: grpc.aio.Channel | None,
    settings: ReportingSettings,
    *,
    clock: Clock,
    optimizer: grpc.aio.Channel | None = None,
    billing: grpc.aio.Channel | None = None,
    own: grpc.aio.Channel | None = None,
    cache: Cache | None = None,
) -> ReportingService:
    """Makes the use cases, the servicers over them and the workers.

    usage, budget, optimizer, billing: those services; None where one is not connected, as with the
    cache. own: to this service itself, whose records persons ask for as well.
    """
    reader = StubUsageReader(usage)
    budgets = StubBudgetReader(budget) if budget is not None else None
    tokens = PageTokens(settings.page_token_secret)
    forecasts = Forecasts(database, reader, budgets, clock=clock)
    judgements = Judgements(database, reader, clock=clock)
    servicer = ForecastServicer(forecasts=forecasts, judgements=judgements)
    parts = DashboardParts(
        database,
        DashboardCosts(reader, StubCostGlance(usage)),
        forecasts,
        judgements,
        dashboard_peers(budget, optimizer),
        clock=clock,
    )
    cache = cache or Cache.connect(None, service=SERVICE)
    dashboards = Dashboards(database, cache, parts, reader, clock=clock)
    feed = AnomalyFeed(database)
    notifier = BudgetNotifier(budget) if budget is not None else None
    notices = AnomalyNotices(database, notifier, public_url=settings.public_url)
    detection = Detection(database, reader, feed, news=notices.queue, clock=clock)
    found = Anomalies(database, reader, feed, tokens=tokens, clock=clock)
    anomalies = AnomalyServicer(anomalies=found)
    rules = AnomalyRules(
        database, reader, feed, can_send=budget is not None, tokens=tokens, clock=clock
    )
    events = AnomalyEvents(database, StubUsageEvents(usage), tokens=tokens)
    anomaly_settings = AnomalySettingsServicer(rules=rules, events=events)
    peers_of_exports = ExportPeers(usage, budget, billing, optimizer)
    exporting = build_exports(
        database, reader, found, peers_of_exports, settings, tokens=tokens, clock=clock
    )
    peers = ReportPeers(
        database=database,
        usage=reader,
        budgets=budgets,
        optimizer=StubOptimizerReader(optimizer) if optimizer is not None else None,
        forecasts=forecasts,
        judgements=judgements,
    )
    drawing = Drawing()
    charts = Charts(drawing)
    charting = Charting(
        charts, chart_peers(reader, budget, optimizer), forecasts, tokens=tokens, clock=clock
    )
    reporting = build_reports(peers, charts, budget, settings=settings, tokens=tokens, clock=clock)
    log = AuditLog(database, tokens=tokens)
    # The order in which persons are erased: what others copy from comes first.
    services = {
        "usage": usage,
        "budget": budget,
        "billing": billing,
        "optimizer": optimizer,
        SERVICE: own,
    }
    connected = {name: peer for name, peer in services.items() if peer is not None}
    complying = build_compliance(
        database, reader, log, connected, settings, tokens=tokens, clock=clock, keys=usage
    )
    audit = AuditServicer(log=log)
    whole = ReportingServicer(
        dashboards=dashboards,
        charting=charting,
        reports=reporting.reports,
        exports=exporting.at_once,
    )
    return ReportingService(
        servicers=[
            partial(reporting_service_pb2_grpc.add_ReportingServiceServicer_to_server, whole),
            *complying.servicers,
            partial(reporting_service_pb2_grpc.add_ForecastServiceServicer_to_server, servicer),
            partial(reporting_service_pb2_grpc.add_AnomalyServiceServicer_to_server, anomalies),
            partial(
                anomaly_service_pb2_grpc.add_AnomalySettingsServiceServicer_to_server,
                anomaly_settings,
            ),
            partial(
                schedule_service_pb2_grpc.add_ReportScheduleServiceServicer_to_server,
                reporting.servicer,
            ),
            partial(
                schedule_service_pb2_grpc.add_ExportServiceServicer_to_server, exporting.servicer
            ),
            partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
        ],
        workers=[
            *complying.workers,
            *reporting.workers,
            *exporting.workers,
            *dashboard_workers(
                database, dashboards, feed, dashboard_sources(usage, budget, optimizer)
            ),
            *workers(
                database,
                forecasts=forecasts,
                forecast_retention=timedelta(days=settings.forecast_retention_days),
                detection=detection,
                notices=notices,
                pages=StubCostFeed(usage).pages,
                feed=feed,
                feed_retention=timedelta(days=settings.feed_retention_days),
            ),
        ],
        complying=complying,
        forecasts=forecasts,
        detection=detection,
        dashboards=dashboards,
        reporting=reporting,
        exporting=exporting,
        charting=charting,
        drawing=drawing,
    )


def build_exports(
    database: Database,
    usage: StubUsageReader,
    anomalies: Anomalies,
    peers: ExportPeers,
    settings: ReportingSettings,
    *,
    tokens: PageTokens,
    clock: Clock,
) -> Exporting:
    """Makes exports, at once and as work."""
    sources = ExportSources(
        entries=StubUsageEntries(peers.usage),
        rows={**peers.rows(), Dataset.ANOMALIES: AnomalyRows(anomalies)},
    )
    exports = Exports(usage, sources, clock=clock)
    links = Links(settings.page_token_secret)
    retention = timedelta(days=settings.export_retention_days)
    jobs = ExportJobs(
        database, exports, usage, links=links, tokens=tokens, clock=clock, retention=retention
    )
    return Exporting(
        at_once=exports,
        servicer=ExportServicer(jobs=jobs, links=links),
        jobs=jobs,
        workers=export_workers(database, jobs),
    )


def build_compliance(
    database: Database,
    usage: StubUsageReader,
    log: AuditLog,
    services: Mapping[str, grpc.aio.Channel],
    settings: ReportingSettings,
    *,
    tokens: PageTokens,
    clock: Clock,
    keys: grpc.aio.Channel,
    calm_seconds: float = CALM_SECONDS,
) -> Complying:
    """Makes audit, privacy and retention over the services, in their order of erasure.

    keys: to the service that has the API keys. calm_seconds: as SubjectWork takes it.
    """
    audits = [StubAuditPeer(name, peer) for name, peer in services.items() if name != SERVICE]
    records = [StubRecordsPeer(name, peer) for name, peer in services.items()]
    envelope = Envelope(settings.encryption_keys)
    kept = timedelta(days=settings.subject_export_retention_days)
    compliance = Compliance(
        [*audits, OwnAudit(SERVICE, log)],
        StubKeyReader(keys),
        usage,
        tokens=tokens,
        clock=clock,
    )
    subjects = Subjects(database, envelope, list(services), tokens=tokens, kept=kept, clock=clock)
    work = SubjectWork(database, envelope, records, clock=clock, calm_seconds=calm_seconds)
    collections = Collections(records)
    retention = Retention(database, collections, subjects, tokens=tokens, clock=clock)
    runs = RetentionRuns(database, collections, records, tokens=tokens, clock=clock)
    serving = ComplianceServicer(compliance=compliance, subjects=subjects)
    keeping = RetentionServicer(retention=retention, runs=runs)
    return Complying(
        servicers=[
            partial(compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server, serving),
            partial(compliance_service_pb2_grpc.add_RetentionServiceServicer_to_server, keeping),
        ],
        subjects=subjects,
        work=work,
        runs=runs,
        workers=compliance_workers(database, subjects=subjects, work=work, runs=runs),
    )


def build_reports(
    peers: ReportPeers,
    charts: Charts,
    budget: grpc.aio.Channel | None,
    *,
    settings: ReportingSettings,
    tokens: PageTokens,
    clock: Clock,
) -> Reporting:
    """Makes reports and their schedules. budget: that service, which sends them; None without."""
    database, usage = peers.database, peers.usage
    kept = timedelta(days=settings.report_retention_days)
    reports = Reports(database, usage, tokens=tokens, kept=kept, clock=clock)
    notifier = BudgetNotifier(budget) if budget is not None else None
    mailing = ReportMailing(database, notifier, public_url=settings.public_url)
    making = ReportMaking(
        peers,
        charts,
        ended=mailing.queue,
        public_url=settings.public_url,
        clock=clock,
    )
    schedules = Schedules(
        database, usage, reports, can_send=notifier is not None, tokens=tokens, clock=clock
    )
    return Reporting(
        peers=peers,
        reports=reports,
        servicer=ReportScheduleServicer(schedules),
        making=making,
        mailing=mailing,
        schedules=schedules,
        workers=report_workers(
            database, reports=reports, making=making, schedules=schedules, mailing=mailing
        ),
    )


async def serve(settings: ReportingSettings, *, clock: Clock | None = None) -> None:
    """Serves until it is told to stop. clock: a test's own."""
    database = Database.connect(
        settings.database_url,
        service=SERVICE,
        read_url=settings.read_database_url,
        worker_url=settings.worker_database_url,
    )
    usage = channel("usage", settings, service=SERVICE)
    # Budgets make a forecast richer, and both a dashboard; without them it is still one.
    budget, optimizer, billing, own = (
        channel(name, settings, service=SERVICE) if name in settings.peers else None
        for name in ("budget", "optimizer", "billing", SERVICE)
    )
    cache = Cache.connect(settings.redis_url, service=SERVICE)
    built = build(
        database,
        usage,
        budget,
        settings,
        clock=clock or SystemClock(),
        optimizer=optimizer,
        billing=billing,
        own=own,
        cache=cache,
    )
    await server.serve(
        name=SERVICE,
        settings=settings,
        servicers=built.servicers,
        database=database,
        api_keys=RemoteApiKeyDirectory(usage),
        workers=built.workers,
        closing=[
            built.drawing.close,
            cache.close,
            usage.close,
            *(peer.close for peer in (budget, optimizer, billing, own) if peer is not None),
        ],
    )
