"""Wires the optimizer: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.optimizer.v1 import (
    optimizer_service_pb2_grpc,
    resource_service_pb2_grpc,
    run_service_pb2_grpc,
)

from services.kernel import server
from services.kernel.api_keys_remote import RemoteApiKeyDirectory
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.client import channel
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.exchange import ExchangeRates
from services.kernel.feed import EncodedFeed
from services.kernel.pagination import PageTokens
from services.kernel.records_defaults import serve_records
from services.kernel.server import Register
from services.kernel.workers import Worker
from services.optimizer.api.optimizer import OptimizerServicer
from services.optimizer.api.resources import ResourceServicer
from services.optimizer.api.runs import OptimizationRunServicer
from services.optimizer.convert.cost_changes import cost_changes
from services.optimizer.convert.usage_reader import StubUsageReader
from services.optimizer.service.carbon import Carbon
from services.optimizer.service.cataloguing import Catalogues
from services.optimizer.service.detailing import Details
from services.optimizer.service.detecting import Detectors
from services.optimizer.service.following import Following
from services.optimizer.service.generating import Generation
from services.optimizer.service.measuring import Measuring
from services.optimizer.service.recommending import Recommendations
from services.optimizer.service.resources import Resources
from services.optimizer.service.runs import Runs
from services.optimizer.service.saving import SavingQueries
from services.optimizer.service.statistics import StatisticsLoader
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.settings import OptimizerSettings
from services.optimizer.store.recommendations import FEED_TABLE
from services.optimizer.store.records import RECORDS
from services.optimizer.worker import workers

SERVICE = "optimizer"


@dataclass(frozen=True, slots=True)
class OptimizerService:
    """What the service serves, and what runs beside it."""

    servicers: Sequence[Register]
    workers: Sequence[Worker]


def build(
    database: Database, usage: grpc.aio.Channel, settings: OptimizerSettings, *, clock: Clock
) -> OptimizerService:
    """Makes the use cases, the servicers over them and the workers. usage: that service."""
    tokens = PageTokens(settings.page_token_secret)
    rates = ExchangeRates(settings.exchange_rates_file)
    feed = EncodedFeed(database, table=FEED_TABLE)
    reader = StubUsageReader(usage)
    profiles = TenantProfiles(database, reader, clock=clock)
    loader = StatisticsLoader(database, reader, profiles, rates=rates)
    details = Details(database, reader)
    generation = Generation(database, loader, details, feed=feed, clock=clock)
    runs = Runs(database, generation, profiles, tokens=tokens, clock=clock)
    recommendations = Recommendations(
        database, profiles, feed=feed, rates=rates, tokens=tokens, clock=clock
    )
    measuring = Measuring(database, reader, profiles, feed=feed, tokens=tokens, clock=clock)
    savings = SavingQueries(database, profiles, recommendations, loader, rates=rates, clock=clock)
    optimizer = OptimizerServicer(
        runs=runs, recommendations=recommendations, savings=savings, measuring=measuring
    )
    resource = ResourceServicer(
        resources=Resources(database, profiles, loader, tokens=tokens),
        carbon=Carbon(profiles, loader, rates=rates),
        catalogues=Catalogues(database, feed=feed, tokens=tokens, clock=clock),
    )
    run = OptimizationRunServicer(runs=runs, detectors=Detectors(database, profiles, tokens=tokens))
    audit = AuditServicer(log=AuditLog(database, tokens=tokens))
    envelope = Envelope(settings.encryption_keys)
    records = serve_records(database, RECORDS, envelope, tokens=tokens, clock=clock)
    following = Following(database, clock=clock)
    return OptimizerService(
        servicers=[
            partial(optimizer_service_pb2_grpc.add_OptimizerServiceServicer_to_server, optimizer),
            partial(resource_service_pb2_grpc.add_ResourceServiceServicer_to_server, resource),
            partial(run_service_pb2_grpc.add_OptimizationRunServiceServicer_to_server, run),
            partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
            records.servicer,
        ],
        workers=[
            *records.workers,
            *workers(
                database,
                follow=partial(following.run, cost_changes(usage)),
                details=details,
                optimization=runs,
                measuring=measuring,
                feed=feed,
                feed_retention=timedelta(days=settings.feed_retention_days),
                statistics_days=settings.statistics_days,
                clock=clock,
            ),
        ],
    )


async def serve(settings: OptimizerSettings, *, clock: Clock | None = None) -> None:
    """Serves until it is told to stop. clock: a test's own."""
    database = Database.connect(
        settings.database_url,
        service=SERVICE,
        read_url=settings.read_database_url,
        worker_url=settings.worker_database_url,
    )
    usage = channel("usage", settings, service=SERVICE)
    built = build(database, usage, settings, clock=clock or SystemClock())
    await server.serve(
        name=SERVICE,
        settings=settings,
        servicers=built.servicers,
        database=database,
        api_keys=RemoteApiKeyDirectory(usage),
        workers=built.workers,
        closing=[usage.close],
    )
