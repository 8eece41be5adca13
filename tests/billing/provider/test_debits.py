"""Debits that a bank works on for days: nothing is dunned meanwhile, and both endings are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.billing.domain.invoice_state import InvoiceState
from services.billing.domain.payment import AttemptState, PaymentAttempt
from services.billing.domain.reconciliation import Scope
from services.billing.domain.webhook import EventState, WebhookEvent
from services.billing.errors import ChargeUnderWay
from services.billing.service.paying import Paying
from services.billing.service.provider.queue import COLLECT_JOB
from services.billing.service.provider.reconciling import Wanted
from services.billing.service.provider.steps import StepWaits
from services.kernel.caller import acting_as
from services.kernel.clock import SystemClock
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from tests.billing.provider.charging_stage import ADA, Stage, on_pay
from tests.support.stripe.faults import Fault


async def debited(stage: Stage) -> PaymentAttempt:
    """Asks for a payment that the bank then works on, and returns its attempt."""
    stage.edge.overlay.takes_days = True
    paying = Paying(stage.database, stage.work.collecting)
    with acting_as(replace(ADA, tenant_id=stage.tenant)):
        _, attempt = await paying.pay_invoice(stage.tenant, stage.seeded.invoice_id)
    return attempt


async def there(stage: Stage) -> str:
    """Returns the invoice's id at the peer."""
    return (await stage.invoice()).provider_invoice_id


async def told(stage: Stage, event_type: str) -> EventState:
    """Handles a webhook about the invoice."""
    now = SystemClock().now()
    event = WebhookEvent(
        tenant_id=stage.tenant,
        webhook_event_id=new_id(),
        provider="stripe",
        provider_event_id=new_id(),
        event_type=event_type,
        object_id=await there(stage),
        api_version="",
        live_mode=False,
        state=EventState.RECEIVED,
        provider_created_at=now,
        received_at=now,
    )
    return await stage.work.handling.handle(event)


async def collect(stage: Stage) -> int:
    """Does the queued collections of the tenant; returns how many there were."""
    async with stage.database.system_transaction() as tx:
        rows = await tx.driver.fetch(
            "DELETE FROM pgqueuer WHERE entrypoint = $1 AND headers::text LIKE $2"
            " RETURNING payload",
            COLLECT_JOB,
            f"%{stage.tenant}%",
        )
    for row in rows:
        await stage.work.collecting.run(Job(0, COLLECT_JOB, row["payload"], 1, stage.tenant))
    return len(rows)


async def test_while_the_bank_works_on_it_the_invoice_is_processing(stage: Stage) -> None:
    attempt = await debited(stage)
    async with stage.database.transaction(stage.tenant) as tx:
        await tx.driver.execute(
            "UPDATE billing.invoice SET next_attempt_at = now() - interval '1 day'"
            " WHERE tenant_id = $1 AND state <> 'processing'",
            stage.tenant,
        )
    again = await debited(stage)
    await collect(stage)
    with pytest.raises(ChargeUnderWay):
        await stage.credit("5.00")

    invoice = await stage.invoice()
    assert (attempt.state, again.attempt_id) == (AttemptState.PROCESSING, attempt.attempt_id)
    assert (invoice.state, invoice.next_attempt_at) == (InvoiceState.PROCESSING, None)
    assert (invoice.amount_paid, await stage.charges()) == (Decimal(0), [])
    assert len(stage.edge.sent("PostInvoicesInvoicePay")) == 1


async def test_a_debit_that_succeeds_pays_the_invoice(stage: Stage) -> None:
    attempt = await debited(stage)
    await stage.edge.overlay.end_debit(await there(stage))

    handled = await told(stage, "invoice.paid")

    invoice = await stage.invoice()
    assert handled is EventState.HANDLED
    assert (invoice.state, invoice.amount_paid) == (InvoiceState.PAID, stage.seeded.total)
    assert (await stage.attempt(attempt)).state is AttemptState.SUCCEEDED
    assert await stage.charges() == [stage.seeded.total]


async def test_a_debit_that_fails_late_is_past_due_and_tried_another_day(stage: Stage) -> None:
    attempt = await debited(stage)
    await stage.edge.overlay.end_debit(await there(stage), "insufficient_funds")

    await told(stage, "invoice.payment_failed")
    await told(stage, "invoice.payment_failed")
    await collect(stage)

    invoice, ended = await stage.invoice(), await stage.attempt(attempt)
    assert (ended.state, ended.decline_code) == (AttemptState.DECLINED, "insufficient_funds")
    assert (invoice.state, invoice.amount_paid) == (InvoiceState.PAST_DUE, Decimal(0))
    assert invoice.next_attempt_at is not None
    assert invoice.next_attempt_at > SystemClock().now() + timedelta(hours=23)


async def test_a_debit_that_cannot_succeed_another_day_is_not_tried_again(stage: Stage) -> None:
    await debited(stage)
    await stage.edge.overlay.end_debit(await there(stage), "debit_not_authorized")

    await told(stage, "invoice.payment_failed")
    await collect(stage)

    invoice = await stage.invoice()
    assert (invoice.state, invoice.next_attempt_at) == (InvoiceState.PAST_DUE, None)


async def test_without_a_webhook_reconciliation_asks_what_became_of_it(stage: Stage) -> None:
    await debited(stage)
    await stage.edge.overlay.end_debit(await there(stage), "insufficient_funds")
    reconciling = stage.work.reconciling
    with acting_as(replace(ADA, tenant_id=stage.tenant)):
        begun = await reconciling.reconcile(stage.tenant, Wanted(Scope.LIGHT, repair=True))

    payload = f'["{stage.tenant}", "{begun.reconciliation_id}"]'.encode()
    await reconciling.run(Job(0, "", payload, 1, stage.tenant))
    await collect(stage)

    assert (await stage.invoice()).state is InvoiceState.PAST_DUE


async def test_a_debit_whose_answer_was_lost_is_not_charged_again(stage: Stage) -> None:
    stage.edge.overlay.takes_days = True
    begun = await stage.begin()
    stage.edge.plan = on_pay(Fault.ERROR_AFTER)
    with pytest.raises(StepWaits):
        await stage.work.collecting.charge(stage.tenant, begun)

    await stage.work.collecting.charge(stage.tenant, begun)

    assert (await stage.attempt(begun)).state is AttemptState.PROCESSING
    assert len(stage.edge.sent("PostInvoicesInvoicePay")) == 1
