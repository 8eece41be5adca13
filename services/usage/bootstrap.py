"""Wires the usage service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from finops.audit.v1 import audit_service_pb2_grpc
from finops.usage.v1 import (
    allocation_service_pb2_grpc,
    api_key_service_pb2_grpc,
    directory_service_pb2_grpc,
    pricing_service_pb2_grpc,
    read_service_pb2_grpc,
    usage_service_pb2_grpc,
)

from services.kernel import server
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.cache import Cache
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.exchange import ExchangeRates
from services.kernel.pagination import PageTokens
from services.kernel.records import Forget
from services.kernel.records_defaults import serve_records
from services.kernel.server import Register
from services.kernel.workers import Worker
from services.usage.api.allocation import AllocationServicer
from services.usage.api.api_keys import ApiKeyServicer
from services.usage.api.directory import DirectoryServicer
from services.usage.api.pricing import PricingServicer
from services.usage.api.reading import UsageReadServicer
from services.usage.api.usage import UsageServicer
from services.usage.service.allocation import AllocationRules
from services.usage.service.amending import Amendments
from services.usage.service.analyzing import Analyses
from services.usage.service.api_keys import ApiKeys, OwnApiKeyDirectory
from services.usage.service.archived_persons import ArchivedPersons
from services.usage.service.archiving import Archive
from services.usage.service.costs import CostQueries
from services.usage.service.directory import Departments, Tenants, Users
from services.usage.service.events import StoredEvents
from services.usage.service.following import CostFollowing
from services.usage.service.importing import Imports
from services.usage.service.price_loading import PriceLoading
from services.usage.service.pricing import Pricing
from services.usage.service.reading import BulkReading
from services.usage.service.reconciling import Reconciler
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed, CostWatch
from services.usage.settings import UsageSettings
from services.usage.store.records import records_of
from services.usage.worker import workers

SERVICE = "usage"


@dataclass(frozen=True, slots=True)
class UsageService:
    """What the service serves, and what runs beside it. prices: loads the public ones."""

    servicers: Sequence[Register]
    workers: Sequence[Worker]
    prices: PriceLoading


def build(
    database: Database, cache: Cache, settings: UsageSettings, *, clock: Clock
) -> UsageService:
    """Makes the use cases, the servicers over them and the workers."""
    tokens = PageTokens(settings.page_token_secret)
    envelope = Envelope(settings.encryption_keys)
    contexts = TenantContexts(database, envelope)
    feed = CostFeed(database)
    recorder = Recorder(database, contexts, feed)
    imports = Imports(database, recorder, tokens=tokens, clock=clock)
    reconciler = Reconciler(database, contexts)
    archive = Archive(
        database,
        contexts,
        folder=settings.archive_dir,
        retention_months=settings.raw_retention_months,
        clock=clock,
    )
    rates = ExchangeRates(settings.exchange_rates_file)
    costs = CostQueries(database, cache, tokens=tokens, clock=clock, rates=rates, contexts=contexts)
    watch, following = CostWatch(database, feed), CostFollowing(database)
    usage = UsageServicer(
        recorder=recorder,
        costs=costs,
        imports=imports,
        events=StoredEvents(database, contexts, tokens=tokens, clock=clock),
        amendments=Amendments(database, contexts),
        watch=watch,
        reconciler=reconciler,
        archive=archive,
        analyses=Analyses(database, contexts, clock=clock, rates=rates),
    )
    reading = BulkReading(database, contexts, costs, clock=clock)
    reader = UsageReadServicer(reading=reading, costs=costs, following=following)
    pricing = Pricing(database, contexts, tokens=tokens, clock=clock)
    prices = PriceLoading(database, pricing, contexts, clock=clock)
    declared = records_of(envelope, ArchivedPersons(settings.archive_dir))
    declared = replace(declared, forget=forgetting(contexts, watch, following, cache))
    records = serve_records(database, declared, envelope, tokens=tokens, clock=clock)
    return UsageService(
        servicers=[
            partial(usage_service_pb2_grpc.add_UsageServiceServicer_to_server, usage),
            partial(read_service_pb2_grpc.add_UsageReadServiceServicer_to_server, reader),
            *rating(database, contexts, pricing, prices, tokens=tokens, clock=clock),
            *administration(database, contexts, tokens=tokens, clock=clock),
            records.servicer,
        ],
        workers=[
            *records.workers,
            *workers(
                database,
                imports=imports,
                reconciler=reconciler,
                archive=archive,
                feed=feed,
                feed_retention=timedelta(days=settings.feed_retention_days),
            ),
        ],
        prices=prices,
    )


def forgetting(
    contexts: TenantContexts, watch: CostWatch, following: CostFollowing, cache: Cache
) -> Forget:
    """Returns what drops a tenant's persons from memory and Redis, after an erasure."""

    async def forget(tenant_id: str) -> None:
        contexts.forget(tenant_id)
        watch.forget()
        following.forget()
        await cache.invalidate("costs", tenant_id)

    return forget


def rating(
    database: Database,
    contexts: TenantContexts,
    pricing: Pricing,
    prices: PriceLoading,
    *,
    tokens: PageTokens,
    clock: Clock,
) -> Sequence[Register]:
    """Makes the servicers of prices and of the rules that share cost."""
    price = PricingServicer(pricing=pricing, loading=prices)
    rules = AllocationRules(database, contexts, tokens=tokens, clock=clock)
    rule = AllocationServicer(rules=rules)
    return [
        partial(pricing_service_pb2_grpc.add_PricingServiceServicer_to_server, price),
        partial(allocation_service_pb2_grpc.add_AllocationServiceServicer_to_server, rule),
    ]


def administration(
    database: Database, contexts: TenantContexts, *, tokens: PageTokens, clock: Clock
) -> Sequence[Register]:
    """Makes the servicers of who uses, who may and who did what."""
    directory = DirectoryServicer(
        tenants=Tenants(database, tokens=tokens, contexts=contexts),
        departments=Departments(database, tokens=tokens),
        users=Users(database, tokens=tokens),
    )
    keys = ApiKeyServicer(api_keys=ApiKeys(database, tokens=tokens, clock=clock))
    audit = AuditServicer(log=AuditLog(database, tokens=tokens))
    return [
        partial(directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server, directory),
        partial(api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server, keys),
        partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
    ]


async def serve(settings: UsageSettings, *, clock: Clock | None = None) -> None:
    """Serves until it is told to stop. clock: a test's own."""
    database = Database.connect(
        settings.database_url,
        service=SERVICE,
        read_url=settings.read_database_url,
        worker_url=settings.worker_database_url,
    )
    cache = Cache.connect(settings.redis_url, service=SERVICE)
    built = build(database, cache, settings, clock=clock or SystemClock())
    await built.prices.seed_when_reachable()
    await server.serve(
        name=SERVICE,
        settings=settings,
        servicers=built.servicers,
        database=database,
        api_keys=OwnApiKeyDirectory(database),
        workers=built.workers,
        envelope=Envelope(settings.encryption_keys),
        closing=[cache.close],
    )
