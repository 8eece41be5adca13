"""Wires the billing service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc

from services.billing.service.journal import BillingFeed
from services.billing.settings import BillingSettings
from services.billing.worker import workers
from services.kernel import server
from services.kernel.api_keys_remote import RemoteApiKeyDirectory
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.client import channel
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.kernel.server import Register
from services.kernel.workers import Worker

SERVICE = "billing"


@dataclass(frozen=True, slots=True)
class BillingService:
    """What the service serves, and what runs beside it."""

    servicers: Sequence[Register]
    workers: Sequence[Worker]


@dataclass(frozen=True, slots=True)
class Peers:
    """Channels to the services that billing calls."""

    usage: grpc.aio.Channel
    budget: grpc.aio.Channel


def build(
    database: Database, peers: Peers, settings: BillingSettings, *, clock: Clock
) -> BillingService:
    """Makes the use cases, the servicers over them and the workers."""
    tokens = PageTokens(settings.page_token_secret)
    feed = BillingFeed(database)
    audit = AuditServicer(log=AuditLog(database, tokens=tokens))
    return BillingService(
        servicers=[
            partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
        ],
        workers=workers(
            database, feed=feed, feed_retention=timedelta(days=settings.feed_retention_days)
        ),
    )


async def serve(settings: BillingSettings, *, clock: Clock | None = None) -> None:
    """Serves until it is told to stop. clock: a test's own."""
    database = Database.connect(
        settings.database_url,
        service=SERVICE,
        read_url=settings.read_database_url,
        worker_url=settings.worker_database_url,
    )
    usage = channel("usage", settings, service=SERVICE)
    budget = channel("budget", settings, service=SERVICE)
    built = build(database, Peers(usage, budget), settings, clock=clock or SystemClock())
    await server.serve(
        name=SERVICE,
        settings=settings,
        servicers=built.servicers,
        database=database,
        api_keys=RemoteApiKeyDirectory(usage),
        workers=built.workers,
        closing=[usage.close, budget.close],
    )
