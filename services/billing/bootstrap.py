"""Wires the billing service: read from top to bottom, it is all there is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
from finops.audit.v1 import audit_service_pb2_grpc
from finops.billing.v1 import (
    account_service_pb2_grpc,
    billing_service_pb2_grpc,
    catalogue_service_pb2_grpc,
    credit_note_service_pb2_grpc,
    invoice_service_pb2_grpc,
    payment_service_pb2_grpc,
    pricing_plan_service_pb2_grpc,
    provider_service_pb2_grpc,
    run_service_pb2_grpc,
    subscription_service_pb2_grpc,
    webhook_service_pb2_grpc,
)

from services.billing.api.accounts import AccountServicer
from services.billing.api.billing import BillingServicer
from services.billing.api.catalogue import CatalogueServicer
from services.billing.api.credit_notes import CreditNoteServicer
from services.billing.api.invoices import InvoiceServicer, InvoiceUseCases
from services.billing.api.payments import PaymentServicer
from services.billing.api.plans import PricingPlanServicer
from services.billing.api.provider import ProviderServicer, WebhookServicer
from services.billing.api.run_service import RunServicer
from services.billing.api.subscriptions import SubscriptionServicer
from services.billing.convert.allocated_costs import UsageServiceCosts
from services.billing.convert.cost_changes import cost_changes
from services.billing.convert.notifications import BudgetNotifier
from services.billing.convert.tenant_directory import UsageTenantDirectory
from services.billing.convert.usage_events import UsageServiceEvents
from services.billing.convert.usage_sums import UsageServiceSums
from services.billing.domain.seeded_plans import seeded_plans
from services.billing.service.accounts import Accounts
from services.billing.service.advancing import Advancing
from services.billing.service.catalogue import Catalogue
from services.billing.service.changing import SubscriptionChanges
from services.billing.service.chargeback import Chargebacks
from services.billing.service.crediting import CreditNotes
from services.billing.service.credits import Credits
from services.billing.service.documents import Documents
from services.billing.service.drafting import Drafting
from services.billing.service.invoicing import Invoices
from services.billing.service.issuing import Issuing
from services.billing.service.journal import BillingFeed, Journal
from services.billing.service.lifecycle import Lifecycle
from services.billing.service.mailing import Mailing
from services.billing.service.maturing import Maturing
from services.billing.service.metering import Metering
from services.billing.service.moving import InvoiceMoves
from services.billing.service.paying import Paying
from services.billing.service.plans import Plans
from services.billing.service.prorating import Prorating
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.work import ProviderWork
from services.billing.service.running import BillingRuns
from services.billing.service.subscriptions import Subscriptions
from services.billing.service.summary import Summaries
from services.billing.service.tracing import Tracing
from services.billing.settings import BillingSettings
from services.billing.store.records import RECORDS
from services.billing.worker import workers
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

SERVICE = "billing"


@dataclass(frozen=True, slots=True)
class BillingService:
    """What the service serves, and what runs beside it. plans: seeds the first ones.

    advancing, credit: what the calendar does to subscriptions and to credit. prorating: invoices
    changes at once. envelope: seals what
    is known of people.
    """

    servicers: Sequence[Register]
    workers: Sequence[Worker]
    plans: Plans
    advancing: Advancing
    credit: Credits
    prorating: Prorating
    envelope: Envelope
    close_providers: Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Peers:
    """Channels to the services that billing calls."""

    usage: grpc.aio.Channel
    budget: grpc.aio.Channel


@dataclass(frozen=True, slots=True)
class Core:
    """What accounts, plans, subscriptions and invoices have in common."""

    tokens: PageTokens
    feed: BillingFeed
    journal: Journal
    accounts: Accounts
    credit: Credits
    plans: Plans
    catalogue: Catalogue
    advancing: Advancing
    subscriptions: Subscriptions
    changes: SubscriptionChanges
    envelope: Envelope
    rates: ExchangeRates
    moves: InvoiceMoves
    issuing: Issuing
    invoices: Invoices
    summaries: Summaries


def make_core(database: Database, peers: Peers, settings: BillingSettings, *, clock: Clock) -> Core:
    """Makes the use cases that others build on."""
    tokens = PageTokens(settings.page_token_secret)
    feed = BillingFeed(database)
    journal = Journal(feed)
    rates = ExchangeRates(settings.exchange_rates_file)
    envelope = Envelope(settings.encryption_keys)
    accounts = Accounts(
        database,
        journal,
        envelope,
        UsageTenantDirectory(peers.usage),
        tokens=tokens,
        clock=clock,
    )
    credit = Credits(database, journal, tokens=tokens, clock=clock)
    lifecycle = Lifecycle(journal)
    advancing = Advancing(database, lifecycle, clock=clock)
    subscriptions = Subscriptions(database, lifecycle, advancing, tokens=tokens, clock=clock)
    drafting, moves = Drafting(rates), InvoiceMoves(journal)
    issuing = Issuing(drafting, accounts, advancing, credit, moves, clock=clock)
    invoices = Invoices(database, drafting, issuing, moves, credit, tokens=tokens, clock=clock)
    return Core(
        tokens=tokens,
        feed=feed,
        journal=journal,
        accounts=accounts,
        credit=credit,
        plans=Plans(database, journal, tokens=tokens, clock=clock),
        catalogue=Catalogue(database, tokens=tokens, clock=clock),
        advancing=advancing,
        subscriptions=subscriptions,
        changes=SubscriptionChanges(database, lifecycle, subscriptions, accounts, clock=clock),
        envelope=envelope,
        rates=rates,
        moves=moves,
        issuing=issuing,
        invoices=invoices,
        summaries=Summaries(database, invoices, feed, rates, tokens=tokens, clock=clock),
    )


def selling(core: Core, *, clock: Clock) -> Sequence[Register]:
    """Makes the servicers of accounts, plans, coupons, taxes and subscriptions."""
    accounts = AccountServicer(accounts=core.accounts, credits=core.credit, clock=clock)
    catalogue = CatalogueServicer(catalogue=core.catalogue, clock=clock)
    plans = PricingPlanServicer(plans=core.plans)
    subscriptions = SubscriptionServicer(subscriptions=core.subscriptions, changes=core.changes)
    return [
        partial(account_service_pb2_grpc.add_AccountServiceServicer_to_server, accounts),
        partial(catalogue_service_pb2_grpc.add_CatalogueServiceServicer_to_server, catalogue),
        partial(pricing_plan_service_pb2_grpc.add_PricingPlanServiceServicer_to_server, plans),
        partial(
            subscription_service_pb2_grpc.add_SubscriptionServiceServicer_to_server, subscriptions
        ),
    ]


@dataclass(frozen=True, slots=True)
class Invoicing:
    """What makes, corrects, runs and collects invoices."""

    use_cases: InvoiceUseCases
    credit_notes: CreditNotes
    runs: BillingRuns
    maturing: Maturing
    provider: ProviderWork


def make_invoicing(
    database: Database, peers: Peers, settings: BillingSettings, core: Core, *, clock: Clock
) -> Invoicing:
    """Makes the use cases of invoices."""
    tokens, invoices, issuing = core.tokens, core.invoices, core.issuing
    documents = Documents(database, invoices, core.accounts)
    providers = Providers(database, core.envelope, base_url=settings.stripe_address)
    return Invoicing(
        use_cases=InvoiceUseCases(
            invoices=invoices,
            tracing=Tracing(database, UsageServiceEvents(peers.usage), tokens=tokens),
            documents=documents,
            mailing=Mailing(database, documents, BudgetNotifier(peers.budget), clock=clock),
            chargebacks=Chargebacks(
                database, UsageServiceCosts(peers.usage), core.accounts, issuing, clock=clock
            ),
        ),
        credit_notes=CreditNotes(
            database, core.moves, core.credit, core.journal, tokens=tokens, clock=clock
        ),
        runs=BillingRuns(database, invoices, issuing, tokens=tokens, clock=clock),
        maturing=Maturing(database, invoices, core.moves, clock=clock),
        provider=ProviderWork.of(
            database,
            providers,
            core.journal,
            core.envelope,
            tokens=tokens,
            clock=clock,
            usage=UsageServiceSums(peers.usage),
            rates=core.rates,
            live_keys=settings.allow_live_keys,
        ),
    )


def issuing(made: Invoicing) -> Sequence[Register]:
    """Makes the servicers of invoices, credit notes and runs."""
    invoices = InvoiceServicer(made.use_cases)
    notes = CreditNoteServicer(made.credit_notes)
    runs = RunServicer(runs=made.runs, reconciling=made.provider.reconciling)
    return [
        partial(invoice_service_pb2_grpc.add_InvoiceServiceServicer_to_server, invoices),
        partial(credit_note_service_pb2_grpc.add_CreditNoteServiceServicer_to_server, notes),
        partial(run_service_pb2_grpc.add_RunServiceServicer_to_server, runs),
    ]


def providing(made: ProviderWork) -> Sequence[Register]:
    """Makes the servicers of payments, the provider and its webhooks."""
    payments = PaymentServicer(payments=made.payments, methods=made.methods)
    provider = ProviderServicer(settings=made.settings, metered=made.metered)
    webhooks = WebhookServicer(inbox=made.inbox)
    return [
        partial(payment_service_pb2_grpc.add_PaymentServiceServicer_to_server, payments),
        partial(provider_service_pb2_grpc.add_ProviderServiceServicer_to_server, provider),
        partial(webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server, webhooks),
    ]


def build(
    database: Database, peers: Peers, settings: BillingSettings, *, clock: Clock
) -> BillingService:
    """Makes the use cases, the servicers over them and the workers."""
    core = make_core(database, peers, settings, clock=clock)
    made = make_invoicing(database, peers, settings, core, clock=clock)
    audit = AuditServicer(log=AuditLog(database, tokens=core.tokens))
    records = serve_records(database, RECORDS, core.envelope, tokens=core.tokens, clock=clock)
    billing = BillingServicer(
        plans=core.plans,
        subscriptions=core.subscriptions,
        changes=core.changes,
        summaries=core.summaries,
        invoicing=made.use_cases,
        credit_notes=made.credit_notes,
        runs=made.runs,
        paying=Paying(database, made.provider.collecting),
        methods=made.provider.methods,
        reconciling=made.provider.reconciling,
    )
    prorating = Prorating(database, core.issuing, core.credit, clock=clock)
    return BillingService(
        servicers=[
            partial(billing_service_pb2_grpc.add_BillingServiceServicer_to_server, billing),
            *selling(core, clock=clock),
            *issuing(made),
            *providing(made.provider),
            partial(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit),
            records.servicer,
        ],
        workers=[
            *records.workers,
            *workers(
                database,
                advancing=core.advancing,
                credit=core.credit,
                prorating=prorating,
                feed=core.feed,
                feed_retention=timedelta(days=settings.feed_retention_days),
                metering=Metering(
                    database,
                    cost_changes(peers.usage),
                    made.provider.reconciling.recover_usage,
                ),
                runs=made.runs,
                chargebacks=made.use_cases.chargebacks,
                mailing=made.use_cases.mailing,
                maturing=made.maturing,
                provider=made.provider,
            ),
        ],
        plans=core.plans,
        advancing=core.advancing,
        credit=core.credit,
        prorating=prorating,
        envelope=core.envelope,
        close_providers=made.provider.providers.close,
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
    clock = clock or SystemClock()
    built = build(database, Peers(usage, budget), settings, clock=clock)
    await built.plans.seed(seeded_plans(clock.now()))
    await server.serve(
        name=SERVICE,
        settings=settings,
        servicers=built.servicers,
        database=database,
        api_keys=RemoteApiKeyDirectory(usage),
        workers=built.workers,
        closing=[usage.close, budget.close, built.close_providers],
        envelope=built.envelope,
    )
