"""Wires the budget service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.budget.v1 import budget_service_pb2_grpc

from services.budget.api.budget_service import BudgetServicer
from services.budget.convert.usage_prices import StubUsagePrices
from services.budget.convert.usage_reader import StubUsageReader
from services.budget.service.asking import Asking
from services.budget.service.budget_index import BudgetIndexes
from services.budget.service.budgets import Budgets
from services.budget.service.directories import Directories
from services.budget.service.estimating import Estimates
from services.budget.service.filling import Filling
from services.budget.service.periods import Periods
from services.budget.service.spend_ledger import SpendLedger
from services.budget.service.spend_lists import SpendLists
from services.budget.service.spending import Spending
from services.budget.service.turning import PeriodTurns
from services.budget.settings import BudgetSettings, read_money
from services.budget.store.changes import BudgetFeed
from services.budget.worker import workers
from services.kernel import server
from services.kernel.api_keys_remote import RemoteApiKeyDirectory
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.client import channel
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates
from services.kernel.pagination import PageTokens
from services.kernel.server import Register
from services.kernel.workers import Worker

SERVICE = "budget"


@dataclass(frozen=True, slots=True)
class BudgetService:
    """What the service serves, and what runs beside it."""

    servicers: Sequence[Register]
    workers: Sequence[Worker]


def build(
    database: Database, usage: grpc.aio.Channel, settings: BudgetSettings, *, clock: Clock
) -> BudgetService:
    """Makes the use cases, the servicers over them and the workers. usage: that service."""
    tokens = PageTokens(settings.page_token_secret)
    reader = StubUsageReader(usage)
    directories = Directories(reader)
    indexes = BudgetIndexes(database)
    feed = BudgetFeed(database)
    periods = Periods(feed, clock=clock)
    filling = Filling(database, usage=reader, periods=periods, feed=feed, clock=clock)
    budgets = Budgets(
        database,
        directories=directories,
        indexes=indexes,
        periods=periods,
        filling=filling,
        feed=feed,
        tokens=tokens,
        clock=clock,
    )
    rates = ExchangeRates()
    follow_up = SpendLedger(feed, periods)
    spending = Spending(database, indexes, periods, follow_up, rates=rates, clock=clock)
    estimates = Estimates(
        database,
        StubUsagePrices(usage),
        default_hold=read_money(settings.default_hold),
        clock=clock,
    )
    spend_lists = SpendLists(database, tokens=tokens)
    budget = BudgetServicer(  # type: ignore[abstract] # until all methods are there
        budgets=budgets,
        asking=Asking(spending, directories, estimates),
        spending=spending,
        spend_lists=spend_lists,
    )
    audit = AuditServicer(log=AuditLog(database, tokens=tokens))
    return BudgetService(
        servicers=[
            partial(budget_service_pb2_grpc.add_BudgetServiceServicer_to_server, budget),
            partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
        ],
        workers=workers(
            database,
            turns=PeriodTurns(database, periods, clock=clock),
            feed=feed,
            feed_retention=timedelta(days=settings.feed_retention_days),
        ),
    )


async def serve(settings: BudgetSettings, *, clock: Clock | None = None) -> None:
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
