"""Compares invoices and payments with the provider, and repairs only what it may.

It finds what webhooks failed to tell: lost events come in again, and what is further along at the
provider is followed. Anything about money waits for a person.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from opentelemetry import metrics

from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import InvoiceState
from services.billing.domain.provider import ProviderKind
from services.billing.domain.reconciliation import (
    Cause,
    Diff,
    DiffState,
    Reconciliation,
    ReconciliationState,
    Repair,
    Resolution,
    Scope,
    compare_invoice,
    compare_payments,
    unknown_invoice,
)
from services.billing.errors import (
    ReconciliationDiffClosed,
    ReconciliationDiffNotFound,
    ReconciliationNotFound,
)
from services.billing.service.comparing_usage import UsageComparison
from services.billing.service.provider.following import Following
from services.billing.service.provider.metered import MeteredInvoices
from services.billing.service.provider.polling import FIRST_WINDOW, OVERLAP, Polling
from services.billing.service.provider.port import ProviderFault
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.queue import RECONCILE_JOB
from services.billing.service.provider.settling import Settling
from services.billing.store import invoices, metering, payment_methods, payments
from services.billing.store import reconciliations as rows
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.ids import new_id
from services.kernel.jobs import Job, enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.transaction import Transaction

HOURLY_JOB = "provider_reconcile_hourly"
NIGHTLY_JOB = "provider_reconcile_nightly"

log = structlog.get_logger(__name__)
_found = metrics.get_meter("finops.billing").create_counter(
    "finops_reconciliation_diffs_total", description="Differences with the provider, by kind."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare. start: None for an hour before the last one; end: None for now."""

    scope: Scope
    start: datetime | None = None
    end: datetime | None = None
    repair: bool = False


