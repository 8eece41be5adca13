"""What time alone does to invoices: drafts whose grace ends, and what nobody paid by its day."""

from __future__ import annotations

from typing import Final

import structlog

from services.billing.domain.invoice_state import InvoiceState
from services.billing.service.invoicing import Invoices
from services.billing.service.moving import SYSTEM, InvoiceMoves, locked_invoice
from services.billing.store import invoices as rows
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.jobs import Job

JOB: Final = "mature_invoices"
BATCH: Final = 2_000  # invoices a minute; each is its own transaction

log = structlog.get_logger(__name__)


class Maturing:
    """Locks drafts and marks overdue invoices, over all tenants."""

    def __init__(
        self, database: Database, invoices: Invoices, moves: InvoiceMoves, *, clock: Clock
    ) -> None:
        """Takes what locks and moves invoices."""
        self._database = database
        self._invoices = invoices
        self._moves = moves
        self._clock = clock

    async def run(self, _: Job) -> None:
        """Does what is due; one invoice that fails stops no other."""
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            drafts = await rows.drafts_to_finalize(tx, now, BATCH)
            overdue = await rows.overdue_invoices(tx, now, BATCH)
        for work, found in ((self._invoices.finalize_due, drafts), (self._mark_overdue, overdue)):
            for tenant_id, invoice_id in found:
                try:
                    await work(tenant_id, invoice_id)
                except Error as error:
                    log.warning("invoice waits", invoice=invoice_id, reason=error.reason)
                except Exception:
                    log.exception("invoice waits", invoice=invoice_id, tenant=tenant_id)

    async def _mark_overdue(self, tenant_id: str, invoice_id: str) -> None:
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            if invoice.state is not InvoiceState.OPEN or invoice.due_at is None:
                return
            if invoice.due_at < now:
                await self._moves.move(
                    tx,
                    invoice,
                    InvoiceState.PAST_DUE,
                    actor=SYSTEM,
                    description="Not paid by its day.",
                    now=now,
                )
