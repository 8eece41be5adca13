"""Random invoices, the same for the suite's bounded number and the full count."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from services.billing.domain.currency import currency
from services.billing.domain.invoice import (
    AvailableCredit,
    Commitment,
    ExactLine,
    InvoiceTerms,
    LineKind,
)
from services.billing.domain.plan import Discount
from services.billing.domain.rounding import RoundingMode
from services.billing.domain.tax import AppliedTax
from services.kernel.period import Period

PERIOD = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
CODES = ("", "reduced", "exempt")
CURRENCIES = ("JPY", "EUR", "USD", "KWD", "ISK", "TND")


@dataclass(frozen=True, slots=True)
class RandomInvoice:
    """What one random invoice is computed from."""

    lines: tuple[ExactLine, ...]
    terms: InvoiceTerms


def random_line(source: random.Random, number: int) -> ExactLine:
    """Returns a line of up to 12 fraction digits, or of an endless fraction; some are negative."""
    numerator = source.randint(0, 10 ** source.randint(0, 15))
    exact = Fraction(
        numerator, 10 ** source.randint(0, 12) * source.choice((1, 1, 1, 7, 2_419_200))
    )
    if source.random() < 0.15:
        exact = -exact
    kind = source.choice((LineKind.FLAT, LineKind.USAGE, LineKind.PRORATION))
    return ExactLine(
        key=f"line-{number}",
        kind=kind,
        description=f"Line {number}",
        exact=exact,
        period=PERIOD,
        charge_id=source.choice(("", "a", "b")),
        tax_code=source.choice(CODES),
        is_discountable=kind is not LineKind.PRORATION,
        is_taxed=source.random() > 0.05,
    )


def random_terms(source: random.Random) -> InvoiceTerms:
    """Returns terms with up to three taxes, two discounts and three grants."""
    code = source.choice(CURRENCIES)
    taxes = {
        name: AppliedTax(
            tax_rate_id=f"tax-{name}",
            display_name=f"VAT {name}",
            rate_ratio=Decimal(source.choice(("0", "0.081", "0.19", "0.2", "0.0725", "1"))),
            inclusive=source.random() < 0.3,
        )
        for name in CODES
        if source.random() < 0.7
    }
    discounts = [
        Discount(source_id="ratio", display_name="Ten off", ratio=Decimal("0.1")),
        Discount(source_id="third", display_name="A", ratio=Decimal("0.333333333333333333")),
        Discount(
            source_id="sum",
            display_name="Sum",
            amount=Decimal(source.randint(0, 10**6)).scaleb(-2),
            charge_ids=frozenset({"a"}),
        ),
    ]
    grants = [
        AvailableCredit(
            credit_grant_id=f"grant-{number}",
            display_name="Credit",
            remaining=currency(code).to_amount(source.randint(1, 10 ** source.randint(1, 9))),
            charge_ids=frozenset(source.choice(((), ("a",), ("a", "b")))),
        )
        for number in range(source.randint(0, 3))
    ]
    commitment = Commitment(minimum=Fraction(source.randint(0, 10**6)), period=PERIOD)
    return InvoiceTerms(
        currency_code=code,
        rounding=source.choice(tuple(RoundingMode)),
        taxes=taxes,
        discounts=source.sample(discounts, source.randint(0, 2)),
        credits=grants,
        commitment=commitment if source.random() < 0.3 else None,
    )


def random_invoice(seed: int) -> RandomInvoice:
    """Returns the invoice of a seed, with 1 to 40 lines."""
    source = random.Random(seed)
    count = source.randint(1, 40)
    lines = tuple(random_line(source, number) for number in range(count))
    return RandomInvoice(lines, random_terms(source))


def cut(period: Period, seconds: list[int]) -> list[Period]:
    """Cuts a period at so many seconds after its start."""
    edges = sorted({period.start + timedelta(seconds=each) for each in seconds})
    edges = [period.start, *(each for each in edges if each in period), period.end]
    return [Period(a, b) for a, b in pairwise(edges) if a < b]