class Reconciling:
    """The use cases of reconciliation, and the worker's part."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        following: Following,
        usage: UsageComparison,
        settling: Settling,
        *,
        metered: MeteredInvoices,
        polling: Polling,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """following: learns from fetched objects. usage: compares what was billed of it.

        settling: books what the provider pays out. metered: compares what its meters price.
        polling: takes in what no webhook told.
        """
        self._database = database
        self._providers = providers
        self._following = following
        self._usage = usage
        self._settling = settling
        self._metered = metered
        self._polling = polling
        self._tokens = tokens
        self._clock = clock

    async def reconcile(self, tenant_id: str, wanted: Wanted) -> Reconciliation:
        """Queues a comparison. Raises InvalidPeriod."""
        async with self._database.transaction(tenant_id) as tx:
            found = await self._begin(tx, tenant_id, wanted, Cause.REQUEST)
            await audit.append(
                tx,
                action="reconciliations.create",
                resource=f"reconciliations/{found.reconciliation_id}",
                after={"scope": wanted.scope, "repair": wanted.repair},
            )
        return found

    async def _begin(
        self, tx: Transaction, tenant_id: str, wanted: Wanted, cause: Cause
    ) -> Reconciliation:
        now = self._clock.now()
        last = await rows.last_end(tx, tenant_id, wanted.scope)
        begin = wanted.start or (now - FIRST_WINDOW if last is None else last - OVERLAP)
        found = Reconciliation(
            reconciliation_id=new_id(),
            scope=wanted.scope,
            cause=cause,
            state=ReconciliationState.PENDING,
            window=Period(begin, wanted.end or now),
            repair=wanted.repair,
            created_at=now,
        )
        await rows.add(tx, tenant_id, found)
        payload = json.dumps([tenant_id, found.reconciliation_id]).encode()
        await enqueue(tx, RECONCILE_JOB, payload, tenant_id=tenant_id)
        return found

    async def run_hourly(self, _: Job) -> None:
        """Begins a light comparison of every tenant whose invoices are at a provider."""
        await self._begin_all(Scope.LIGHT, Cause.HOURLY)

    async def run_nightly(self, _: Job) -> None:
        """Begins a full comparison of every tenant whose invoices are at a provider."""
        await self._begin_all(Scope.FULL, Cause.NIGHTLY)

    async def _begin_all(self, scope: Scope, cause: Cause) -> None:
        async with self._database.system_transaction() as tx:
            for tenant_id in await rows.tenants_there(tx):
                await self._begin(tx, tenant_id, Wanted(scope, repair=True), cause)

    async def recover_usage(self, tx: Transaction) -> None:
        """Begins to compare invoices of all tenants with usage, as changes of it were lost."""
        for tenant_id, as_of_at in (await metering.metered_tenants(tx)).items():
            # What was lost came after that, but may be of hours before.
            start = None if as_of_at is None else as_of_at - FIRST_WINDOW
            await self._begin(tx, tenant_id, Wanted(Scope.USAGE, start), Cause.RECOVERY)

    async def run(self, job: Job) -> None:
        """Does the comparison that the job names; a repetition finds nothing twice."""
        tenant_id, reconciliation_id = json.loads(job.payload)
        async with self._database.read(tenant_id) as tx:
            found = await rows.find(tx, tenant_id, reconciliation_id)
        if found is None or found.state is ReconciliationState.SUCCEEDED:
            return
        try:
            done = await self._compare(tenant_id, found)
        except (ProviderFault, Error) as fault:
            failed = replace(
                found,
                state=ReconciliationState.FAILED,
                error=str(fault)[:500],
                ended_at=self._clock.now(),
            )
            async with self._database.transaction(tenant_id) as tx:
                await rows.save(tx, tenant_id, failed)
            raise
        async with self._database.transaction(tenant_id) as tx:
            await rows.save(tx, tenant_id, done)
        log.info("reconciled", tenant=tenant_id, diffs=done.diff_count, fixed=done.repaired_count)

    async def _compare(self, tenant_id: str, found: Reconciliation) -> Reconciliation:
        opened = await self._providers.of(tenant_id)
        compared, diffs, repaired = 0, 0, 0
        async for diff in self._found(tenant_id, opened, found):
            if diff is None:
                compared += 1
                continue
            diffs += 1
            repaired += await self._note(tenant_id, opened, found, diff)
        return replace(
            found,
            state=ReconciliationState.SUCCEEDED,
            compared_count=compared,
            total_count=compared,
            diff_count=diffs,
            repaired_count=repaired,
            error="",
            ended_at=self._clock.now(),
        )

    async def _found(
        self, tenant_id: str, opened: Opened, found: Reconciliation
    ) -> AsyncIterator[Diff | None]:
        """Yields each difference of the scope, and None after each object."""
        if found.scope is Scope.USAGE:
            async for diff in self._usage.differences(tenant_id, found.window):
                yield diff
            async for untold in self._metered.untold(tenant_id, opened):
                yield untold
        elif opened.settings.kind is ProviderKind.STRIPE:
            if found.cause is Cause.REQUEST:
                # By itself each account is read once an hour, not once for each of its tenants.
                await self._polling.take_in(opened, found.window)
            is_full = found.scope is Scope.FULL
            async for diff in self._differences(tenant_id, opened, found, is_full=is_full):
                yield diff
            async for metered in self._metered.differences(
                tenant_id, opened, found.window, is_full=is_full
            ):
                yield metered

    async def _differences(
        self, tenant_id: str, opened: Opened, found: Reconciliation, *, is_full: bool
    ) -> AsyncIterator[Diff | None]:
        """Yields each difference, and None after each object."""
        provider, window = opened.provider, found.window
        async with self._database.read(tenant_id) as tx:
            known = await rows.invoices_there(tx, tenant_id, window if is_full else None)
        for invoice_id in known:
            invoice = await self._invoice(tenant_id, invoice_id)
            if invoice is None:
                continue
            async with opened.turn():
                remote = await provider.fetch_invoice(invoice.provider_invoice_id)
            for diff in compare_invoice(invoice, remote):
                yield diff
            if found.repair and remote is not None and invoice.state is InvoiceState.PROCESSING:
                # Open on both sides, a debit may have failed meanwhile.
                await self._following.learn(tenant_id, invoice_id, opened, remote)
            if is_full and remote is not None:
                async for diff in self._payment_differences(tenant_id, opened, invoice):
                    yield diff
            yield None
        if is_full:
            async for unknown in self._unknown(tenant_id, opened, window):
                yield unknown

    async def _payment_differences(
        self, tenant_id: str, opened: Opened, invoice: Invoice
    ) -> AsyncIterator[Diff]:
        there = invoice.provider_invoice_id
        async with opened.turn():
            theirs = await opened.provider.payments_of(there, is_detailed=True)
        async with self._database.read(tenant_id) as tx:
            ours = await payments.payments_of_invoice(tx, tenant_id, invoice.invoice_id)
        await self._settling.record(tenant_id, ours, theirs)
        # Until ours follows, a charge that only they know is no more than that.
        if invoice.paid_at is None and len(theirs) < 2:  # noqa: PLR2004 - one charge too many
            return
        for diff in compare_payments(invoice, ours, theirs):
            yield diff

    async def _unknown(
        self, tenant_id: str, opened: Opened, window: Period
    ) -> AsyncIterator[Diff | None]:
        async for remote in opened.provider.invoices_since(window.start, window.end):
            if remote.tenant_id != tenant_id:
                continue
            async with self._database.read(tenant_id) as tx:
                known = await payment_methods.provider_invoice(tx, tenant_id, remote.invoice_id)
            diff = unknown_invoice(remote, is_ours=bool(remote.invoice_id), known_id=known)
            if diff is not None:
                yield diff
            yield None

    async def _invoice(self, tenant_id: str, invoice_id: str) -> Invoice | None:
        async with self._database.read(tenant_id) as tx:
            return await invoices.find_invoice(tx, tenant_id, invoice_id)

    async def _note(self, tenant_id: str, opened: Opened, found: Reconciliation, diff: Diff) -> int:
        """Stores a difference, repairs it where that is allowed, and returns whether it did."""
        repaired = found.repair and await self._repair(tenant_id, opened, diff)
        noted = replace(
            diff,
            diff_id=new_id(),
            reconciliation_id=found.reconciliation_id,
            state=DiffState.REPAIRED if repaired else DiffState.OPEN,
            created_at=self._clock.now(),
        )
        async with self._database.transaction(tenant_id) as tx:
            await rows.add_diff(tx, tenant_id, noted)
        _found.add(1, {"kind": diff.kind.value, "repaired": repaired})
        return int(repaired)

    async def _repair(self, tenant_id: str, opened: Opened, diff: Diff) -> bool:
        provider = opened.provider
        if diff.repair is Repair.DELETE_DRAFT:
            async with opened.turn():
                await provider.delete_draft(diff.provider_object_id)
            return True
        if diff.repair is not Repair.FOLLOW:
            return False
        async with opened.turn():
            remote = await provider.fetch_invoice(diff.provider_object_id)
        if remote is None:
            return False
        return await self._following.learn(tenant_id, diff.invoice_id, opened, remote)

    async def get_reconciliation(self, tenant_id: str, reconciliation_id: str) -> Reconciliation:
        """Returns a reconciliation. Raises ReconciliationNotFound."""
        async with self._database.read(tenant_id) as tx:
            found = await rows.find(tx, tenant_id, reconciliation_id)
        if found is None:
            raise ReconciliationNotFound(reconciliation_id=reconciliation_id)
        return found

    async def list_reconciliations(self, page: PageRequest) -> Page[Reconciliation]:
        """Returns a page of reconciliations."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_reconciliations(tx, page, self._tokens)

    async def list_reconciliation_diffs(
        self, page: PageRequest, *, reconciliation_id: str
    ) -> Page[Diff]:
        """Returns a page of differences."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_diffs(
                tx, page, self._tokens, reconciliation_id=reconciliation_id
            )

    async def resolve_reconciliation_diff(
        self, tenant_id: str, diff_id: str, resolution: Resolution, note: str
    ) -> Diff:
        """Closes a difference. Raises ReconciliationDiffNotFound, ReconciliationDiffClosed."""
        async with self._database.transaction(tenant_id) as tx:
            diff = await rows.find_diff(tx, tenant_id, diff_id)
            if diff is None:
                raise ReconciliationDiffNotFound(diff_id=diff_id)
            if diff.state is not DiffState.OPEN:
                raise ReconciliationDiffClosed(diff_id=diff_id, state=diff.state.value)
            closed = replace(
                diff,
                state=DiffState.RESOLVED,
                resolved_by=current_caller().subject,
                note=note,
            )
            await rows.close_diff(tx, tenant_id, closed, resolution)
            await audit.append(
                tx,
                action="reconciliation_diffs.resolve",
                resource=f"reconciliation-diffs/{diff_id}",
                before={"state": diff.state},
                after={"state": closed.state, "resolution": resolution, "note": note},
            )
        return closed
