"""A charge takes what is due here, or is not made; whoever asks for one learns how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from finops.billing.v1 import invoice_model_pb2 as models
from finops.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from finops.billing.v1.invoice_messages_pb2 import PayInvoiceRequest
from finops.billing.v1.payment_model_pb2 import PAYMENT_ATTEMPT_STATE_SUCCEEDED

from services.billing.bootstrap import Peers, build
from services.billing.domain.invoice_state import InvoiceState
from services.billing.domain.operation import Step
from services.billing.domain.payment import AttemptState, PaymentState
from services.billing.domain.provider import RemoteInvoice, RemoteState
from services.billing.errors import ChargeUnderWay, CreditNoteStateForbids
from services.billing.service.paying import Paying
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.steps import StepWaits
from services.billing.store import payments
from services.kernel.caller import acting_as
from services.kernel.client import PeerChannel
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.money import Money
from tests.billing.conftest import Billing, settings_of
from tests.billing.provider.charging_stage import ADA, DECLINES, WORKS, Stage, on, on_pay
from tests.billing.provider.seeding import (
    Seeded,
    add_account,
    add_locked_invoice,
    work_of,
)
from tests.support.server import refused, serving
from tests.support.stripe.faults import Fault


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


async def test_while_a_credit_note_is_on_its_way_nothing_is_charged(stage: Stage) -> None:
    note = await stage.credit("5.00")
    stage.edge.plan = on(Fault.LOST_AFTER, "PostCreditNotes")
    await stage.tell(note)
    begun = await stage.begin()

    with pytest.raises(StepWaits):
        await stage.work.collecting.charge(stage.tenant, begun)
    before = await stage.charges()
    await stage.tell(note)
    await stage.work.collecting.charge(stage.tenant, begun)

    # The provider had made the note when the charge was asked for: only we did not know yet.
    assert (before, await stage.charges()) == ([], [stage.seeded.total - note.total])
    assert (await stage.invoice()).amount_due == 0


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


@pytest.mark.parametrize("amount", ["5.00", "6.00"])
async def test_what_is_credited_after_a_part_came_in_leaves_nothing_to_pay_there(
    stage: Stage, amount: str
) -> None:
    await stage.transfer(stage.seeded.total - Decimal("5.95"))
    await stage.close()
    [open_there] = await stage.edge.overlay.all_invoices()
    note = await stage.credit(amount)

    is_closed_before = await stage.close()
    await stage.tell(note)
    is_closed = await stage.close()

    [there] = await stage.edge.overlay.all_invoices()
    assert (is_closed_before, is_closed) == (False, True)
    assert (await stage.invoice()).state is InvoiceState.PAID
    assert (open_there["status"], there["status"]) == ("open", "paid")
    assert await stage.charges() == []


async def test_a_transfer_waits_for_the_credit_note_that_is_on_its_way(stage: Stage) -> None:
    note = await stage.credit("5.00")
    await stage.transfer(stage.seeded.total - note.total)

    await stage.close()
    [before] = await stage.edge.overlay.all_invoices()
    await stage.tell(note)
    await stage.close()

    [there] = await stage.edge.overlay.all_invoices()
    assert (before["status"], there["status"]) == ("open", "paid")


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

    first = await serving_stage.PayInvoice(request)
    second = await serving_stage.PayInvoice(request)

    invoice, total = await stage.invoice(), stage.seeded.total
    async with stage.database.read(stage.tenant) as tx:
        [payment] = await payments.payments_of_invoice(tx, stage.tenant, invoice.invoice_id)
    [charge] = await stage.edge.overlay.all_charges()
    assert [one.invoice.state for one in (first, second)] == [models.INVOICE_STATE_PAID] * 2
    assert [one.attempt.state for one in (first, second)] == [PAYMENT_ATTEMPT_STATE_SUCCEEDED] * 2
    assert first.attempt.attempt_id == second.attempt.attempt_id
    assert Decimal(first.attempt.amount.amount) == total
    assert await stage.charges() == [total]
    assert len(stage.edge.sent("PostInvoicesInvoicePay")) == 1
    assert (invoice.amount_paid, invoice.amount_due) == (total, Decimal(0))
    assert invoice.next_attempt_at is None
    assert (payment.amount.amount, payment.state) == (total, PaymentState.SUCCEEDED)
    assert payment.provider_payment_id == charge["id"]


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
        unknown, attempt = await paying.pay_invoice(stage.tenant, stage.seeded.invoice_id)
    async with billing_database.read(stage.tenant) as tx:
        running = await payments.running_attempt(tx, stage.tenant, stage.seeded.invoice_id)
    assert running is not None
    stage.edge.plan = on_pay(Fault.LOST_BEFORE, times=0)
    await stage.work.collecting.charge(stage.tenant, running)

    # The answer says that nobody knows yet; what follows is the same attempt.
    assert (unknown.state, attempt.state) == (InvoiceState.OPEN, AttemptState.STARTED)
    assert (await stage.attempt(attempt)).state is AttemptState.SUCCEEDED
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
