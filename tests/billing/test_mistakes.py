"""What people get wrong is refused, with what to do instead."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from finops.billing.v1 import (
    payment_model_pb2,
    payment_service_pb2,
    payment_service_pb2_grpc,
    subscription_service_pb2,
)
from finops.billing.v1 import subscription_messages_pb2 as messages
from finops.billing.v1 import subscription_model_pb2 as models
from finops.common.v1.money_pb2 import Money

from services.billing.domain.credit_note import CreditSettlement
from services.billing.domain.invoice_state import InvoiceState
from services.billing.errors import (
    AccountNotFound,
    InvalidInstant,
    InvoiceStateForbids,
    PeriodNotOver,
)
from services.billing.service.crediting import CreditNotes, WantedCredit
from services.billing.service.invoicing import Wanted
from services.billing.service.journal import BillingFeed, Journal
from services.billing.service.moving import locked_invoice
from services.billing.service.running import WantedRun
from services.kernel.pagination import PageTokens
from tests.billing.buying import desk_of, open_account, sell, subscribe
from tests.billing.conftest import Billing
from tests.billing.invoicing_stage import Stage
from tests.billing.test_runs import runs_of, stage, staged
from tests.support.server import refused

__all__ = ["stage"]


async def test_a_subscription_that_has_ended_takes_no_change(billing: Billing) -> None:
    desk = desk_of(billing)
    await open_account(desk)
    small, large = await sell(desk, "31"), await sell(desk, "310")
    made = await subscribe(desk, small)
    await desk.billing.CancelSubscription(
        messages.CancelSubscriptionRequest(subscription_id=made.subscription_id, immediately=True)
    )
    changed = models.Subscription(subscription_id=made.subscription_id, plan_id=large)

    update = await refused(
        desk.billing.UpdateSubscription(messages.UpdateSubscriptionRequest(subscription=changed))
    )
    preview = await refused(
        desk.subscriptions.PreviewSubscriptionChange(
            subscription_service_pb2.PreviewSubscriptionChangeRequest(
                subscription_id=made.subscription_id, plan_id=large
            )
        )
    )

    assert (update.reason, preview.reason) == ("SUBSCRIPTION_STATE_FORBIDS",) * 2
    assert "create a new one" in update.message


async def test_a_month_that_has_not_begun_has_no_preview_and_no_run(stage: Stage) -> None:
    await staged(stage)

    with stage.caller():
        with pytest.raises(InvalidInstant, match="begins at 2026-04-01"):
            await stage.invoices.preview_invoice(Wanted(tenant_id=stage.tenant, month="2026-04"))
        with pytest.raises(PeriodNotOver):
            await runs_of(stage).run_billing(WantedRun(month="2026-04"))


async def test_a_run_over_a_tenant_that_nobody_bills_is_refused(stage: Stage) -> None:
    await staged(stage)
    wanted = WantedRun(month="2026-02", tenant_ids=[stage.tenant, "typo"])

    with stage.caller(), pytest.raises(AccountNotFound, match="of typo; create it") as refusal:
        await runs_of(stage).run_billing(wanted)

    assert refusal.value.metadata == {"tenant_ids": "typo"}


async def test_what_money_came_for_is_credited_and_not_voided(stage: Stage) -> None:
    await staged(stage)
    stage.clock.advance(timedelta(days=30))
    with stage.caller():
        made = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
        async with stage.database.transaction(stage.tenant) as tx:
            invoice = await locked_invoice(tx, stage.tenant, made.invoice_id)
            for state in (InvoiceState.PUSHING, InvoiceState.OPEN):
                invoice = await stage.moves.move(
                    *(tx, invoice, state),
                    actor="test",
                    description="Told.",
                    now=stage.clock.now(),
                    amount_paid=Decimal(1),
                )

        with pytest.raises(InvoiceStateForbids, match="make a credit note") as refusal:
            await stage.invoices.void_invoice(stage.tenant, made.invoice_id, "typo")

    assert refusal.value.metadata["state"] == "open"


def notes_of(stage: Stage) -> CreditNotes:
    """Returns the use cases of credit notes."""
    journal, tokens = Journal(BillingFeed(stage.database)), PageTokens(b"x" * 32)
    return CreditNotes(
        *(stage.database, stage.moves, stage.credits, journal), tokens=tokens, clock=stage.clock
    )


async def opened(stage: Stage) -> str:
    """Makes an invoice over 10 USD that is open, and returns its id."""
    await staged(stage)
    stage.clock.advance(timedelta(days=30))
    with stage.caller():
        made = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
    async with stage.database.transaction(stage.tenant) as tx:
        invoice = await locked_invoice(tx, stage.tenant, made.invoice_id)
        for state in (InvoiceState.PUSHING, InvoiceState.OPEN):
            invoice = await stage.moves.move(
                *(tx, invoice, state), actor="test", description="Told.", now=stage.clock.now()
            )
    return made.invoice_id


async def test_payments_and_refunds_in_another_currency_name_the_right_one(
    stage: Stage, billing: Billing
) -> None:
    invoice_id = await opened(stage)
    stub = payment_service_pb2_grpc.PaymentServiceStub(billing.seller())

    def paid(code: str) -> payment_service_pb2.RecordPaymentRequest:
        amount = Money(currency_code=code, amount="10")
        payment = payment_model_pb2.Payment(
            invoice_id=invoice_id, amount=amount, reference="BANK-1"
        )
        return payment_service_pb2.RecordPaymentRequest(tenant_id=stage.tenant, payment=payment)

    unpaid = await refused(stub.RecordPayment(paid("EUR")))
    payment = (await stub.RecordPayment(paid("USD"))).payment
    wanted = WantedCredit(invoice_id=invoice_id, reason="typo", settlement=CreditSettlement.REFUND)
    with stage.caller():
        note = await notes_of(stage).create_credit_note(stage.tenant, wanted)
    refund = await refused(
        stub.RefundPayment(
            payment_service_pb2.RefundPaymentRequest(
                tenant_id=stage.tenant,
                payment_id=payment.payment_id,
                credit_note_id=note.credit_note_id,
                amount=Money(currency_code="EUR", amount="10"),
            )
        )
    )

    assert (unpaid.reason, refund.reason) == ("CURRENCY_MISMATCH",) * 2
    assert "the invoice is in USD" in unpaid.message
    assert "the credit note is in USD" in refund.message
