"""Credit notes: parts of an invoice taken back, never more than was invoiced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from services.billing.domain.currency import currency
from services.billing.domain.invoice_record import ZERO, Invoice, InvoiceLine
from services.billing.domain.invoice_state import CREDITABLE, UNPAID, require_state
from services.billing.domain.rounding import round_once
from services.billing.errors import (
    CreditExceedsInvoice,
    InvoiceLineNotFound,
    SettlementForbidden,
)
from services.kernel.money import EXACT, add_exactly, format_decimal


class CreditNoteState(Enum):
    """Where a credit note is in its life."""

    AWAITING_APPROVAL = "awaiting_approval"
    ISSUED = "issued"
    SETTLED = "settled"
    VOID = "void"


class CreditSettlement(Enum):
    """How a credit note is settled. REDUCE_DUE: off an invoice that is not paid yet."""

    REFUND = "refund"
    BALANCE = "balance"
    OUT_OF_BAND = "out_of_band"
    REDUCE_DUE = "reduce_due"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteLine:
    """Part of an invoice line, before tax, and of its tax. Both have the line's sign."""

    line_id: str
    amount: Decimal
    tax_amount: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNote:
    """A credit note. approver: empty when nobody had to approve it."""

    credit_note_id: str
    invoice_id: str
    account_id: str
    state: CreditNoteState
    reason: str
    settlement: CreditSettlement
    currency_code: str
    lines: Sequence[CreditNoteLine]
    author: str
    created_at: datetime
    number: str = ""
    approver: str = ""
    note: str = ""
    void_reason: str = ""
    settled_at: datetime | None = None

    @property
    def subtotal(self) -> Decimal:
        """Sum of the lines before tax."""
        return add_exactly(line.amount for line in self.lines)

    @property
    def tax_total(self) -> Decimal:
        """Tax taken back."""
        return add_exactly(line.tax_amount for line in self.lines)

    @property
    def total(self) -> Decimal:
        """What is credited, tax included."""
        return EXACT.add(self.subtotal, self.tax_total)


def settlement_of(invoice: Invoice, wanted: CreditSettlement | None) -> CreditSettlement:
    """Returns how a credit note of the invoice is settled.

    Raises InvoiceStateForbids, SettlementForbidden.
    """
    require_state(invoice.state, CREDITABLE, wanted="credit it")
    is_unpaid = invoice.state in UNPAID
    default = CreditSettlement.REDUCE_DUE if is_unpaid else CreditSettlement.BALANCE
    chosen = wanted or default
    if is_unpaid != (chosen is CreditSettlement.REDUCE_DUE):
        raise SettlementForbidden(state=invoice.state.value, settlement=chosen.value)
    return chosen


def credited_lines(
    invoice: Invoice, lines: Sequence[InvoiceLine], wanted: Sequence[tuple[str, Decimal | None]]
) -> list[CreditNoteLine]:
    """Returns what a credit note takes of an invoice's lines.

    wanted: line and amount before tax, None for all that is left of the line; nothing for all that
    is left of the invoice. The tax follows the amount, rounded so that crediting everything, in
    however many parts, takes back exactly the tax. Raises InvoiceLineNotFound,
    CreditExceedsInvoice.
    """
    known = {line.line_id: line for line in lines}
    parts: dict[str, Decimal | None] = dict(wanted) or dict.fromkeys(known)
    found: list[CreditNoteLine] = []
    for line_id, amount in parts.items():
        line = known.get(line_id)
        if line is None:
            raise InvoiceLineNotFound(invoice_id=invoice.invoice_id, line_id=line_id)
        taken = line.creditable if amount is None else amount
        _require_left(invoice, line, taken)
        if taken or line.tax_creditable:
            found.append(
                CreditNoteLine(
                    line_id=line_id, amount=taken, tax_amount=_tax_of(invoice, line, taken)
                )
            )
    total = add_exactly(EXACT.add(each.amount, each.tax_amount) for each in found)
    left = EXACT.subtract(invoice.total, invoice.amount_credited)
    if total <= 0 or total > left:
        raise CreditExceedsInvoice(
            f"{format_decimal(total)} would be credited, and {format_decimal(left)}"
            f" {invoice.currency_code} is left",
            total=total,
            left=left,
        )
    return found


def _require_left(invoice: Invoice, line: InvoiceLine, taken: Decimal) -> None:
    minor = currency(invoice.currency_code)
    if taken != taken.quantize(minor.to_amount(1)):
        raise CreditExceedsInvoice(
            f"{taken} is not a whole number of minor units", line_id=line.line_id
        )
    low, high = min(line.creditable, ZERO), max(line.creditable, ZERO)
    if not low <= taken <= high:
        raise CreditExceedsInvoice(
            f"of line {line.position}, {format_decimal(line.creditable)} is left, not"
            f" {format_decimal(taken)}",
            line_id=line.line_id,
            creditable=line.creditable,
        )


def _tax_of(invoice: Invoice, line: InvoiceLine, taken: Decimal) -> Decimal:
    """Returns the tax that goes with an amount: what is due at its share, less what went before."""
    if taken == line.creditable:
        return line.tax_creditable
    minor = currency(invoice.currency_code)
    after = Fraction(EXACT.add(line.credited, taken)) / Fraction(line.amount)
    due = round_once(Fraction(minor.to_minor(line.tax_amount)) * after)
    return EXACT.subtract(minor.to_amount(due), line.tax_credited)
