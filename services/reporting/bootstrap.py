"""Wires the reporting service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.reporting.v1 import reporting_service_pb2_grpc, schedule_service_pb2_grpc

from services.kernel import server
from services.kernel.api_keys_remote import RemoteApiKeyDirectory
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.cache import Cache
from services.kernel.client import channel
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.kernel.server import Register
from services.kernel.workers import Worker
from services.reporting.api.anomalies import AnomalyServicer
from services.reporting.api.exports import ExportServicer
from services.reporting.api.forecasts import ForecastServicer
from services.reporting.api.reports import ReportMethods
from services.reporting.api.schedules import ReportScheduleServicer
from services.reporting.convert.chart_peers import chart_peers
from services.reporting.convert.cost_feed import StubCostFeed
from services.reporting.convert.dashboard_feeds import dashboard_sources
from services.reporting.convert.dashboard_peers import StubCostGlance, dashboard_peers
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
from services.reporting.service.schedules import Schedules
from services.reporting.service.schedules_mailing import ReportMailing
from services.reporting.settings import ReportingSettings
from services.reporting.store.anomalies import AnomalyFeed
from services.reporting.worker import dashboard_workers, export_workers, report_workers, workers

SERVICE = "reporting"


@dataclass(frozen=True, slots=True)
class Reporting:
    """Reports and their schedules. making: does the queued ones."""

    methods: ReportMethods
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
class ReportingService:
    """What the service serves, and what runs beside it."""

    servicers: Sequence[Register]
    workers: Sequence[Worker]
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
    cache: Cache | None = None,
) -> ReportingService:
    """Makes the use cases, the servicers over them and the workers.

    usage, budget, optimizer, billing: those services; None where one is not connected, as with the
    cache.
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
    detection = Detection(database, reader, feed, clock=clock)
    found = Anomalies(database, reader, feed, tokens=tokens, clock=clock)
    anomalies = AnomalyServicer(anomalies=found)
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
    audit = AuditServicer(log=AuditLog(database, tokens=tokens))
    return ReportingService(
        servicers=[
            partial(reporting_service_pb2_grpc.add_ForecastServiceServicer_to_server, servicer),
            partial(reporting_service_pb2_grpc.add_AnomalyServiceServicer_to_server, anomalies),
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
            *reporting.workers,
            *exporting.workers,
            *dashboard_workers(database, dashboards, dashboard_sources(usage, budget, optimizer)),
            *workers(
                database,
                forecasts=forecasts,
                forecast_retention=timedelta(days=settings.forecast_retention_days),
                detection=detection,
                pages=StubCostFeed(usage).pages,
                feed=feed,
                feed_retention=timedelta(days=settings.feed_retention_days),
            ),
        ],
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
        methods=ReportMethods(reports),
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
    budget = channel("budget", settings, service=SERVICE) if "budget" in settings.peers else None
    optimizer = (
        channel("optimizer", settings, service=SERVICE) if "optimizer" in settings.peers else None
    )
    billing = channel("billing", settings, service=SERVICE) if "billing" in settings.peers else None
    cache = Cache.connect(settings.redis_url, service=SERVICE)
    built = build(
        database,
        usage,
        budget,
        settings,
        clock=clock or SystemClock(),
        optimizer=optimizer,
        billing=billing,
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
            *(peer.close for peer in (budget, optimizer, billing) if peer is not None),
        ],
    )
