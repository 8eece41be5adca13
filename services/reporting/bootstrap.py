"""Wires the reporting service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.reporting.v1 import (
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
from services.kernel.records_defaults import serve_records
from services.kernel.server import Register
from services.kernel.workers import Worker
from services.reporting.api.anomaly_wiring import Watching, build_anomalies
from services.reporting.api.compliance_wiring import Complying, Peers, build_compliance
from services.reporting.api.dashboard_wiring import build_dashboards
from services.reporting.api.exports import ExportServicer
from services.reporting.api.forecasts import ForecastServicer
from services.reporting.api.reporting import ReportingServicer
from services.reporting.api.schedules import ReportScheduleServicer
from services.reporting.convert.chart_peers import chart_peers
from services.reporting.convert.cost_feed import cost_changes
from services.reporting.convert.dashboard_feeds import dashboard_sources
from services.reporting.convert.export_lists import ExportPeers
from services.reporting.convert.export_peers import StubUsageEntries
from services.reporting.convert.notifications import BudgetNotifier
from services.reporting.convert.optimizer_peer import StubOptimizerReader
from services.reporting.convert.peers import StubBudgetReader, StubUsageReader
from services.reporting.domain.exports import Dataset
from services.reporting.domain.links import Links
from services.reporting.service.anomalies import Anomalies
from services.reporting.service.chart_drawing import Drawing
from services.reporting.service.charting import Charting
from services.reporting.service.charts import Charts
from services.reporting.service.dashboards import KIND as DASHBOARD_CACHE
from services.reporting.service.dashboards import Dashboards
from services.reporting.service.detecting import Detection
from services.reporting.service.downloads import Downloads
from services.reporting.service.exports.anomaly_rows import AnomalyRows
from services.reporting.service.exports.exporting import Exports, ExportSources
from services.reporting.service.exports.jobs import ExportJobs
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.judging import Judgements
from services.reporting.service.reports import Reports
from services.reporting.service.reports_making import ReportMaking
from services.reporting.service.reports_sources import ReportPeers
from services.reporting.service.schedules import Schedules
from services.reporting.service.schedules_mailing import ReportMailing
from services.reporting.settings import ReportingSettings
from services.reporting.store.records import RECORDS
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
class Parts:
    """The use cases, each over those before it."""

    forecasts: Forecasts
    judgements: Judgements
    watching: Watching
    dashboards: Dashboards
    reporting: Reporting
    exporting: Exporting
    charting: Charting
    drawing: Drawing


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
    cache = cache or Cache.connect(None, service=SERVICE)
    peers = Peers(usage, budget, billing, optimizer, own)
    parts = build_parts(database, peers, cache, settings, clock=clock)
    log = AuditLog(database, tokens=PageTokens(settings.page_token_secret))
    complying = build_compliance(database, log, peers, settings, clock=clock)
    records = serve_records(
        database,
        replace(RECORDS, forget=partial(cache.invalidate, DASHBOARD_CACHE)),
        Envelope(settings.encryption_keys),
        tokens=PageTokens(settings.page_token_secret),
        clock=clock,
    )
    return ReportingService(
        servicers=[*servicers_of(parts, log), *complying.servicers, records.servicer],
        workers=[
            *records.workers,
            *compliance_workers(
                database,
                subjects=complying.subjects,
                work=complying.work,
                runs=complying.runs,
                sharing=complying.sharing,
            ),
            *workers_of(parts, database, peers, settings),
        ],
        complying=complying,
        forecasts=parts.forecasts,
        detection=parts.watching.detection,
        dashboards=parts.dashboards,
        reporting=parts.reporting,
        exporting=parts.exporting,
        charting=parts.charting,
        drawing=parts.drawing,
    )


def build_parts(
    database: Database, peers: Peers, cache: Cache, settings: ReportingSettings, *, clock: Clock
) -> Parts:
    """Makes the use cases."""
    usage, budget, optimizer = peers.usage, peers.budget, peers.optimizer
    reader = StubUsageReader(usage)
    budgets = StubBudgetReader(budget) if budget is not None else None
    savings = StubOptimizerReader(optimizer) if optimizer is not None else None
    tokens = PageTokens(settings.page_token_secret)
    forecasts = Forecasts(database, reader, budgets, clock=clock)
    judgements = Judgements(database, reader, clock=clock)
    watching = build_anomalies(database, usage, budget, settings, clock=clock)
    drawing = Drawing()
    charts = Charts(drawing)
    report_peers = ReportPeers(
        database=database,
        usage=reader,
        budgets=budgets,
        optimizer=savings,
        forecasts=forecasts,
        judgements=judgements,
    )
    return Parts(
        forecasts=forecasts,
        judgements=judgements,
        watching=watching,
        dashboards=build_dashboards(
            database,
            cache,
            usage,
            budget,
            optimizer,
            forecasts=forecasts,
            judgements=judgements,
            clock=clock,
        ),
        reporting=build_reports(
            report_peers, charts, budget, settings=settings, tokens=tokens, clock=clock
        ),
        exporting=build_exports(
            database,
            reader,
            watching.anomalies,
            ExportPeers(usage, budget, peers.billing, optimizer),
            settings,
            tokens=tokens,
            clock=clock,
        ),
        charting=Charting(
            charts, chart_peers(reader, budget, optimizer), forecasts, tokens=tokens, clock=clock
        ),
        drawing=drawing,
    )


def servicers_of(parts: Parts, log: AuditLog) -> Sequence[Register]:
    """Returns what is served of the use cases."""
    whole = ReportingServicer(
        dashboards=parts.dashboards,
        charting=parts.charting,
        reports=parts.reporting.reports,
        exports=parts.exporting.at_once,
    )
    forecasts = ForecastServicer(forecasts=parts.forecasts, judgements=parts.judgements)
    audit = AuditServicer(log=log)
    reports, exports = parts.reporting.servicer, parts.exporting.servicer
    return [
        partial(reporting_service_pb2_grpc.add_ReportingServiceServicer_to_server, whole),
        partial(reporting_service_pb2_grpc.add_ForecastServiceServicer_to_server, forecasts),
        *parts.watching.servicers,
        partial(schedule_service_pb2_grpc.add_ReportScheduleServiceServicer_to_server, reports),
        partial(schedule_service_pb2_grpc.add_ExportServiceServicer_to_server, exports),
        partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
    ]


def workers_of(
    parts: Parts, database: Database, peers: Peers, settings: ReportingSettings
) -> Sequence[Worker]:
    """Returns what runs beside the calls."""
    watching = parts.watching
    feeds = dashboard_sources(peers.usage, peers.budget, peers.optimizer)
    return [
        *parts.reporting.workers,
        *parts.exporting.workers,
        *dashboard_workers(database, parts.dashboards, watching.detection.feed, feeds),
        *workers(
            database,
            forecasts=parts.forecasts,
            forecast_retention=timedelta(days=settings.forecast_retention_days),
            detection=watching.detection,
            notices=watching.notices,
            pages=cost_changes(peers.usage),
            feed=watching.detection.feed,
            feed_retention=timedelta(days=settings.feed_retention_days),
        ),
    ]


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
    jobs = ExportJobs(database, exports, usage, tokens=tokens, clock=clock, retention=retention)
    return Exporting(
        at_once=exports,
        servicer=ExportServicer(
            jobs=jobs, downloads=Downloads(database, links, clock=clock), links=links
        ),
        jobs=jobs,
        workers=export_workers(database, jobs),
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
    mailing = ReportMailing(
        database,
        notifier,
        links=Links(settings.page_token_secret),
        public_url=settings.public_url,
        clock=clock,
    )
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
        envelope=Envelope(settings.encryption_keys),
        closing=[
            built.drawing.close,
            cache.close,
            usage.close,
            *(peer.close for peer in (budget, optimizer, billing, own) if peer is not None),
        ],
    )
