"""Billing runs: every account is one transaction, so a run goes on from wherever it stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from services.billing.domain.billing_run import (
    RESUMABLE,
    RUNNING,
    BillingRun,
    ItemState,
    RunItem,
    RunKind,
    RunState,
    told,
)
from services.billing.domain.invoice_period import month_of, periods_of_month
from services.billing.errors import (
    AccountNotFound,
    BillingRunNotFound,
    BillingRunStateForbids,
    NothingToInvoice,
    PeriodNotOver,
)
from services.billing.service.chargeback import queue_chargeback
from services.billing.service.invoicing import Invoices, Wanted
from services.billing.service.issuing import Issuing
from services.billing.service.moving import SYSTEM
from services.billing.store import accounts as account_rows
from services.billing.store import runs as rows
from services.billing.tables.base import GLOBAL_TENANT
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.ids import new_id
from services.kernel.jobs import Job, enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens

RUN_JOB: Final = "billing_run"
DAILY_JOB: Final = "billing_daily"
CONCURRENCY: Final = 4  # accounts at once: what two cores can compute while the database writes
BATCH: Final = 200  # pending accounts looked up at once; a cancellation is seen after so many
SENT_CHECK: Final = timedelta(seconds=5)  # between two looks at what the provider still lacks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRun:
    """Which run is asked for. month: `YYYY-MM`, default the last full one."""

    tenant_ids: Sequence[str] = ()
    month: str = ""
    finalize: bool = False
    dry_run: bool = False


class BillingRuns:
    """Starts, follows, stops and resumes runs."""

    def __init__(
        self,
        database: Database,
        invoices: Invoices,
        issuing: Issuing,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes what makes one invoice."""
        self._database = database
        self._invoices = invoices
        self._issuing = issuing
        self._tokens = tokens
        self._clock = clock

    async def run_billing(self, wanted: WantedRun) -> BillingRun:
        """Starts a run over all tenants, or some; a worker does it.

        Raises PeriodNotOver for a month that has not begun, AccountNotFound.
        """
        actor = current_caller().subject
        async with self._database.system_transaction() as tx:
            month = month_of(wanted.month, "UTC") if wanted.month else None
            # Months begin up to a day apart in the zones of the world.
            if month is not None and month.start > self._clock.now() + timedelta(days=1):
                raise PeriodNotOver(end=month.end.isoformat())
            strangers = await account_rows.without_account(tx, wanted.tenant_ids)
            if strangers:
                raise AccountNotFound(
                    f"No billing account exists of {', '.join(strangers)}; create it first, or"
                    " leave the tenant out.",
                    tenant_ids=", ".join(strangers),
                )
            run = await self.start(tx, wanted, actor=actor)
            await audit.append(
                tx,
                action="runs.start",
                resource=f"runs/{run.run_id}",
                after={"month": run.month, "finalize": run.finalize, "dry_run": run.dry_run},
                tenant_id=current_caller().tenant_id,
            )
        return run

    async def start(
        self, tx: Transaction, wanted: WantedRun, *, actor: str, automated_only: bool = False
    ) -> BillingRun:
        """Stores a run with its accounts, and queues it."""
        now = self._clock.now()
        run = BillingRun(
            tenant_id=GLOBAL_TENANT,
            run_id=new_id(),
            kind=RunKind.INVOICES,
            state=RunState.PENDING,
            month=wanted.month or _last_month(now),
            finalize=wanted.finalize,
            dry_run=wanted.dry_run,
            actor=actor,
            created_at=now,
        )
        await rows.add_run(tx, run)
        month = month_of(run.month, "UTC")
        await rows.add_accounts(
            tx,
            run,
            # Months begin up to a day apart in the zones of the world.
            start=month.start - timedelta(days=1),
            end=month.end + timedelta(days=1),
            tenant_ids=wanted.tenant_ids,
            automated_only=automated_only,
        )
        await self.queue(tx, run.run_id)
        found = await rows.find_run(tx, run.run_id)
        return found or run

    async def queue(self, tx: Transaction, run_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Queues a run's next stretch; a worker takes one at a time."""
        payload = json.dumps({"run_id": run_id}).encode()
        key = None if delay else f"{RUN_JOB}:{run_id}"
        await enqueue(tx, RUN_JOB, payload, delay=delay, key=key)

    async def start_daily(self, _: Job) -> None:
        """Starts the run of the calendar: accounts that are billed by themselves."""
        async with self._database.system_transaction() as tx:
            await self.start(tx, WantedRun(), actor=SYSTEM, automated_only=True)

    async def get_billing_run(self, tenant_id: str, run_id: str) -> BillingRun:
        """Returns a run; a tenant sees its own part. Raises BillingRunNotFound."""
        async with self._looking(tenant_id) as tx:
            return await _load(tx, run_id)

    async def list_billing_runs(self, page: PageRequest) -> Page[BillingRun]:
        """Returns a page of runs."""
        async with self._looking(page.tenant_id) as tx:
            return await rows.list_runs(tx, page, self._tokens)

    async def list_billing_run_items(self, page: PageRequest, run_id: str) -> Page[RunItem]:
        """Returns a page of what a run did for each account. Raises BillingRunNotFound."""
        async with self._looking(page.tenant_id) as tx:
            await _load(tx, run_id)
            return await rows.list_items(tx, page, self._tokens, run_id=run_id)

    async def resume_billing_run(self, run_id: str, *, retry_failed: bool) -> BillingRun:
        """Goes on with a stopped run; what is done stays done.

        Raises BillingRunNotFound, BillingRunStateForbids.
        """
        async with self._database.system_transaction() as tx:
            run = await _load(tx, run_id, is_locked=True)
            if run.state not in RESUMABLE:
                raise BillingRunStateForbids(state=run.state.value)
            if retry_failed:
                await rows.retry_failed(tx, run_id, self._clock.now())
            await rows.set_state(tx, run_id, RunState.PENDING, ended_at=None)
            if run.kind is RunKind.CHARGEBACK:
                await queue_chargeback(tx, run)
            else:
                await self.queue(tx, run_id)
            await _audited(tx, "runs.resume", run)
            return await _load(tx, run_id)

    async def cancel_billing_run(self, run_id: str) -> BillingRun:
        """Stops a run after the accounts under way. Raises as `resume_billing_run`."""
        async with self._database.system_transaction() as tx:
            run = await _load(tx, run_id, is_locked=True)
            if run.state not in RUNNING:
                raise BillingRunStateForbids(state=run.state.value)
            await rows.set_state(tx, run_id, RunState.CANCELLED, ended_at=self._clock.now())
            await _audited(tx, "runs.cancel", run)
            return await _load(tx, run_id)

    async def work(self, job: Job) -> None:
        """Does a run's accounts until it is through or stopped: the queue's handler."""
        run_id = json.loads(job.payload)["run_id"]
        async with self._database.system_transaction() as tx:
            run = await rows.find_run(tx, run_id, is_locked=True)
            if run is None or run.kind is not RunKind.INVOICES or run.state not in RUNNING:
                return
            if run.state is RunState.PENDING:
                started_at = run.started_at or self._clock.now()
                await rows.set_state(tx, run_id, RunState.LOCKING, started_at=started_at)
        while await self._stretch(run):
            log.info("billing run goes on", run=run_id)
        await self._conclude(run_id)

    async def _stretch(self, run: BillingRun) -> bool:
        """Does some accounts, several at once; False when none is left or the run was stopped."""
        async with self._database.system_transaction() as tx:
            now = await rows.find_run(tx, run.run_id)
            items = await rows.pending_items(tx, run.run_id, BATCH)
        if now is None or now.state not in RUNNING or not items:
            return False
        waiting = iter(items)

        async def lane() -> None:
            for item in waiting:
                await self._bill(run, item)

        await asyncio.gather(*(lane() for _ in range(CONCURRENCY)))
        return True

    async def _bill(self, run: BillingRun, item: RunItem) -> None:
        """Bills one account; whatever goes wrong with it is its own."""
        try:
            async with self._database.transaction(item.tenant_id) as tx:
                if not await rows.claim_item(tx, item):
                    return
                done = await self._billed(tx, run, item)
                await rows.save_item(tx, done)
        except Exception as error:
            if isinstance(error, Error):
                # The account's own trouble, which its item tells.
                log.warning("account not billed", tenant=item.tenant_id, reason=error.reason)
            else:
                log.exception("account not billed", run=run.run_id, tenant=item.tenant_id)
            now = self._clock.now()
            failed = replace(item, state=ItemState.FAILED, error=told(error), updated_at=now)
            async with self._database.transaction(item.tenant_id) as tx:
                await rows.save_item(tx, failed)

    async def _billed(self, tx: Transaction, run: BillingRun, item: RunItem) -> RunItem:
        now = self._clock.now()
        parties = await self._issuing.parties(
            tx, item.tenant_id, account_id=item.account_id, subscription_id=item.item_id
        )
        over = [
            period
            for period in periods_of_month(parties.subscription, run.month)
            if period.end <= now
        ]
        state, invoice_id, total = ItemState.SKIPPED, "", None
        for period in over:
            wanted = Wanted(
                tenant_id=item.tenant_id,
                account_id=item.account_id,
                subscription_id=item.item_id,
                period=period,
                finalize=run.finalize,
                run_id=run.run_id,
            )
            try:
                if run.dry_run:
                    invoice = await self._invoices.compute(tx, wanted, parties)
                else:
                    invoice = await self._invoices.generate(
                        tx, wanted, actor=run.actor, parties=parties
                    )
                    invoice_id = invoice.invoice_id
            except (NothingToInvoice, PeriodNotOver):
                continue
            state = ItemState.DONE
            made = invoice.money(invoice.total)
            total = made if total is None else total + made
        return replace(item, state=state, invoice_id=invoice_id, total=total, updated_at=now)

    async def _conclude(self, run_id: str) -> None:
        """Ends a run once nothing is left to do, or looks again later."""
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            run = await rows.find_run(tx, run_id, is_locked=True)
            if run is None or run.state not in RUNNING or run.counts.get(ItemState.PENDING):
                return
            if await rows.unsent_invoices(tx, run_id):
                await rows.set_state(tx, run_id, RunState.PUSHING)
                await self.queue(tx, run_id, delay=SENT_CHECK)
                return
            await rows.set_state(tx, run_id, run.outcome(), ended_at=now)

    def _looking(self, tenant_id: str) -> AbstractAsyncContextManager[Transaction]:
        """Begins a look at all tenants for the platform, else at the tenant's own part."""
        if current_caller().is_platform_admin:
            return self._database.system_transaction()
        return self._database.read(tenant_id)


async def _load(tx: Transaction, run_id: str, *, is_locked: bool = False) -> BillingRun:
    run = await rows.find_run(tx, run_id, is_locked=is_locked)
    if run is None:
        raise BillingRunNotFound(run_id=run_id)
    return run


async def _audited(tx: Transaction, action: str, run: BillingRun) -> None:
    await audit.append(
        tx,
        action=action,
        resource=f"runs/{run.run_id}",
        before={"state": run.state.value},
        tenant_id=current_caller().tenant_id,
    )


def _last_month(now: datetime) -> str:
    first = now.astimezone(UTC).replace(day=1)
    return f"{first - timedelta(days=1):%Y-%m}"
