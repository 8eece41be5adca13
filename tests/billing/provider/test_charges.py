"""What becomes of money that was taken: disputed, given back, credited there; told once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.billing.domain.credit_note import CreditSettlement
from services.billing.domain.payment import Payment, PaymentKind, PaymentState
from services.billing.domain.provider import RemoteEvent
from services.billing.domain.webhook import EventState, WebhookEvent
from services.billing.service.crediting import WantedCredit
from services.billing.service.provider.charges import CREDITED_THERE, MADE_THERE
from services.billing.service.provider.stripe_objects import event_of
from services.billing.store import payments
from services.kernel.caller import acting_as
from services.kernel.clock import SystemClock
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from tests.billing.provider.charging_stage import ADA, Stage
from tests.billing.provider.seeding import add_locked_invoice


async def pay(stage: Stage) -> Payment:
    """Charges the invoice, and returns the payment."""
    await stage.work.collecting.charge(stage.tenant, await stage.begin())
    return await paid(stage)


async def paid(stage: Stage) -> Payment:
    return next(each for each in await taken(stage) if each.kind is PaymentKind.CHARGE)


async def taken(stage: Stage) -> list[Payment]:
    async with stage.database.read(stage.tenant) as tx:
        return await payments.payments_of_invoice(tx, stage.tenant, stage.seeded.invoice_id)


async def told(stage: Stage, kinds: Collection[str]) -> list[EventState]:
    """Handles what the peer tells of these kinds, newest first, each twice."""
    events = await stage.edge.overlay.all_events()
    found = [event_of(event) for event in events if event["type"] in kinds]
    assert found
    return [await handled(stage, event) for event in (*found, *found)]


async def handled(stage: Stage, remote: RemoteEvent) -> EventState:
    return await stage.work.handling.handle(stored(stage, remote))


async def disputed(stage: Stage, status: str) -> list[EventState]:
    """Lets the payer's dispute come as far, which is told twice."""
    charge_id = (await paid(stage)).provider_payment_id
    event = event_of(stage.edge.overlay.dispute(charge_id, status))
    return [await handled(stage, event), await handled(stage, event)]


def stored(stage: Stage, remote: RemoteEvent) -> WebhookEvent:
    now = SystemClock().now()
    return WebhookEvent(
        tenant_id=stage.tenant,
        webhook_event_id=new_id(),
        provider="stripe",
        provider_event_id=remote.event_id,
        event_type=remote.event_type,
        object_id=remote.object_id,
        api_version=remote.api_version,
        live_mode=False,
        state=EventState.RECEIVED,
        provider_created_at=now,
        received_at=now,
    )


async def owed(stage: Stage) -> Decimal:
    async with stage.database.read(stage.tenant) as tx:
        balance: Decimal = await tx.driver.fetchval(
            "SELECT open_balance FROM billing.account WHERE tenant_id = $1", stage.tenant
        )
    return balance


async def time_line(stage: Stage) -> list[str]:
    async with stage.database.read(stage.tenant) as tx:
        rows = await tx.driver.fetch(
            "SELECT title FROM billing.billing_history WHERE tenant_id = $1 ORDER BY entry_id",
            stage.tenant,
        )
    return [row["title"] for row in rows]


async def said(stage: Stage) -> list[str]:
    """Returns what the invoice's history tells."""
    async with stage.database.read(stage.tenant) as tx:
        rows = await tx.driver.fetch(
            "SELECT description FROM billing.invoice_event"
            " WHERE tenant_id = $1 AND invoice_id = $2",
            *(stage.tenant, stage.seeded.invoice_id),
        )
    return [row["description"] for row in rows]


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_a_dispute_is_followed_to_its_end(stage: Stage, end: str) -> None:
    await pay(stage)

    states = await disputed(stage, "needs_response")
    during, owed_during = await paid(stage), await owed(stage)
    await disputed(stage, end)
    await disputed(stage, "under_review" if end == "lost" else end)

    after, titles = await paid(stage), await time_line(stage)
    assert set(states) == {EventState.HANDLED}
    assert during.state is PaymentState.DISPUTED
    assert owed_during == 0
    assert after.state is (PaymentState.SUCCEEDED if end == "won" else PaymentState.FAILED)
    assert await owed(stage) == (0 if end == "won" else stage.seeded.total)
    assert len([title for title in titles if "dispute" in title]) == 2
    assert f"was {end}" in titles[-1]


