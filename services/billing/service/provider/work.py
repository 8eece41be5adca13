"""All work at the provider, put together for the worker and the calls."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing.service.journal import Journal
from services.billing.service.moving import InvoiceMoves
from services.billing.service.provider.closing import Closing
from services.billing.service.provider.collecting import Collecting
from services.billing.service.provider.handling import Handling
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.pushing import Pushing
from services.billing.service.provider.queue import (
    CLOSE_JOB,
    COLLECT_JOB,
    CREDIT_JOB,
    PUSH_JOB,
    SWEEP_JOB,
    WEBHOOK_JOB,
)
from services.billing.service.provider.steps import Steps
from services.billing.service.provider.sweeping import Sweeping
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.job_worker import JobWorker

INBOX_SWEEP_JOB = "provider_inbox_sweep"
CONCURRENCY = 4  # invoices at once over all workers: the provider's limit is one for all


@dataclass(frozen=True, slots=True)
class ProviderWork:
    """What sends, collects and looks after both."""

    providers: Providers
    steps: Steps
    pushing: Pushing
    collecting: Collecting
    closing: Closing
    handling: Handling
    sweeping: Sweeping

    @classmethod
    def of(
        cls,
        database: Database,
        providers: Providers,
        journal: Journal,
        *,
        clock: Clock,
        has_safeguards: bool = True,
    ) -> ProviderWork:
        """has_safeguards: False leaves read-back and fence out, for the test that shows why."""
        moves = InvoiceMoves(journal)
        steps = Steps(database, clock=clock, reads_back=has_safeguards)
        collecting = Collecting(database, providers, steps, moves, journal, clock=clock)
        return cls(
            providers=providers,
            steps=steps,
            pushing=Pushing(
                database, providers, steps, moves, clock=clock, has_fence=has_safeguards
            ),
            collecting=collecting,
            closing=Closing(database, providers, steps, journal, clock=clock),
            handling=Handling(database, providers, collecting, clock=clock),
            sweeping=Sweeping(database, clock=clock),
        )

    def register(self, jobs: JobWorker) -> None:
        """Makes a worker do it."""
        jobs.handle(PUSH_JOB, self.pushing.run, concurrency=CONCURRENCY)
        jobs.handle(COLLECT_JOB, self.collecting.run, concurrency=CONCURRENCY)
        jobs.handle(CLOSE_JOB, self.closing.run, concurrency=CONCURRENCY)
        jobs.handle(CREDIT_JOB, self.closing.run_credit, concurrency=CONCURRENCY)
        jobs.handle(WEBHOOK_JOB, self.handling.run, concurrency=1)
        jobs.handle(INBOX_SWEEP_JOB, self.handling.sweep, concurrency=1)
        jobs.every("* * * * *", INBOX_SWEEP_JOB)
        jobs.handle(SWEEP_JOB, self.sweeping.run, concurrency=1)
        jobs.every("* * * * *", SWEEP_JOB)
