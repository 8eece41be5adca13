"""Collects an invoice because somebody asks for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

from services.billing.domain.invoice_record import Invoice
from services.billing.domain.payment import AttemptState, PaymentAttempt
from services.billing.errors import InvoiceNotFound, PaymentDeclined, ProviderRefused
from services.billing.service.moving import locked_invoice
from services.billing.service.provider.collecting import Collecting
from services.billing.service.provider.steps import StepWaits
from services.billing.store import invoices, payments
from services.kernel import audit
from services.kernel.database import Database
from services.kernel.idempotency import RequestIdReused

WAIT: Final = timedelta(seconds=10)  # less than callers wait for an answer by default
METHOD: Final = "finops.billing.v1.BillingService/PayInvoice"


class Paying:
    """The use case of paying now."""

    def __init__(
        self, database: Database, collecting: Collecting, *, wait: timedelta = WAIT
    ) -> None:
        """wait: for an outcome, at most."""
        self._database = database
        self._collecting = collecting
        self._wait = wait

    async def pay_invoice(
        self, tenant_id: str, invoice_id: str, *, payment_method_id: str = "", request_id: str = ""
    ) -> tuple[Invoice, PaymentAttempt]:
        """Charges an invoice, which does not advance the dunning schedule, and says how it ended.

        Where the provider does not tell in time, a worker goes on, and the attempt is STARTED; it
        may still be declined. A debit that takes days is PROCESSING. A charge under way is not
        doubled, and the same request_id charges once.
        Raises InvoiceNotFound, InvoiceStateForbids, PaymentDeclined, ProviderRefused,
        RequestIdReused.
        """
        attempt = await self._begun(tenant_id, invoice_id, payment_method_id, request_id)
        if attempt.state is AttemptState.STARTED:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait.total_seconds()):
                    await self._outcome(tenant_id, attempt)
        async with self._database.read(tenant_id) as tx:
            ended = await payments.find_attempt(tx, tenant_id, attempt_id=attempt.attempt_id)
            invoice = await invoices.find_invoice(tx, tenant_id, invoice_id)
        if invoice is None:
            raise InvoiceNotFound(invoice_id=invoice_id)
        attempt = ended or attempt
        _require_taken(attempt, invoice)
        return invoice, attempt

    async def _begun(
        self, tenant_id: str, invoice_id: str, payment_method_id: str, request_id: str
    ) -> PaymentAttempt:
        """Writes the attempt down, with a worker that sees to it if nobody else can."""
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            attempt: PaymentAttempt | None = None
            if request_id:
                attempt = await payments.find_attempt(tx, tenant_id, request_id=request_id)
            if attempt is not None and attempt.invoice_id != invoice_id:
                raise RequestIdReused(request_id=request_id, method=METHOD)
            is_new = attempt is None
            if attempt is None:
                attempt = await self._collecting.begin_manual(
                    tx,
                    invoice,
                    payment_method_id=payment_method_id,
                    request_id=request_id,
                    worker_delay=self._wait,
                )
            await audit.append(
                tx,
                action="invoices.pay" if is_new else "invoices.pay_again",
                resource=f"invoices/{invoice_id}",
                after={"attempt_id": attempt.attempt_id, "amount": str(attempt.amount)},
            )
        return attempt

    async def _outcome(self, tenant_id: str, attempt: PaymentAttempt) -> None:
        while True:
            try:
                return await self._collecting.charge(tenant_id, attempt)
            except StepWaits as wait:
                await asyncio.sleep(wait.delay.total_seconds())


def _require_taken(attempt: PaymentAttempt, invoice: Invoice) -> None:
    """Raises what the attempt failed with."""
    if attempt.state is AttemptState.DECLINED:
        raise PaymentDeclined(
            decline_code=attempt.decline_code, retryable=str(attempt.retryable).lower()
        )
    if attempt.state is AttemptState.ACTION_REQUIRED:
        raise PaymentDeclined(decline_code=attempt.decline_code, hosted_url=invoice.hosted_url)
    if attempt.state is AttemptState.ERROR:
        raise ProviderRefused(attempt.error or "The payment provider refused the charge.")
