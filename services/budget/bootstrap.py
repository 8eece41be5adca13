"""Wires the budget service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.budget.v1 import (
    alert_policy_service_pb2_grpc,
    alert_service_pb2_grpc,
    budget_service_pb2_grpc,
    channel_service_pb2_grpc,
    delivery_service_pb2_grpc,
    ledger_service_pb2_grpc,
)

from services.budget.api.alert_policy_service import AlertPolicyServicer
from services.budget.api.alert_service import AlertServicer
from services.budget.api.budget_service import BudgetServicer
from services.budget.api.channel_service import ChannelServicer
from services.budget.api.delivery_service import DeliveryServicer
from services.budget.api.ledger_service import LedgerServicer
from services.budget.convert.cost_feed import StubCostFeed
from services.budget.convert.usage_events import StubUsageEvents
from services.budget.convert.usage_prices import StubUsagePrices
from services.budget.convert.usage_reader import StubUsageReader
from services.budget.domain.egress import EgressPolicy
from services.budget.service.alert_life import AlertLife
from services.budget.service.alert_policies import EscalationPolicies, SuppressionRules
from services.budget.service.alert_work import AlertWork
from services.budget.service.alerts import Alerts
from services.budget.service.allocated import AllocatedCosts
from services.budget.service.announcing import Announcer
from services.budget.service.apprises import AppriseSender
from services.budget.service.asking import Asking
from services.budget.service.backtesting import Backtests
from services.budget.service.budget_index import BudgetIndexes
from services.budget.service.budgets import Budgets
from services.budget.service.channels import Channels, EventSubscriptions
from services.budget.service.claiming import Claims
from services.budget.service.cost_ledger import CostLedger
from services.budget.service.deliveries import Deliveries
from services.budget.service.delivering import Deliverer, Senders
from services.budget.service.digesting import Digester
from services.budget.service.directories import Directories
from services.budget.service.estimating import Estimates
from services.budget.service.evaluating import Evaluator
from services.budget.service.event_telling import EventTelling
from services.budget.service.filling import Filling
from services.budget.service.forecast_alerts import ForecastAlerts
from services.budget.service.increases import Increases
from services.budget.service.mails import MailSender, MailServer
from services.budget.service.notifying import Notifier
from services.budget.service.periods import Periods
from services.budget.service.rebuilding import Rebuilding
from services.budget.service.reconciling import Reconciler
from services.budget.service.spend_ledger import SpendLedger
from services.budget.service.spend_lists import SpendLists
from services.budget.service.spending import Spending
from services.budget.service.statuses import Statuses
from services.budget.service.turning import PeriodTurns
from services.budget.service.watching import BudgetWatch
from services.budget.service.webhooks import WebhookSender
from services.budget.settings import BudgetSettings, read_money
from services.budget.store.alerts import AlertFeed
from services.budget.store.changes import BudgetFeed
from services.budget.store.records import RECORDS
from services.budget.worker import event_workers, ledger_workers, workers
from services.kernel import server
from services.kernel.api_keys_remote import RemoteApiKeyDirectory
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.client import channel
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.exchange import ExchangeRates
from services.kernel.pagination import PageTokens
from services.kernel.records_defaults import serve_records
from services.kernel.server import Register
from services.kernel.workers import Worker

SERVICE = "budget"


@dataclass(frozen=True, slots=True)
class BudgetService:
    """What the service serves, and what runs beside it. alert_work, forecasts: of these workers."""

    servicers: Sequence[Register]
    workers: Sequence[Worker]
    alert_work: AlertWork
    forecasts: ForecastAlerts


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
    evaluator: Evaluator
    tokens: PageTokens
    clock: Clock


def build(
    database: Database, usage: grpc.aio.Channel, settings: BudgetSettings, *, clock: Clock
) -> BudgetService:
    """Makes the use cases, the servicers over them and the workers. usage: that service."""
    alerts = alert_base(database, clock=clock)
    base = foundation_of(database, StubUsageReader(usage), alerts, settings, clock=clock)
    statuses = Statuses(
        database, usage=base.usage, periods=base.periods, tokens=base.tokens, clock=clock
    )
    forecasts = ForecastAlerts(database, statuses, alerts.evaluator, clock=clock)
    budget = budget_servicer(base, statuses, usage, settings)
    audit = AuditServicer(log=AuditLog(database, tokens=base.tokens))
    envelope = Envelope(settings.encryption_keys)
    records = serve_records(database, RECORDS, envelope, tokens=base.tokens, clock=clock)
    reconciler = Reconciler(
        database,
        usage=base.usage,
        periods=base.periods,
        feed=base.feed,
        evaluator=base.evaluator,
        tokens=base.tokens,
        clock=clock,
    )
    rebuilding = Rebuilding(database, reconciler, StubCostFeed(usage).end, clock=clock)
    ledger = ledger_servicer(base, reconciler)
    telling = telling_of(base, alerts, settings)
    return BudgetService(
        servicers=[
            partial(budget_service_pb2_grpc.add_BudgetServiceServicer_to_server, budget),
            partial(ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server, ledger),
            partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
            records.servicer,
            *telling.servicers,
        ],
        alert_work=telling.work,
        forecasts=forecasts,
        workers=[
            *telling.work.loops(),
            *records.workers,
            *feed_workers(base, alerts, usage, reconciler=reconciler, rebuilding=rebuilding),
            *workers(
                database,
                turns=PeriodTurns(database, base.periods, clock=clock),
                reconciler=reconciler,
                rebuilding=rebuilding,
                clock=clock,
                feed=base.feed,
                feed_retention=timedelta(days=settings.feed_retention_days),
                forecasts=forecasts,
                alert_feed=alerts.feed,
            ),
        ],
    )


def feed_workers(
    base: Foundation,
    alerts: AlertBase,
    usage: grpc.aio.Channel,
    *,
    reconciler: Reconciler,
    rebuilding: Rebuilding,
) -> Sequence[Worker]:
    """Makes what follows feeds: the ledger of costs, and the events that are sent out."""
    database, clock = base.database, base.clock
    return [
        *event_workers(
            database,
            telling=EventTelling(alerts.notifier, base.feed, clock=clock),
            costs=StubCostFeed(usage),
            rebuilding=rebuilding,
        ),
        *ledger_workers(
            database,
            costs=CostLedger(
                base.indexes, base.directories, base.movements, rates=base.rates, clock=clock
            ),
            pages=StubCostFeed(usage).pages,
            rebuilding=rebuilding,
            allocated=AllocatedCosts(database, reconciler, clock=clock),
            spending=base.spending,
            claims=Claims(
                database,
                StubUsageEvents(usage, clock=clock),
                base.indexes,
                base.movements,
                clock=clock,
            ),
        ),
    ]


def foundation_of(
    database: Database,
    reader: StubUsageReader,
    alerts: AlertBase,
    settings: BudgetSettings,
    *,
    clock: Clock,
) -> Foundation:
    """Makes what several use cases stand on."""
    feed = BudgetFeed(database)
    periods = Periods(feed, alerts.evaluator, clock=clock)
    indexes, rates = BudgetIndexes(database), ExchangeRates(settings.exchange_rates_file)
    movements = SpendLedger(feed, periods, alerts.evaluator)
    return Foundation(
        database=database,
        usage=reader,
        directories=Directories(reader),
        indexes=indexes,
        feed=feed,
        periods=periods,
        rates=rates,
        movements=movements,
        spending=Spending(database, indexes, movements, rates=rates, clock=clock),
        evaluator=alerts.evaluator,
        tokens=PageTokens(settings.page_token_secret),
        clock=clock,
    )


def budget_servicer(
    base: Foundation, statuses: Statuses, usage: grpc.aio.Channel, settings: BudgetSettings
) -> BudgetServicer:
    """Makes what serves budgets, how they stand, and the spend they admit."""
    database, clock, tokens = base.database, base.clock, base.tokens
    filling = Filling(
        database,
        usage=base.usage,
        periods=base.periods,
        feed=base.feed,
        evaluator=base.evaluator,
        clock=clock,
    )
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


@dataclass(frozen=True, slots=True)
class AlertBase:
    """What fires alerts."""

    feed: AlertFeed
    notifier: Notifier
    life: AlertLife
    evaluator: Evaluator


@dataclass(frozen=True, slots=True)
class Telling:
    """What serves alerts and tells about them."""

    servicers: Sequence[Register]
    work: AlertWork


def alert_base(database: Database, *, clock: Clock) -> AlertBase:
    """Makes what fires alerts in the transactions that move totals."""
    feed, notifier = AlertFeed(database), Notifier(database)
    life = AlertLife(database, feed, notifier)
    return AlertBase(feed, notifier, life, Evaluator(life, clock=clock))


def telling_of(base: Foundation, alerts: AlertBase, settings: BudgetSettings) -> Telling:
    """Makes what serves alerts, channels and deliveries, and what works on them."""
    database, clock, tokens = base.database, base.clock, base.tokens
    envelope, policy = Envelope(settings.encryption_keys), EgressPolicy.of(settings.egress_allow)
    smtp = settings.smtp_url
    mails = None if smtp is None else MailServer(smtp.get_secret_value(), settings.mail_sender)
    senders = Senders(
        webhooks=WebhookSender(policy, clock=clock),
        mails=MailSender(mails, clock=clock),
        apprise=AppriseSender(policy, clock=clock),
    )
    deliveries = Deliveries(
        database, alerts.notifier, senders, envelope, tokens=tokens, clock=clock
    )
    alert = AlertServicer(
        alerts=Alerts(database, alerts.life, alerts.feed, tokens=tokens, clock=clock)
    )
    policies = AlertPolicyServicer(
        policies=EscalationPolicies(database, tokens=tokens, clock=clock),
        rules=SuppressionRules(database, tokens=tokens, clock=clock),
    )
    channels = ChannelServicer(
        channels=Channels(database, envelope, policy, tokens=tokens, clock=clock),
        subscriptions=EventSubscriptions(database, tokens=tokens, clock=clock),
        deliveries=deliveries,
    )
    delivery = DeliveryServicer(deliveries=deliveries)
    work = AlertWork(
        database,
        announcer=Announcer(database, alerts.life, alerts.notifier, clock=clock),
        deliverer=Deliverer(database, envelope, senders, alerts.life, clock=clock),
        digester=Digester(database, alerts.notifier, clock=clock),
    )
    return Telling(
        servicers=[
            partial(alert_service_pb2_grpc.add_AlertServiceServicer_to_server, alert),
            partial(
                alert_policy_service_pb2_grpc.add_AlertPolicyServiceServicer_to_server, policies
            ),
            partial(channel_service_pb2_grpc.add_ChannelServiceServicer_to_server, channels),
            partial(delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server, delivery),
        ],
        work=work,
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
        envelope=Envelope(settings.encryption_keys),
    )
