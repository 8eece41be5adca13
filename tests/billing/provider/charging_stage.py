"""An invoice that is open at the peer, and what charges and credits it, for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from services.billing.domain.credit_note import CreditNote
from services.billing.domain.invoice_record import Invoice
from services.billing.domain.payment import PaymentAttempt
from services.billing.service.crediting import CreditNotes, WantedCredit
from services.billing.service.credits import Credits
from services.billing.service.journal import BillingFeed, Journal
from services.billing.service.moving import InvoiceMoves, locked_invoice
from services.billing.service.provider.payments import Transfer
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.queue import CLOSE_JOB
from services.billing.service.provider.work import ProviderWork
from services.billing.store import invoices, payments
from services.kernel.caller import Caller, acting_as
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.jobs import Job
from services.kernel.money import Money
from services.kernel.pagination import PageTokens
from tests.billing.provider.seeding import (
    Seeded,
    add_account,
    add_locked_invoice,
    use_stripe,
    work_of,
)
from tests.support.stripe.edge import StripeEdge
from tests.support.stripe.faults import Fault, Plan
from tests.support.stripe.recording import Recorded

WORKS = {"token": "tok_visa"}
# It can be attached, and declines each charge.
DECLINES = {"number": "4000000000000341", "exp_month": "12", "exp_year": "2034", "cvc": "123"}
ADA = Caller(
    tenant_id="",
    subject="ada",
    roles=frozenset({"org_admin"}),
    permissions=frozenset({"*.*"}),
    is_service=False,
)


@dataclass
class Stage:
    """An invoice that is open at the peer, and what charges and credits it."""

    database: Database
    edge: StripeEdge
    work: ProviderWork
    notes: CreditNotes
    seeded: Seeded

    @property
    def tenant(self) -> str:
        return self.seeded.tenant_id

    async def invoice(self) -> Invoice:
        async with self.database.read(self.tenant) as tx:
            found = await invoices.find_invoice(tx, self.tenant, self.seeded.invoice_id)
        assert found is not None
        return found

    async def begin(self) -> PaymentAttempt:
        async with self.database.transaction(self.tenant) as tx:
            invoice = await locked_invoice(tx, self.tenant, self.seeded.invoice_id)
            return await self.work.collecting.begin_manual(tx, invoice)

    async def attempt(self, begun: PaymentAttempt) -> PaymentAttempt:
        async with self.database.read(self.tenant) as tx:
            found = await payments.find_attempt(tx, self.tenant, attempt_id=begun.attempt_id)
        assert found is not None
        return found

    async def credit(self, amount: str) -> CreditNote:
        wanted = WantedCredit(
            invoice_id=self.seeded.invoice_id, reason="Late", lines=[("line-1", Decimal(amount))]
        )
        with acting_as(replace(ADA, tenant_id=self.tenant)):
            return await self.notes.create_credit_note(self.tenant, wanted)

    async def tell(self, note: CreditNote) -> None:
        """Lets the worker tell the provider of a credit note."""
        subject = {"tenant_id": self.tenant, "invoice_id": note.credit_note_id}
        await self.work.closing.run_credit(Job(0, "", json.dumps(subject).encode(), 1, self.tenant))

    async def close(self) -> bool:
        """Lets the worker close the invoice at the peer; returns whether that was queued."""
        async with self.database.system_transaction() as tx:
            queued = await tx.driver.fetch(
                "DELETE FROM pgqueuer WHERE entrypoint = $1 AND headers->>'tenant' = $2"
                " RETURNING payload",
                *(CLOSE_JOB, self.tenant),
            )
        for row in queued:
            await self.work.closing.run(Job(0, "", row["payload"], 1, self.tenant))
        return bool(queued)

    async def transfer(self, amount: Decimal) -> None:
        with acting_as(replace(ADA, tenant_id=self.tenant)):
            await self.work.payments.record_payment(
                self.tenant,
                Transfer(
                    invoice_id=self.seeded.invoice_id,
                    amount=Money("EUR", amount),
                    reference=f"bank {amount}",
                ),
            )

    async def customer(self) -> str:
        """Returns the account's customer at the peer."""
        [found] = await self.edge.overlay.all_invoices()
        return str(found["customer"])

    async def charges(self) -> list[Decimal]:
        taken = await self.edge.overlay.all_charges()
        return [Decimal(charge["amount"]).scaleb(-2) for charge in taken]


def on(fault: Fault, operation_id: str, *, times: int = 1) -> Plan:
    """Returns a plan that meets the first calls of an operation with a fault."""
    left = iter(range(times))

    def plan(asked: Recorded) -> Fault | None:
        is_it = asked.operation_id == operation_id
        return fault if is_it and next(left, None) is not None else None

    return plan


def on_pay(fault: Fault, *, times: int = 1) -> Plan:
    """Returns a plan that meets the first charges with a fault."""
    return on(fault, "PostInvoicesInvoicePay", times=times)


@pytest.fixture
async def stage(
    billing_database: Database, envelope: Envelope, edge: StripeEdge, tenant: str
) -> AsyncIterator[Stage]:
    edge.overlay.card = WORKS
    account_id = await add_account(billing_database, tenant)
    await use_stripe(billing_database, envelope, tenant)
    providers = Providers(
        billing_database,
        envelope,
        base_url=edge.url,
        requests_per_second=1e6,
        timeout_seconds=2,
        open_seconds=0.1,
    )
    journal, tokens, clock = Journal(BillingFeed(billing_database)), PageTokens(b"x"), SystemClock()
    work = work_of(billing_database, providers, envelope)
    notes = CreditNotes(
        billing_database,
        InvoiceMoves(journal),
        Credits(billing_database, journal, tokens=tokens, clock=clock),
        journal,
        tokens=tokens,
        clock=clock,
    )
    seeded = await add_locked_invoice(billing_database, tenant, account_id, lines=1, seed=7)
    await work.pushing.push(tenant, seeded.invoice_id)
    yield Stage(billing_database, edge, work, notes, seeded)
    await providers.close()
