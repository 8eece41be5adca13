"""Wires the budget service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.budget.v1 import budget_service_pb2_grpc, ledger_service_pb2_grpc

from services.budget.api.budget_service import BudgetServicer
from services.budget.api.ledger_service import LedgerServicer
from services.budget.convert.cost_feed import StubCostFeed
from services.budget.convert.usage_events import StubUsageEvents
from services.budget.convert.usage_prices import StubUsagePrices
from services.budget.convert.usage_reader import StubUsageReader
from services.budget.service.asking import Asking
from services.budget.service.backtesting import Backtests
from services.budget.service.budget_index import BudgetIndexes
from services.budget.service.budgets import Budgets
from services.budget.service.claiming import Claims
from services.budget.service.cost_ledger import CostLedger
from services.budget.service.directories import Directories
from services.budget.service.estimating import Estimates
from services.budget.service.filling import Filling
from services.budget.service.increases import Increases
from services.budget.service.periods import Periods
from services.budget.service.reconciling import Reconciler
from services.budget.service.spend_ledger import SpendLedger
from services.budget.service.spend_lists import SpendLists
from services.budget.service.spending import Spending
from services.budget.service.statuses import Statuses
from services.budget.service.turning import PeriodTurns
from services.budget.service.watching import BudgetWatch
from services.budget.settings import BudgetSettings, read_money
from services.budget.store.changes import BudgetFeed
from services.budget.worker import ledger_workers, workers
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


@dataclass(frozen=True, slots=True)
class Foundation:
    """What several use cases stand on."""

    database: Database
    usage: StubUsageReader
    directories: Directories
    indexes: BudgetIndexes
    feed: BudgetFeed
    periods: Periods
    rates: ExchangeRates
    movements: SpendLedger
    spending: Spending
    tokens: PageTokens
    clock: Clock


def build(
    database: Database, usage: grpc.aio.Channel, settings: BudgetSettings, *, clock: Clock
) -> BudgetService:
    """Makes the use cases, the servicers over them and the workers. usage: that service."""
    reader = StubUsageReader(usage)
    feed = BudgetFeed(database)
    periods = Periods(feed, clock=clock)
    indexes, rates, movements = BudgetIndexes(database), ExchangeRates(), SpendLedger(feed, periods)
    base = Foundation(
        database=database,
        usage=reader,
        directories=Directories(reader),
        indexes=indexes,
        feed=feed,
        periods=periods,
        rates=rates,
        movements=movements,
        spending=Spending(database, indexes, movements, rates=rates, clock=clock),
        tokens=PageTokens(settings.page_token_secret),
        clock=clock,
    )
    budget = budget_servicer(base, usage, settings)
    audit = AuditServicer(log=AuditLog(database, tokens=base.tokens))
    reconciler = Reconciler(
        database,
        usage=reader,
        periods=periods,
        feed=feed,
        tokens=base.tokens,
        clock=clock,
    )
    ledger = ledger_servicer(base, reconciler)
    return BudgetService(
        servicers=[
            partial(budget_service_pb2_grpc.add_BudgetServiceServicer_to_server, budget),
            partial(ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server, ledger),
            partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
        ],
        workers=[
            *ledger_workers(
                database,
                costs=CostLedger(indexes, base.directories, movements, rates=rates, clock=clock),
                pages=StubCostFeed(usage).pages,
                spending=base.spending,
                claims=Claims(
                    database,
                    StubUsageEvents(usage, clock=clock),
                    indexes,
                    movements,
                    clock=clock,
                ),
            ),
            *workers(
                database,
                turns=PeriodTurns(database, base.periods, clock=clock),
                reconciler=reconciler,
                clock=clock,
                feed=feed,
                feed_retention=timedelta(days=settings.feed_retention_days),
            ),
        ],
    )


def budget_servicer(
    base: Foundation, usage: grpc.aio.Channel, settings: BudgetSettings
) -> BudgetServicer:
    """Makes what serves budgets, how they stand, and the spend they admit."""
    database, clock, tokens = base.database, base.clock, base.tokens
    filling = Filling(database, usage=base.usage, periods=base.periods, feed=base.feed, clock=clock)
    budgets = Budgets(
        database,
        directories=base.directories,
        indexes=base.indexes,
        periods=base.periods,
        filling=filling,
        feed=base.feed,
        tokens=tokens,
        clock=clock,
    )
    statuses = Statuses(
        database, usage=base.usage, periods=base.periods, tokens=tokens, clock=clock
    )
    backtests = Backtests(
        database, usage=base.usage, directories=base.directories, rates=base.rates, clock=clock
    )
    estimates = Estimates(
        database,
        StubUsagePrices(usage),
        default_hold=read_money(settings.default_hold),
        clock=clock,
    )
    return BudgetServicer(
        budgets=budgets,
        statuses=statuses,
        backtests=backtests,
        watch=BudgetWatch(base.feed),
        asking=Asking(base.spending, base.directories, estimates),
        spending=base.spending,
        spend_lists=SpendLists(database, tokens=tokens),
    )


def ledger_servicer(base: Foundation, reconciler: Reconciler) -> LedgerServicer:
    """Makes what serves limits, periods and movements."""
    increases = Increases(
        base.database,
        indexes=base.indexes,
        periods=base.periods,
        feed=base.feed,
        tokens=base.tokens,
        clock=base.clock,
    )
    return LedgerServicer(
        increases=increases,
        lists=SpendLists(base.database, tokens=base.tokens),
        reconciler=reconciler,
        directories=base.directories,
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
