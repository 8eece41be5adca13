"""All work at the provider, put together for the worker and the calls."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing.service.comparing_usage import UsageComparison, UsageSums
from services.billing.service.credits import Credits
from services.billing.service.journal import Journal
from services.billing.service.moving import InvoiceMoves
from services.billing.service.provider.closing import Closing
from services.billing.service.provider.collecting import Collecting
from services.billing.service.provider.following import Following
from services.billing.service.provider.handling import Handling
from services.billing.service.provider.inbox import Inbox
from services.billing.service.provider.metered import MeteredInvoices
from services.billing.service.provider.methods import PaymentMethods
from services.billing.service.provider.payments import Payments
from services.billing.service.provider.polling import EVENTS_JOB, Polling
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.pushing import Pushing
from services.billing.service.provider.queue import (
    CLOSE_JOB,
    COLLECT_JOB,
    CREDIT_JOB,
    OUTAGE_JOB,
    PUSH_JOB,
    RECONCILE_JOB,
    SWEEP_JOB,
    WEBHOOK_JOB,
)
from services.billing.service.provider.reconciling import HOURLY_JOB, NIGHTLY_JOB, Reconciling
from services.billing.service.provider.route_jobs import (
    ROUTE_ATTEMPTS,
    ROUTE_JOB,
    ROUTES_JOB,
    RouteJobs,
)
from services.billing.service.provider.settings import Settings
from services.billing.service.provider.settling import Settling
from services.billing.service.provider.steps import Steps
from services.billing.service.provider.sweeping import Sweeping
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.exchange import ExchangeRates
from services.kernel.job_worker import JobWorker
from services.kernel.pagination import PageTokens

CONCURRENCY = 4  # invoices at once over all workers: the provider's limit is one for all
INBOX_SWEEP_JOB = "provider_inbox_sweep"


@dataclass(frozen=True, slots=True)
class ProviderWork:
    """What sends, collects, takes in and compares."""

    providers: Providers
    pushing: Pushing
    collecting: Collecting
    following: Following
    closing: Closing
    handling: Handling
    sweeping: Sweeping
    inbox: Inbox
    settings: Settings
    methods: PaymentMethods
    payments: Payments
    reconciling: Reconciling
    metered: MeteredInvoices
    polling: Polling
    route_jobs: RouteJobs

    @classmethod
    def of(
        cls,
        database: Database,
        providers: Providers,
        journal: Journal,
        envelope: Envelope,
        *,
        tokens: PageTokens,
        clock: Clock,
        usage: UsageSums,
        rates: ExchangeRates,
        live_keys: bool = False,
        has_safeguards: bool = True,
    ) -> ProviderWork:
        """has_safeguards: False leaves read-back and fence out, for the test that shows why."""
        moves = InvoiceMoves(journal)
        steps = Steps(database, clock=clock, reads_back=has_safeguards)
        pushing = Pushing(database, providers, steps, moves, clock=clock, has_fence=has_safeguards)
        credit = Credits(database, journal, tokens=tokens, clock=clock)
        following = Following(database, moves, journal, credit=credit, clock=clock)
        collecting = Collecting(database, providers, steps, moves, following, clock=clock)
        metered = MeteredInvoices(database, tokens=tokens, clock=clock)
        polling = Polling(database, providers, clock=clock)
        inbox = Inbox(database, envelope, tokens=tokens, clock=clock)
        handling = Handling(
            *(database, providers, following, journal), metered=metered, inbox=inbox, clock=clock
        )
        settings = Settings(
            database, envelope, providers, tokens=tokens, clock=clock, allows_live_keys=live_keys
        )
        reconciling = Reconciling(
            *(database, providers, following, UsageComparison(database, usage)),
            Settling(database, rates, clock=clock),
            metered=metered,
            polling=polling,
            tokens=tokens,
            clock=clock,
        )
        return cls(
            providers=providers,
            pushing=pushing,
            collecting=collecting,
            following=following,
            closing=Closing(database, providers, steps, journal, clock=clock),
            handling=handling,
            sweeping=Sweeping(database, clock=clock),
            inbox=inbox,
            settings=settings,
            methods=PaymentMethods(
                database, providers, pushing, collecting, tokens=tokens, clock=clock
            ),
            payments=Payments(database, moves, journal, tokens=tokens, clock=clock),
            reconciling=reconciling,
            metered=metered,
            polling=polling,
            route_jobs=RouteJobs(database, providers, steps, pushing, clock=clock),
        )

    def register(self, jobs: JobWorker) -> None:
        """Makes a worker do it."""
        jobs.handle(PUSH_JOB, self.pushing.run, concurrency=CONCURRENCY)
        jobs.handle(COLLECT_JOB, self.collecting.run, concurrency=CONCURRENCY)
        jobs.handle(CLOSE_JOB, self.closing.run, concurrency=CONCURRENCY)
        jobs.handle(CREDIT_JOB, self.closing.run_credit, concurrency=CONCURRENCY)
        jobs.handle(WEBHOOK_JOB, self.handling.run, concurrency=1)
        jobs.handle(OUTAGE_JOB, self.handling.outages.probe)
        jobs.handle(RECONCILE_JOB, self.reconciling.run, concurrency=1)
        jobs.handle(
            ROUTE_JOB, self.route_jobs.run_one, concurrency=CONCURRENCY, attempts=ROUTE_ATTEMPTS
        )
        for cron, name, handler in (
            ("* * * * *", SWEEP_JOB, self.sweeping.run),
            ("* * * * *", INBOX_SWEEP_JOB, self.handling.sweep),
            ("*/10 * * * *", ROUTES_JOB, self.route_jobs.run),
            ("3 * * * *", EVENTS_JOB, self.polling.run),
            ("7 * * * *", HOURLY_JOB, self.reconciling.run_hourly),
            ("25 3 * * *", NIGHTLY_JOB, self.reconciling.run_nightly),
        ):
            jobs.handle(name, handler, concurrency=1)
            jobs.every(cron, name)
