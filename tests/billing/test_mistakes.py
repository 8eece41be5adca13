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

from services.billing.domain.invoice_state import InvoiceState
from services.billing.errors import (
    AccountNotFound,
    InvalidInstant,
    InvoiceStateForbids,
    PeriodNotOver,
)
from services.billing.service.invoicing import Wanted
from services.billing.service.moving import locked_invoice
from services.billing.service.running import WantedRun
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


async def test_a_payment_in_another_currency_names_the_invoices_own(
    stage: Stage, billing: Billing
) -> None:
    await staged(stage)
    stage.clock.advance(timedelta(days=30))
    with stage.caller():
        made = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
    stub = payment_service_pb2_grpc.PaymentServiceStub(billing.seller())
    async with stage.database.transaction(stage.tenant) as tx:
        invoice = await locked_invoice(tx, stage.tenant, made.invoice_id)
        for state in (InvoiceState.PUSHING, InvoiceState.OPEN):
            invoice = await stage.moves.move(
                *(tx, invoice, state), actor="test", description="Told.", now=stage.clock.now()
            )
    payment = payment_model_pb2.Payment(
        invoice_id=made.invoice_id,
        amount=Money(currency_code="EUR", amount="1"),
        reference="BANK-1",
    )

    refusal = await refused(
        stub.RecordPayment(
            payment_service_pb2.RecordPaymentRequest(tenant_id=stage.tenant, payment=payment)
        )
    )

    assert refusal.reason == "CURRENCY_MISMATCH"
    assert "the invoice is in USD" in refusal.message
