"""A charge takes what is due here, or is not made; whoever asks for one learns how it ended."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from finops.billing.v1 import invoice_model_pb2 as models
from finops.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from finops.billing.v1.invoice_messages_pb2 import PayInvoiceRequest

from services.billing.bootstrap import Peers, build
from services.billing.domain.credit_note import CreditNote
from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import InvoiceState
from services.billing.domain.operation import Step
from services.billing.domain.payment import AttemptState, PaymentAttempt
from services.billing.domain.provider import RemoteInvoice, RemoteState
from services.billing.errors import ChargeUnderWay, CreditNoteStateForbids
from services.billing.service.crediting import CreditNotes, WantedCredit
from services.billing.service.credits import Credits
from services.billing.service.journal import BillingFeed, Journal
from services.billing.service.moving import InvoiceMoves, locked_invoice
from services.billing.service.paying import Paying
from services.billing.service.provider.payments import Transfer
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.steps import StepWaits
from services.billing.service.provider.work import ProviderWork
from services.billing.store import invoices, payments
from services.kernel.caller import Caller, acting_as
from services.kernel.client import PeerChannel
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.jobs import Job
from services.kernel.money import Money
from services.kernel.pagination import PageTokens
from tests.billing.conftest import Billing, settings_of
from tests.billing.provider.seeding import (
    Seeded,
    add_account,
    add_locked_invoice,
    use_stripe,
    work_of,
)
from tests.support.server import refused, serving
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


def on_pay(fault: Fault, *, times: int = 1) -> Plan:
    """Returns a plan that meets the first charges with a fault."""
    left = iter(range(times))

    def plan(asked: Recorded) -> Fault | None:
        is_charge = asked.operation_id == "PostInvoicesInvoicePay"
        return fault if is_charge and next(left, None) is not None else None

    return plan


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


async def test_what_is_credited_before_the_charge_is_not_charged(stage: Stage) -> None:
    begun = await stage.begin()
    note = await stage.credit("5.00")

    with pytest.raises(StepWaits):
        await stage.work.collecting.charge(stage.tenant, begun)
    before = await stage.charges()
    await stage.tell(note)
    await stage.work.collecting.charge(stage.tenant, begun)

    due = stage.seeded.total - note.total
    attempt, invoice = await stage.attempt(begun), await stage.invoice()
    assert (before, await stage.charges()) == ([], [due])
    assert (attempt.state, attempt.amount) == (AttemptState.SUCCEEDED, Money("EUR", due))
    assert (invoice.state, invoice.amount_paid) == (InvoiceState.PAID, due)


async def test_while_a_charge_is_under_way_nothing_changes_what_is_due(stage: Stage) -> None:
    begun = await stage.begin()
    stage.edge.plan = on_pay(Fault.LOST_AFTER)
    with pytest.raises(StepWaits):
        await stage.work.collecting.charge(stage.tenant, begun)

    with pytest.raises(ChargeUnderWay) as refusal:
        await stage.credit("5.00")
    with pytest.raises(ChargeUnderWay):
        await stage.transfer(Decimal(1))
    await stage.work.collecting.charge(stage.tenant, begun)

    assert refusal.value.reason == "CHARGE_UNDER_WAY"
    assert await stage.charges() == [stage.seeded.total]
    assert (await stage.invoice()).state is InvoiceState.PAID


async def test_after_a_transfer_of_a_part_the_whole_is_not_charged(stage: Stage) -> None:
    await stage.transfer(Decimal("1.00"))
    begun = await stage.begin()

    await stage.work.collecting.charge(stage.tenant, begun)

    attempt = await stage.attempt(begun)
    assert (attempt.state, await stage.charges()) == (AttemptState.ERROR, [])
    assert "a part came in elsewhere" in attempt.error


async def test_a_credit_note_that_the_provider_knows_cannot_be_voided(stage: Stage) -> None:
    await stage.work.collecting.charge(stage.tenant, await stage.begin())
    async with stage.database.transaction(stage.tenant) as tx:
        await tx.driver.execute(
            "INSERT INTO billing.credit_note (tenant_id, credit_note_id, invoice_id, account_id,"
            " number, state, reason, settlement, currency_code, subtotal, tax_total, total,"
            " author, created_at) VALUES ($1, 'cn-9', $2, 'a', 'CN-9', 'issued', 'x', 'refund',"
            " 'EUR', 1, 0, 1, 'ada', now())",
            *(stage.tenant, stage.seeded.invoice_id),
        )
        await stage.work.closing._steps.begin(
            *(tx, "cn:cn-9", Step.CREDIT), provider="stripe", request="1 refund"
        )

    with (
        acting_as(replace(ADA, tenant_id=stage.tenant)),
        pytest.raises(CreditNoteStateForbids, match="told of it"),
    ):
        await stage.notes.void_credit_note(stage.tenant, "cn-9", "wrong")


@pytest.fixture
async def serving_stage(
    stage: Stage, usage_channel: PeerChannel, billing_database: Database
) -> AsyncIterator[Any]:
    """The service's own calls before the same peer."""
    built = build(
        billing_database,
        Peers(usage=usage_channel, budget=usage_channel),
        settings_of(stripe_address=stage.edge.url),
        clock=SystemClock(),
    )
    async with serving(
        *built.servicers, database=billing_database, envelope=built.envelope
    ) as server:
        yield BillingServiceStub(server.channel("org_admin", tenant=stage.tenant))
    await built.close_providers()


