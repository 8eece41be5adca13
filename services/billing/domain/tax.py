"""The tax table: which rate a place, a kind of service and a day have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.billing.errors import InvalidTaxRate


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """One row of the tax table.

    subdivision_code: "" for the whole country. tax_code: "" for the standard rate. reverse_charge:
    a receiver with a tax id owes the tax instead. inclusive: prices hold the tax already.
    start_date, end_date: half-open; None has no end. Raises InvalidTaxRate.
    """

    tax_rate_id: str
    country_code: str
    display_name: str
    rate_ratio: Decimal
    start_date: date
    end_date: date | None = None
    subdivision_code: str = ""
    tax_code: str = ""
    reverse_charge: bool = False
    inclusive: bool = False
    revision: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rate_ratio <= 1:
            raise InvalidTaxRate("a rate is 0 to 1; 0.19 means 19 %", rate_ratio=self.rate_ratio)
        if self.end_date is not None and self.end_date <= self.start_date:
            raise InvalidTaxRate(
                "a row ends after it begins", start_date=self.start_date, end_date=self.end_date
            )

    def holds(self, day: date) -> bool:
        """Tells whether the row is in force on a day."""
        return self.start_date <= day and (self.end_date is None or day < self.end_date)

    @property
    def place(self) -> tuple[str, str, str]:
        """What the row is for; two rows with one place must not overlap in time."""
        return self.country_code, self.subdivision_code, self.tax_code


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTax:
    """A rate as an invoice applies it. rate_ratio: 0 where the receiver owes the tax."""

    tax_rate_id: str
    display_name: str
    rate_ratio: Decimal
    inclusive: bool = False
    reverse_charge: bool = False


def applied_taxes(
    rates: Iterable[TaxRate],
    *,
    country_code: str,
    subdivision_code: str,
    day: date,
    has_tax_id: bool,
) -> dict[str, AppliedTax]:
    """Returns the taxes of a place and day by tax code; empty where the table has none.

    A row of the subdivision goes before one of its country; of two in force the later counts.
    """
    chosen: dict[str, TaxRate] = {}
    for rate in sorted(rates, key=lambda row: (row.subdivision_code, row.start_date)):
        is_here = rate.country_code == country_code and rate.subdivision_code in (
            "",
            subdivision_code,
        )
        if is_here and rate.holds(day):
            chosen[rate.tax_code] = rate
    return {code: _applied(rate, has_tax_id=has_tax_id) for code, rate in chosen.items()}


def _applied(rate: TaxRate, *, has_tax_id: bool) -> AppliedTax:
    is_reversed = rate.reverse_charge and has_tax_id
    return AppliedTax(
        tax_rate_id=rate.tax_rate_id,
        display_name=rate.display_name,
        rate_ratio=Decimal(0) if is_reversed else rate.rate_ratio,
        inclusive=rate.inclusive and not is_reversed,
        reverse_charge=is_reversed,
    )
