"""What an invoice is computed from and to: exact lines in, whole minor units out.

The computing itself is in invoicing.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import MappingProxyType

from services.billing.domain.plan import ChargeRoute, Discount
from services.billing.domain.rating import TierUse
from services.billing.domain.rounding import RoundingMode
from services.billing.domain.tax import AppliedTax
from services.kernel.money import Money
from services.kernel.period import Period

UNTAXED = ""  # the tax group of lines that no tax is on


class LineKind(Enum):
    """What a line charges, as the contract names it."""

    FLAT = "flat"
    USAGE = "usage"
    TRUE_UP = "true_up"
    PRORATION = "proration"
    DISCOUNT = "discount"
    CREDIT = "credit"
    LATE_USAGE = "late_usage"
    ADJUSTMENT = "adjustment"
    CARRY_OVER = "carry_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactLine:
    """One line before rounding.

    key: unique on the invoice and the same however often it is computed; ties of rounding go by
    it. exact: in the invoice's currency. period: what it charges for; None for credits and carried
    amounts. is_discountable: whether discounts take from it. is_net: discounts by ratio have taken
    from it already, in lines of their own whose `reduces` is its key. is_taxed: False for what
    bears no tax in any place, as an amount carried from an invoice that was taxed.
    """

    key: str
    kind: LineKind
    description: str
    exact: Fraction
    period: Period | None = None
    charge_id: str = ""
    department_id: str = ""
    project: str = ""
    resource_type: str = ""
    resource_id: str = ""
    user_id: str = ""
    quantity: Decimal | None = None
    included_quantity: Decimal | None = None
    unit: str = ""
    tiers: tuple[TierUse, ...] = ()
    unit_price: Decimal | None = None
    source_amount: Money | None = None
    tax_code: str = ""
    proration_of: str = ""
    route: ChargeRoute = ChargeRoute.RATED
    event_count: int = 0
    is_discountable: bool = True
    is_net: bool = False
    reduces: str = ""
    is_taxed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """The least that a period costs before tax.

    It counts the lines whose period begins in `period`, after discounts, and `counted_before`:
    what earlier invoices charged for it, as the flat fee in advance.
    """

    minimum: Fraction
    period: Period
    counted_before: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableCredit:
    """Prepaid credit that may pay. remaining: whole minor units. charge_ids: empty for all."""

    credit_grant_id: str
    display_name: str
    remaining: Decimal
    charge_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What can be collected: multiples of a step from a minimum on, both in minor units."""

    step: int = 1
    minimum: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTerms:
    """What turns lines into an invoice.

    taxes: by tax code, "" the standard one; without an entry lines bear no tax. discounts: in the
    order they are taken. credits: in the order they are used. settlement: None collects whatever
    the total is. moves_excess: whether what would be negative goes to the account's credit; False
    leaves a total below zero, to show what a change comes to.
    """

    currency_code: str
    rounding: RoundingMode = RoundingMode.HALF_UP
    taxes: Mapping[str, AppliedTax] = field(default_factory=lambda: MappingProxyType({}))
    discounts: Sequence[Discount] = ()
    credits: Sequence[AvailableCredit] = ()
    commitment: Commitment | None = None
    settlement: Settlement | None = None
    moves_excess: bool = True

    def tax_of(self, line: ExactLine) -> AppliedTax | None:
        """Returns the tax on a line, that of the standard rate where its code has none."""
        if not line.is_taxed:
            return None
        return self.taxes.get(line.tax_code) or self.taxes.get("")


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledLine:
    """One line as billed. position: from 1. amount: before tax, whole minor units."""

    line: ExactLine
    position: int
    amount: Decimal
    tax_amount: Decimal
    tax_rate_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxTotal:
    """Tax of one rate, computed once on the rounded sum of its lines."""

    tax_rate_id: str
    display_name: str
    rate_ratio: Decimal
    taxable: Decimal
    amount: Decimal
    reverse_charge: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedInvoice:
    """An invoice's money. The lines add up to the subtotal; subtotal and tax are the total.

    discount_total, credit_total: inside the subtotal. credit_uses: what each grant pays.
    credit_made: what would have been negative, and goes to the account's credit instead.
    carried: what cannot be collected now and is a line of the next invoice; may be below zero.
    """

    currency_code: str
    lines: tuple[BilledLine, ...]
    taxes: tuple[TaxTotal, ...]
    subtotal: Decimal
    discount_total: Decimal
    credit_total: Decimal
    tax_total: Decimal
    total: Decimal
    credit_uses: Mapping[str, Decimal]
    credit_made: Decimal
    carried: Decimal