async def test_whoever_pays_gets_the_paid_invoice_once(stage: Stage, serving_stage: Any) -> None:
    request = PayInvoiceRequest(invoice_id=stage.seeded.invoice_id, request_id="pay-1")

    first = (await serving_stage.PayInvoice(request)).invoice
    second = (await serving_stage.PayInvoice(request)).invoice

    assert [first.state, second.state] == [models.INVOICE_STATE_PAID] * 2
    assert await stage.charges() == [stage.seeded.total]


async def test_a_decline_is_told_to_whoever_pays_and_the_next_method_works(
    stage: Stage, serving_stage: Any
) -> None:
    overlay, customer = stage.edge.overlay, await stage.customer()
    await overlay.give_card(customer, DECLINES)
    asked = PayInvoiceRequest(invoice_id=stage.seeded.invoice_id, request_id="pay-1")

    declined = await refused(serving_stage.PayInvoice(asked))
    again = await refused(serving_stage.PayInvoice(asked))
    pays = len(stage.edge.sent("PostInvoicesInvoicePay"))
    after = await stage.invoice()
    await overlay.give_card(customer, WORKS)
    paid = await serving_stage.PayInvoice(
        PayInvoiceRequest(invoice_id=stage.seeded.invoice_id, request_id="pay-2")
    )

    assert declined.code is grpc.StatusCode.FAILED_PRECONDITION
    assert [declined.reason, again.reason] == ["PAYMENT_DECLINED"] * 2
    assert declined.metadata["decline_code"] != ""
    assert (pays, after.state, after.attempt_count) == (1, InvoiceState.PAST_DUE, 0)
    assert paid.invoice.state == models.INVOICE_STATE_PAID


async def test_where_the_provider_is_silent_the_charge_goes_on(
    stage: Stage, billing_database: Database
) -> None:
    paying = Paying(billing_database, stage.work.collecting, wait=timedelta(seconds=0.3))
    stage.edge.plan = on_pay(Fault.LOST_BEFORE, times=1000)

    with acting_as(replace(ADA, tenant_id=stage.tenant)):
        unknown = await paying.pay_invoice(stage.tenant, stage.seeded.invoice_id)
    async with billing_database.read(stage.tenant) as tx:
        running = await payments.running_attempt(tx, stage.tenant, stage.seeded.invoice_id)
    assert running is not None
    stage.edge.plan = on_pay(Fault.LOST_BEFORE, times=0)
    await stage.work.collecting.charge(stage.tenant, running)

    assert unknown.state is InvoiceState.OPEN
    assert await stage.charges() == [stage.seeded.total]


@pytest.fixture
async def opened(billing: Billing, billing_database: Database) -> Seeded:
    """An invoice that the offline provider has opened."""
    account_id = await add_account(billing_database, billing.tenant)
    seeded = await add_locked_invoice(billing_database, billing.tenant, account_id)
    work = work_of(billing_database, Providers(billing_database, Envelope([])))
    await work.pushing.push(seeded.tenant_id, seeded.invoice_id)
    return seeded


async def test_what_no_provider_can_charge_is_refused_with_its_reason(
    billing: Billing, opened: Seeded
) -> None:
    stub = BillingServiceStub(billing.channel())

    refusal = await refused(stub.PayInvoice(PayInvoiceRequest(invoice_id=opened.invoice_id)))

    assert refusal.reason == "PROVIDER_REFUSED"
    assert "bank transfer" in refusal.message


async def test_what_the_provider_voids_waits_for_the_next_invoice(
    billing: Billing, billing_database: Database, opened: Seeded
) -> None:
    async with billing_database.transaction(billing.tenant) as tx:
        await tx.driver.execute(
            "INSERT INTO billing.pending_line (tenant_id, account_id, line_key, subscription_id,"
            " currency_code, line, invoice_id, created_at)"
            " VALUES ($1, 'a', 'fee', 's', 'EUR', '{}', $2, $3)",
            *(billing.tenant, opened.invoice_id, datetime.now(UTC)),
        )
    providers = Providers(billing_database, Envelope([]))
    work = work_of(billing_database, providers)
    there = await work.providers.of(billing.tenant)
    async with billing_database.read(billing.tenant) as tx:
        known = await tx.driver.fetchval(
            "SELECT provider_invoice_id FROM billing.invoice WHERE invoice_id = $1",
            opened.invoice_id,
        )
    void = RemoteInvoice(
        provider_invoice_id=known,
        state=RemoteState.VOID,
        currency_code="EUR",
        total=opened.total,
        amount_paid=Decimal(0),
        amount_due=Decimal(0),
    )

    has_changed = await work.following.learn(billing.tenant, opened.invoice_id, there, void)

    async with billing_database.read(billing.tenant) as tx:
        waiting = await tx.driver.fetchrow(
            "SELECT line_key, invoice_id FROM billing.pending_line WHERE tenant_id = $1",
            billing.tenant,
        )
    assert has_changed
    assert waiting is not None
    assert tuple(waiting) == ("fee", None)