async def test_while_a_payment_is_disputed_no_other_invoice_is_charged_by_itself(
    stage: Stage,
) -> None:
    await pay(stage)
    await disputed(stage, "needs_response")
    account_id = (await stage.invoice()).account_id
    other = await add_locked_invoice(stage.database, stage.tenant, account_id, lines=1, seed=9)
    await stage.work.pushing.push(stage.tenant, other.invoice_id)
    payload = f'{{"tenant_id": "{stage.tenant}", "invoice_id": "{other.invoice_id}"}}'.encode()
    job = Job(0, "", payload, 1, stage.tenant)

    await stage.work.collecting.run(job)
    during = len(await stage.charges())
    payment_id = (await paid(stage)).payment_id
    async with stage.database.transaction(stage.tenant) as tx:
        await payments.set_state(tx, stage.tenant, payment_id, PaymentState.SUCCEEDED)
    await stage.work.collecting.run(job)

    assert (during, len(await stage.charges())) == (1, 2)


async def test_a_refund_that_was_made_there_is_recorded_once(stage: Stage) -> None:
    payment = await pay(stage)
    await refund(stage, payment, 100)

    states = await told(stage, ("refund.created", "charge.refunded"))

    assert set(states) == {EventState.HANDLED}
    back = [each for each in await taken(stage) if each.kind is PaymentKind.REFUND]
    assert [each.amount.amount for each in back] == [Decimal("1.00")]
    assert (await paid(stage)).refunded == Decimal("1.00")
    assert await owed(stage) == Decimal("1.00")
    assert (await said(stage)).count(MADE_THERE) == 1


async def refund(stage: Stage, payment: Payment, cents: int) -> Any:
    parameters = {"charge": payment.provider_payment_id, "amount": str(cents)}
    status, made = await stage.edge._forward("POST", "/v1/refunds", parameters)
    assert status == 200
    return made


async def test_the_refund_of_a_credit_note_waits_for_it_and_counts_once(stage: Stage) -> None:
    await pay(stage)
    wanted = WantedCredit(
        invoice_id=stage.seeded.invoice_id,
        reason="Late",
        lines=[("line-1", Decimal("5.00"))],
        settlement=CreditSettlement.REFUND,
    )
    with acting_as(replace(ADA, tenant_id=stage.tenant)):
        note = await stage.notes.create_credit_note(stage.tenant, wanted)
    # It is made there, and the webhook comes before ours is committed.
    await refund(stage, await paid(stage), 595)

    early = await told(stage, ("refund.created",))
    async with stage.database.transaction(stage.tenant) as tx:
        await tx.driver.execute(
            "UPDATE billing.credit_note SET state = 'settled' WHERE credit_note_id = $1",
            note.credit_note_id,
        )
    late = await told(stage, ("refund.created",))

    assert set(early) == {EventState.RETRYING}
    assert set(late) == {EventState.HANDLED}


async def test_a_credit_note_that_was_made_there_is_told_on_the_invoice_once(
    stage: Stage,
) -> None:
    await pay(stage)
    there = (await stage.invoice()).provider_invoice_id
    parameters = {"invoice": there, "amount": "100", "out_of_band_amount": "100"}
    status, made = await stage.edge._forward("POST", "/v1/credit_notes", parameters)
    assert status == 200

    states = await told(stage, ("credit_note.created",))

    assert set(states) == {EventState.HANDLED}
    assert (await said(stage)).count(CREDITED_THERE.format(made["id"])) == 1


async def test_a_charge_of_somebody_else_is_foreign(stage: Stage) -> None:
    await pay(stage)
    async with stage.database.transaction(stage.tenant) as tx:
        await tx.driver.execute("DELETE FROM billing.payment WHERE tenant_id = $1", stage.tenant)
    [event] = [
        event_of(event)
        for event in await stage.edge.overlay.all_events()
        if event["type"] == "charge.succeeded"
    ]
    about = stored(stage, event)
    waits = await stage.work.handling.handle(replace(about, event_type="charge.refunded"))
    async with stage.database.transaction(stage.tenant) as tx:
        await tx.driver.execute(
            "DELETE FROM billing.provider_object WHERE tenant_id = $1", stage.tenant
        )
    foreign = await stage.work.handling.handle(replace(about, event_type="charge.refunded"))

    assert (waits, foreign) == (EventState.RETRYING, EventState.FOREIGN)
