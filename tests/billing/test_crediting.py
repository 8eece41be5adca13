"""Credit notes: never more than was invoiced, whatever the order; four eyes above a limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from finops.billing.v1 import credit_note_model_pb2
from finops.common.v1.money_pb2 import Money
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.convert.credit_notes import to_wanted
from services.billing.domain.credit_note import (
    CreditNoteState,
    CreditSettlement,
    credited_lines,
)
from services.billing.domain.invoice_record import ZERO, Invoice, InvoiceLine
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.errors import (
    CreditExceedsInvoice,
    CreditNoteNotFound,
    CreditNoteStateForbids,
    InvoiceLineNotFound,
    SelfApproval,
    SettlementForbidden,
)
from services.billing.service.crediting import CreditNotes, WantedCredit
from services.billing.service.invoicing import Wanted
from services.billing.service.journal import BillingFeed, Journal
from services.billing.service.moving import locked_invoice
from services.billing.store.invoices import save_invoice
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.money import CurrencyMismatch
from services.kernel.pagination import PageTokens
from services.kernel.period import Period
from tests.billing.invoicing_stage import Stage, per_unit, stage_of, used

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
PERIOD = Period(FEBRUARY, FEBRUARY + timedelta(days=28))


def line(number: int, amount: Decimal, tax: Decimal) -> InvoiceLine:
    return InvoiceLine(
        line_id=f"line-{number}",
        line_key=f"line-{number}",
        position=number,
        kind="usage",
        description="Tokens",
        period=PERIOD,
        exact_amount=amount,
        amount=amount,
        tax_amount=tax,
    )


def invoice_over(*lines: InvoiceLine, credited: Decimal = ZERO) -> Invoice:
    subtotal = sum((each.amount for each in lines), ZERO)
    tax = sum((each.tax_amount for each in lines), ZERO)
    return Invoice(
        tenant_id="acme",
        invoice_id="one",
        account_id="account",
        kind=InvoiceKind.PERIOD,
        state=InvoiceState.PAID,
        period=PERIOD,
        currency_code="USD",
        subtotal=subtotal,
        discount_total=ZERO,
        credit_total=ZERO,
        tax_total=tax,
        total=subtotal + tax,
        line_count=len(lines),
        created_at=FEBRUARY,
        amount_credited=credited,
    )


@settings(max_examples=80)
@given(
    amount=st.integers(min_value=1, max_value=10_000_000),
    tax=st.integers(min_value=0, max_value=2_000_000),
    parts=st.lists(st.integers(min_value=1, max_value=5_000_000), max_size=8),
)
def test_crediting_in_parts_takes_back_exactly_line_and_tax(
    amount: int, tax: int, parts: list[int]
) -> None:
    cent = Decimal("0.01")
    one = line(1, amount * cent, tax * cent)
    credited = ZERO
    for part in [*parts, 0]:
        left = one.creditable
        wanted = min(part * cent, left) if part else left
        if not wanted and not one.tax_creditable:
            break
        [taken] = credited_lines(
            invoice_over(one, credited=ZERO), [one], [("line-1", wanted or None)]
        )
        one = replace(
            one,
            credited=one.credited + taken.amount,
            tax_credited=one.tax_credited + taken.tax_amount,
        )
        credited += taken.amount + taken.tax_amount

    assert one.creditable == 0
    assert one.tax_creditable == 0
    assert credited == (amount + tax) * cent


def test_more_than_is_left_of_a_line_is_refused() -> None:
    one = line(1, Decimal(10), Decimal(1))

    with pytest.raises(CreditExceedsInvoice) as refusal:
        credited_lines(invoice_over(one), [one], [("line-1", Decimal("10.01"))])

    assert refusal.value.reason == "CREDIT_EXCEEDS_INVOICE"


def test_a_fraction_of_a_cent_cannot_be_credited() -> None:
    one = line(1, Decimal(10), ZERO)

    with pytest.raises(CreditExceedsInvoice):
        credited_lines(invoice_over(one), [one], [("line-1", Decimal("0.005"))])


def test_a_line_of_another_invoice_is_not_found() -> None:
    one = line(1, Decimal(10), ZERO)

    with pytest.raises(InvoiceLineNotFound) as refusal:
        credited_lines(invoice_over(one), [one], [("other", None)])

    assert refusal.value.reason == "INVOICE_LINE_NOT_FOUND"


def test_crediting_everything_takes_discounts_back_too() -> None:
    lines = [line(1, Decimal(100), Decimal("8.1")), line(2, Decimal(-10), Decimal("-0.81"))]

    taken = credited_lines(invoice_over(*lines), lines, [])

    assert sum(each.amount + each.tax_amount for each in taken) == Decimal("97.29")


@pytest.fixture
def stage(billing_database: Database, clock: ManualClock, tenant: str) -> Stage:
    clock.advance(FEBRUARY - clock.now())
    return stage_of(billing_database, clock, tenant)


@pytest.fixture
def notes(stage: Stage) -> CreditNotes:
    journal = Journal(BillingFeed(stage.database))
    tokens = PageTokens(b"x" * 32)
    return CreditNotes(
        stage.database, stage.moves, stage.credits, journal, tokens=tokens, clock=stage.clock
    )


async def issued(stage: Stage, *, is_paid: bool, limit: Decimal | None = None) -> Invoice:
    """Makes an invoice over 12.50 that is open, or paid."""
    await stage.account(credit_approval_limit=limit)
    await stage.subscribe(await stage.plan(per_unit("0.0125")))
    await stage.use(used(FEBRUARY + timedelta(days=3), "1000"))
    stage.clock.advance(timedelta(days=30))
    now = stage.clock.now()
    with stage.caller():
        made = await stage.invoices.generate_invoice(Wanted(tenant_id=stage.tenant, finalize=True))
    said: dict[str, Any] = {"actor": "test", "description": "Told.", "now": now}
    async with stage.database.transaction(stage.tenant) as tx:
        invoice = await locked_invoice(tx, stage.tenant, made.invoice_id)
        invoice = await stage.moves.move(tx, invoice, InvoiceState.PUSHING, **said)
        invoice = await stage.moves.move(tx, invoice, InvoiceState.OPEN, **said, issued_at=now)
        if is_paid:
            invoice = await stage.moves.settle(tx, invoice, invoice.total, **said)
    return invoice


async def test_a_credit_note_lowers_what_is_due(stage: Stage, notes: CreditNotes) -> None:
    invoice = await issued(stage, is_paid=False)
    [billed] = await stage.lines(invoice.invoice_id)

    with stage.caller():
        part = await notes.create_credit_note(
            stage.tenant,
            WantedCredit(
                invoice_id=invoice.invoice_id,
                reason="Outage",
                lines=[(billed.line_id, Decimal("2.50"))],
            ),
        )
        halfway = await stage.invoices.get_invoice(stage.tenant, invoice.invoice_id)
        rest = await notes.create_credit_note(
            stage.tenant, WantedCredit(invoice_id=invoice.invoice_id, reason="All of it")
        )
    after = await stage.invoices.get_invoice(stage.tenant, invoice.invoice_id)

    assert part.settlement is CreditSettlement.REDUCE_DUE
    assert part.number.startswith("CN-")
    assert halfway.amount_due == Decimal("10.00")
    assert rest.total == Decimal("10.00")
    assert after.state is InvoiceState.CREDITED


async def test_what_was_paid_of_a_credited_invoice_is_the_customers_credit(
    stage: Stage, notes: CreditNotes
) -> None:
    invoice = await issued(stage, is_paid=False)
    async with stage.database.transaction(stage.tenant) as tx:
        invoice = await locked_invoice(tx, stage.tenant, invoice.invoice_id)
        await save_invoice(tx, replace(invoice, amount_paid=Decimal(4)))

    with stage.caller():
        note = await notes.create_credit_note(
            stage.tenant, WantedCredit(invoice_id=invoice.invoice_id, reason="All of it")
        )
    after = await stage.invoices.get_invoice(stage.tenant, invoice.invoice_id)
    async with stage.database.read(stage.tenant) as tx:
        available = await stage.credits.available(tx, stage.tenant, invoice.account_id)
        owed = await tx.driver.fetchval(
            "SELECT open_balance FROM billing.account WHERE tenant_id = $1", stage.tenant
        )

    assert (note.total, after.state) == (Decimal("12.50"), InvoiceState.PAID)
    assert [credit.remaining for credit in available] == [Decimal(4)]
    # Of 12.50 the credit note takes off the 8.50 that were due; the other 4 are credit.
    assert owed == Decimal("12.50") - Decimal("8.50")


async def test_a_credit_note_is_in_its_invoices_currency(stage: Stage, notes: CreditNotes) -> None:
    invoice = await issued(stage, is_paid=False)
    [billed] = await stage.lines(invoice.invoice_id)
    note = credit_note_model_pb2.CreditNote(
        invoice_id=invoice.invoice_id,
        reason="Outage",
        lines=[
            credit_note_model_pb2.CreditNoteLine(
                invoice_line_id=billed.line_id, amount=Money(currency_code="EUR", amount="1")
            )
        ],
    )

    with stage.caller(), pytest.raises(CurrencyMismatch, match="the invoice is in USD"):
        await notes.create_credit_note(stage.tenant, to_wanted(note))


async def test_a_paid_invoice_is_credited_to_the_balance(stage: Stage, notes: CreditNotes) -> None:
    invoice = await issued(stage, is_paid=True)

    with stage.caller():
        note = await notes.create_credit_note(
            stage.tenant, WantedCredit(invoice_id=invoice.invoice_id, reason="Goodwill")
        )
        with pytest.raises(CreditExceedsInvoice):
            await notes.create_credit_note(
                stage.tenant, WantedCredit(invoice_id=invoice.invoice_id, reason="Twice")
            )
    async with stage.database.read(stage.tenant) as tx:
        available = await stage.credits.available(tx, stage.tenant, invoice.account_id)

    assert note.state is CreditNoteState.SETTLED
    assert [credit.remaining for credit in available] == [Decimal("12.50")]


async def test_what_is_unpaid_cannot_be_refunded(stage: Stage, notes: CreditNotes) -> None:
    invoice = await issued(stage, is_paid=False)

    with stage.caller(), pytest.raises(SettlementForbidden) as refusal:
        await notes.create_credit_note(
            stage.tenant,
            WantedCredit(
                invoice_id=invoice.invoice_id,
                reason="Back",
                settlement=CreditSettlement.REFUND,
            ),
        )

    assert refusal.value.reason == "SETTLEMENT_FORBIDDEN"


async def test_above_the_limit_a_second_person_approves(stage: Stage, notes: CreditNotes) -> None:
    invoice = await issued(stage, is_paid=True, limit=Decimal(5))
    with stage.caller("ada"):
        note = await notes.create_credit_note(
            stage.tenant, WantedCredit(invoice_id=invoice.invoice_id, reason="Much")
        )
        with pytest.raises(SelfApproval) as refusal:
            await notes.approve_credit_note(stage.tenant, note.credit_note_id, "")
    with stage.caller("bob"):
        approved = await notes.approve_credit_note(stage.tenant, note.credit_note_id, "checked")
        with pytest.raises(CreditNoteStateForbids) as again:
            await notes.approve_credit_note(stage.tenant, note.credit_note_id, "")

    assert note.state is CreditNoteState.AWAITING_APPROVAL
    assert not note.number
    assert refusal.value.reason == "SELF_APPROVAL"
    assert approved.approver == "bob"
    assert again.value.reason == "CREDIT_NOTE_STATE_FORBIDS"


async def test_a_voided_credit_note_leaves_the_invoice_as_it_was(
    stage: Stage, notes: CreditNotes
) -> None:
    invoice = await issued(stage, is_paid=True, limit=Decimal(5))
    with stage.caller():
        note = await notes.create_credit_note(
            stage.tenant, WantedCredit(invoice_id=invoice.invoice_id, reason="Much")
        )
        await notes.void_credit_note(stage.tenant, note.credit_note_id, "a mistake")
        again = await notes.preview_credit_note(
            stage.tenant, WantedCredit(invoice_id=invoice.invoice_id, reason="Much")
        )

    assert again.total == note.total


async def test_an_unknown_credit_note_is_not_found(stage: Stage, notes: CreditNotes) -> None:
    with pytest.raises(CreditNoteNotFound) as refusal:
        await notes.get_credit_note(stage.tenant, "nobody")

    assert refusal.value.reason == "CREDIT_NOTE_NOT_FOUND"
