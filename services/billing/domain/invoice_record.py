"""Invoices as they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.kernel.money import EXACT, Money
from services.kernel.period import Period

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """Units of `to_currency` for one of `from_currency`, as `source` published it on a day."""

    from_currency: str
    to_currency: str
    rate: Decimal
    rate_date: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTax:
    """Tax of one rate, computed once on the rounded sum of its lines."""

    tax_rate_id: str
    display_name: str
    rate_ratio: Decimal
    taxable: Decimal
    amount: Decimal
    reverse_charge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTier:
    """Part of a quantity in one tier or in packages."""

    from_quantity: Decimal
    quantity: Decimal
    unit_price: Decimal
    flat_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line. line_key: stable over computations, unique on the invoice.

    exact_amount: before rounding. amount: in whole minor units. Both in the invoice's currency.
    credited, tax_credited: what credit notes took of amount and tax_amount, of the same sign.
    """

    line_id: str
    line_key: str
    position: int
    kind: str
    description: str
    period: Period
    charge_id: str = ""
    department_id: str = ""
    project: str = ""
    resource_type: str = ""
    quantity: Decimal | None = None
    included_quantity: Decimal | None = None
    unit: str = ""
    tiers: Sequence[LineTier] = ()
    unit_price: Decimal | None = None
    source_currency: str = ""
    source_amount: Decimal | None = None
    exact_amount: Decimal
    amount: Decimal
    tax_amount: Decimal = ZERO
    tax_rate_id: str = ""
    proration_of: str = ""
    route: str = "rated"
    events: int = 0
    credited: Decimal = ZERO
    tax_credited: Decimal = ZERO

    @property
    def creditable(self) -> Decimal:
        """What can still be credited of it, before tax; of the line's own sign."""
        return EXACT.subtract(self.amount, self.credited)

    @property
    def tax_creditable(self) -> Decimal:
        """What can still be credited of its tax."""
        return EXACT.subtract(self.tax_amount, self.tax_credited)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """What an account owes for a period: subtotal + tax_total = total, to the minor unit.

    number: empty before it is locked. blocked_from: where a blocked one goes on.
    revision: one more with every change.
    """

    tenant_id: str
    invoice_id: str
    account_id: str
    kind: InvoiceKind
    state: InvoiceState
    period: Period
    currency_code: str
    subtotal: Decimal
    discount_total: Decimal
    credit_total: Decimal
    tax_total: Decimal
    total: Decimal
    line_count: int
    created_at: datetime
    department_id: str = ""
    subscription_id: str = ""
    run_id: str = ""
    number: str = ""
    blocked_from: str = ""
    amount_paid: Decimal = ZERO
    amount_credited: Decimal = ZERO
    unpriced_events: int = 0
    plan_id: str = ""
    plan_version: int = 0
    provider_invoice_id: str = ""
    hosted_url: str = ""
    block_reason: str = ""
    void_reason: str = ""
    attempt_count: int = 0
    next_attempt_at: datetime | None = None
    content_hash: str = ""
    usage_as_of_at: datetime | None = None
    revision: int = 1
    grace_end_at: datetime | None = None
    issued_at: datetime | None = None
    due_at: datetime | None = None
    paid_at: datetime | None = None
    taxes: Sequence[InvoiceTax] = ()
    exchange_rates: Sequence[ExchangeRate] = ()
    is_preview: bool = field(default=False)

    @property
    def amount_due(self) -> Decimal:
        """What is still to be paid; zero where the state asks for no money."""
        if self.state in (InvoiceState.VOID, InvoiceState.CREDITED, InvoiceState.PART_CREDITED):
            return ZERO
        due = EXACT.subtract(EXACT.subtract(self.total, self.amount_paid), self.amount_credited)
        return max(due, ZERO)

    def money(self, amount: Decimal) -> Money:
        """Returns an amount in the invoice's currency."""
        return Money(self.currency_code, amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceEvent:
    """Something that happened to an invoice.

    kind: `state`, `provider`, `mail`, `payment` or `credit`. operation_key: the step at the
    provider. States are equal where it changed none.
    """

    event_id: str
    kind: str
    from_state: InvoiceState | None
    to_state: InvoiceState
    actor: str
    description: str
    occurred_at: datetime
    operation_key: str = ""
