"""Wires the usage service: read from top to bottom, it is all there is."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from finops.usage.v1 import pricing_service_pb2_grpc, usage_service_pb2_grpc

from services.kernel import server
from services.kernel.cache import Cache
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.usage.api.pricing import PricingServicer
from services.usage.api.usage import UsageServicer
from services.usage.service.amending import Amendments
from services.usage.service.archiving import Archive
from services.usage.service.costs import CostQueries
from services.usage.service.events import StoredEvents
from services.usage.service.exchange import ExchangeRates
from services.usage.service.importing import Imports
from services.usage.service.price_loading import PriceLoading
from services.usage.service.pricing import Pricing
from services.usage.service.reconciling import Reconciler
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed, CostWatch
from services.usage.settings import UsageSettings
from services.usage.worker import workers

SERVICE = "usage"


async def serve(settings: UsageSettings, *, clock: Clock | None = None) -> None:
    """Serves until it is told to stop. clock: a test's own."""
    clock = clock or SystemClock()
    database = Database.connect(
        settings.database_url,
        service=SERVICE,
        read_url=settings.read_database_url,
        worker_url=settings.worker_database_url,
    )
    cache = Cache.connect(settings.redis_url, service=SERVICE)
    tokens = PageTokens(settings.page_token_secret)
    contexts = TenantContexts(database)
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
    prices = Pricing(database, contexts, tokens=tokens, clock=clock)
    loading = PriceLoading(database, prices, contexts, clock=clock)
    await loading.seed_global_prices()
    pricing = PricingServicer(pricing=prices, loading=loading)
    usage = UsageServicer(
        events=StoredEvents(database, contexts, tokens=tokens, clock=clock),
        amendments=Amendments(database, contexts),
        watch=CostWatch(database, feed),
        reconciler=reconciler,
        archive=archive,
        recorder=recorder,
        imports=imports,
        costs=CostQueries(
            database,
            cache,
            tokens=tokens,
            clock=clock,
            rates=ExchangeRates(),
            contexts=contexts,
        ),
    )
    await server.serve(
        name=SERVICE,
        settings=settings,
        servicers=[
            partial(usage_service_pb2_grpc.add_UsageServiceServicer_to_server, usage),
            partial(pricing_service_pb2_grpc.add_PricingServiceServicer_to_server, pricing),
        ],
        database=database,
        workers=workers(
            database,
            imports=imports,
            reconciler=reconciler,
            archive=archive,
            feed=feed,
            feed_retention=timedelta(days=settings.feed_retention_days),
        ),
        closing=[cache.close],
    )
